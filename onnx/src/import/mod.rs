//! From a model to a graph to quantize. What is constant is computed on the way, so that the chains of
//! shapes that exporters write vanish; the rest becomes the graph's operators, spelled as PyTorch spells
//! them, so that a backend's patterns find them.

mod activation;
mod binary;
mod conv;
mod gather;
mod linear;
mod movement;
mod norm;
mod pad;
mod pool;
mod quantized;
mod recognise;
mod recurrent;
mod reduce;
mod resize;

use std::collections::BTreeMap;

use qconfig_core::{DType, Spelling};
use qconfig_quantize::{Given, Graph, GraphBuilder, GraphError, Op, Tensor, ValueId};

use crate::array::{Array, ElementType};
use crate::attributes::{AttributeError, Attributes};
use crate::eval::{self, EvalError, Problem, evaluate};
use crate::model::{Dimension, Model, Node};

/// What a file leaves open.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ImportOptions {
    /// Shapes of inputs, by name.
    pub shapes: BTreeMap<String, Vec<usize>>,
    /// Sizes of named dimensions; those that are not here are 1.
    pub dimensions: BTreeMap<String, usize>,
    /// Inputs that always have the same value.
    pub fixed: BTreeMap<String, Array>,
}

/// A graph, and how it belongs to the model it came from.
#[derive(Clone, Debug)]
pub struct Imported {
    /// What is left to compute.
    pub graph: Graph,
    /// Names of the outputs, in the graph's order.
    pub outputs: Vec<String>,
    /// The graph's value for each of the model's that it has one for.
    pub values: BTreeMap<String, ValueId>,
    /// Nodes that were constant.
    pub folded: usize,
    /// Scales and zero points that the model has itself; empty for a float model.
    pub given: Given,
}

impl Imported {
    /// Whether the model brings scales and zero points along.
    pub fn is_quantized(&self) -> bool {
        !self.given.is_empty()
    }
}

/// A model cannot become a graph.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// An input's shape is not in the file.
    #[error("input `{0}`: the file does not say its shape; give it")]
    Shape(String),
    /// A shape was given for an input that has another one.
    #[error("input `{name}` is [{expected}] in the file, {given:?} was given")]
    Misfit {
        /// The input.
        name: String,
        /// Its shape in the file.
        expected: String,
        /// What was given.
        given: Vec<usize>,
    },
    /// A shape or value was given for an input that does not exist.
    #[error("there is no input `{name}`; there {}", list(.inputs))]
    NoInput {
        /// The name given.
        name: String,
        /// Those there are.
        inputs: Vec<String>,
    },
    /// An input is of a type that a graph does not take.
    #[error("input `{name}` is {found}; a graph takes float32, and int32 or int64 for indices")]
    InputType {
        /// The input.
        name: String,
        /// Its type.
        found: String,
    },
    /// A node reads a value that nothing made.
    #[error("node `{node}` reads `{value}`, which no node before it makes")]
    Value {
        /// The node.
        node: String,
        /// The value.
        value: String,
    },
    /// A node's operator is not supported, or not as it is used.
    #[error("node `{node}` ({operator}): {problem}")]
    Node {
        /// The node.
        node: String,
        /// Its operator.
        operator: String,
        /// What is wrong.
        problem: Problem,
    },
    /// A constant node cannot be computed.
    #[error(transparent)]
    Fold(#[from] EvalError),
    /// A node does not fit its inputs.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// An output does not depend on any input.
    #[error("output `{0}` is a constant")]
    Constant(String),
    /// An output is the integers of a quantized value.
    #[error("output `{0}` is 8-bit integers; a graph gives floats")]
    Integers(String),
}

fn list(names: &[String]) -> String {
    match names {
        [] => "are no inputs".into(),
        [one] => format!("is `{one}`"),
        _ => format!("are `{}`", names.join("`, `")),
    }
}

/// What a name of the model stands for.
#[derive(Clone, Debug)]
enum Bound {
    /// Known.
    Constant(Array),
    /// A value of the graph.
    Value(ValueId),
    /// A value of the graph with zeros around it, `[before, behind]` of each dimension: a window that
    /// follows takes them as its padding.
    Padded(ValueId, Vec<[usize; 2]>),
    /// A value of the graph as the integers that it is quantized to.
    Quantized(ValueId),
}

/// Turns a model into a graph.
///
/// # Errors
/// [`ImportError`].
pub fn import(model: &Model, options: &ImportOptions) -> Result<Imported, ImportError> {
    let names: Vec<String> = model
        .inputs
        .iter()
        .map(|input| input.name.clone())
        .collect();
    if let Some(name) = options
        .shapes
        .keys()
        .chain(options.fixed.keys())
        .find(|name| !names.contains(name))
    {
        let name = name.clone();
        return Err(ImportError::NoInput {
            name,
            inputs: names,
        });
    }
    let nodes = recognise::recognised(model);
    let mut importer = Importer {
        model,
        nodes: &nodes,
        builder: GraphBuilder::new(),
        bound: BTreeMap::new(),
        folded: 0,
        made: 0,
        given: Given::default(),
        dequantized: BTreeMap::new(),
        stored: BTreeMap::new(),
        operands: BTreeMap::new(),
        readers: quantized::readers(model),
    };
    importer.inputs(options)?;
    for node in &nodes {
        // a node that was taken in by one before it has its output already
        let is_done = |name: &String| importer.bound.contains_key(name);
        if node.outputs.is_empty() || !node.outputs.iter().all(is_done) {
            importer.node(node)?;
        }
    }
    let mut outputs = Vec::new();
    for name in &model.outputs {
        match importer.bound.get(name).cloned() {
            Some(Bound::Value(id)) => outputs.push(id),
            Some(Bound::Padded(id, pads)) => {
                let padded = importer.materialized(name, id, &pads);
                outputs.push(padded.map_err(|refusal| refusal.named(name, "Pad".into()))?);
            }
            Some(Bound::Constant(_)) => return Err(ImportError::Constant(name.clone())),
            Some(Bound::Quantized(_)) => return Err(ImportError::Integers(name.clone())),
            None => {
                return Err(ImportError::Value {
                    node: "graph outputs".into(),
                    value: name.clone(),
                });
            }
        }
    }
    let values = importer
        .bound
        .iter()
        .filter_map(|(name, bound)| match bound {
            Bound::Value(id) | Bound::Quantized(id) => Some((name.clone(), *id)),
            _ => None,
        });
    Ok(Imported {
        values: values.collect(),
        folded: importer.folded,
        given: importer.given,
        graph: importer
            .builder
            .finish(&outputs)?
            .name_outputs(model.outputs.clone()),
        outputs: model.outputs.clone(),
    })
}

struct Importer<'m> {
    model: &'m Model,
    /// The model's, those that exporters take apart put together.
    nodes: &'m [Node],
    builder: GraphBuilder,
    bound: BTreeMap<String, Bound>,
    folded: usize,
    /// Bytes of the constants that were computed.
    made: usize,
    given: Given,
    /// Constants that were integers of 8 bits.
    dequantized: BTreeMap<String, quantized::Dequantized>,
    /// Matrices that were integers of few bits.
    stored: BTreeMap<String, quantized::Stored>,
    /// Constants that are values of the graph.
    operands: BTreeMap<String, ValueId>,
    /// How many nodes read each value.
    readers: BTreeMap<String, usize>,
}

/// A node on its way into the graph.
#[derive(Clone, Copy)]
struct Place<'a> {
    node: &'a Node,
    opset: i64,
}

impl<'a> Place<'a> {
    fn attributes(self) -> &'a Attributes {
        &self.node.attributes
    }
}

/// Why a node did not get into the graph.
#[derive(Debug)]
enum Refusal {
    Problem(Problem),
    Graph(GraphError),
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Refusal::Problem(problem)
    }
}

impl From<AttributeError> for Refusal {
    fn from(error: AttributeError) -> Self {
        Refusal::Problem(error.into())
    }
}

impl From<GraphError> for Refusal {
    fn from(error: GraphError) -> Self {
        Refusal::Graph(error)
    }
}

impl Refusal {
    fn of(self, node: &Node) -> ImportError {
        self.named(&node.name, node.operator())
    }

    fn named(self, node: &str, operator: String) -> ImportError {
        match self {
            Refusal::Graph(error) => ImportError::Graph(error),
            Refusal::Problem(problem) => ImportError::Node {
                node: node.into(),
                operator,
                problem,
            },
        }
    }
}

/// Something that the operator has and the graph has not.
fn unsupported<T>(what: impl Into<String>) -> Result<T, Refusal> {
    Err(Problem::Unsupported(what.into()).into())
}

/// Most bytes of constants that are computed, beside eight times what the file holds itself: masks and
/// tables of positions are far smaller.
const MOST_MADE: usize = 512 << 20;

/// The memory of an array, about.
fn bytes(array: &Array) -> usize {
    let each = match array.element_type() {
        ElementType::String => size_of::<String>(),
        ElementType::Float64 | ElementType::Int64 | ElementType::UInt64 => 8,
        ElementType::Float32 | ElementType::Int32 | ElementType::UInt32 => 4,
        ElementType::Float16 | ElementType::BFloat16 => 2,
        ElementType::Int16 | ElementType::UInt16 => 2,
        _ => 1,
    };
    array.len().saturating_mul(each)
}

fn tensor(array: &Array) -> Option<Tensor> {
    Tensor::new(array.shape().to_vec(), array.to_f32()?).ok()
}

impl Importer<'_> {
    fn inputs(&mut self, options: &ImportOptions) -> Result<(), ImportError> {
        for (name, array) in &self.model.initializers {
            self.bound
                .insert(name.clone(), Bound::Constant(array.clone()));
        }
        for input in &self.model.inputs {
            let name = &input.name;
            if let Some(array) = options.fixed.get(name) {
                self.bound
                    .insert(name.clone(), Bound::Constant(array.clone()));
                continue;
            }
            let given = options.shapes.get(name);
            let shape = match (&input.shape, given) {
                (None, None) => return Err(ImportError::Shape(name.clone())),
                (None, Some(given)) => given.clone(),
                (Some(shape), Some(given)) => {
                    let fits = shape.len() == given.len()
                        && shape.iter().zip(given).all(|(dim, size)| {
                            matches!(dim, Dimension::Named(_)) || *dim == Dimension::Fixed(*size)
                        });
                    if !fits {
                        let sizes: Vec<String> = shape.iter().map(Dimension::to_string).collect();
                        return Err(ImportError::Misfit {
                            name: name.clone(),
                            expected: sizes.join(", "),
                            given: given.clone(),
                        });
                    }
                    given.clone()
                }
                (Some(shape), None) => shape
                    .iter()
                    .map(|dim| match dim {
                        Dimension::Fixed(size) => *size,
                        Dimension::Named(name) => *options.dimensions.get(name).unwrap_or(&1),
                    })
                    .collect(),
            };
            let id = match input.element_type {
                Some(ElementType::Float32) => self.builder.input(name, &shape)?,
                Some(ElementType::Int32) => {
                    self.builder.input_integers(name, &shape, DType::int32)?
                }
                Some(ElementType::Int64) => {
                    self.builder.input_integers(name, &shape, DType::int64)?
                }
                other => {
                    return Err(ImportError::InputType {
                        name: name.clone(),
                        found: other.map_or("of no known type".into(), |of| format!("{of:?}")),
                    });
                }
            };
            self.bound.insert(name.clone(), Bound::Value(id));
        }
        Ok(())
    }

    /// The inputs of a node, if all are constants.
    fn constants(&self, node: &Node) -> Option<Vec<Option<&Array>>> {
        let of = |name: &String| match self.bound.get(name) {
            None => Some(None),
            Some(Bound::Constant(array)) => Some(Some(array)),
            Some(_) => None,
        };
        node.inputs.iter().map(of).collect()
    }

    fn node(&mut self, node: &Node) -> Result<(), ImportError> {
        let opset = self.model.opset;
        if let Some(missing) = node
            .inputs
            .iter()
            .find(|name| !name.is_empty() && !self.bound.contains_key(*name))
        {
            return Err(ImportError::Value {
                node: node.name.clone(),
                value: missing.clone(),
            });
        }
        let place = Place { node, opset };
        let is_constant = self.constants(node).is_some();
        if is_constant && node.op_type == "DequantizeLinear" {
            let floats = self.dequantize_constant(place);
            if let Some(floats) = floats.map_err(|refusal| refusal.of(node))? {
                self.folded += 1;
                self.room(node, &floats)?;
                let name = node.outputs.first().cloned().unwrap_or_default();
                self.bound.insert(name, Bound::Constant(floats));
                return Ok(());
            }
        } else if let Some(parts) =
            quantized::parts(self, node).map_err(|problem| Refusal::Problem(problem).of(node))?
        {
            return parts.iter().try_for_each(|part| self.node(part));
        }
        if let Some(constants) = self.constants(node) {
            let outputs = evaluate(node, &constants, opset)?;
            self.folded += 1;
            for (name, array) in node.outputs.iter().zip(outputs) {
                self.room(node, &array)?;
                self.bound.insert(name.clone(), Bound::Constant(array));
            }
            return Ok(());
        }
        let outputs = self.operator(place).map_err(|refusal| refusal.of(node))?;
        let outputs = self.note(place, outputs);
        for (name, bound) in node.outputs.iter().zip(outputs) {
            if !name.is_empty() {
                self.bound.insert(name.clone(), bound);
            }
        }
        Ok(())
    }

    /// Counts a constant, and refuses what a small file could make of a few numbers alone.
    fn room(&mut self, node: &Node, made: &Array) -> Result<(), ImportError> {
        let stored = self.model.initializers.values().map(bytes);
        let most = stored.fold(MOST_MADE, |most, bytes| {
            most.saturating_add(bytes.saturating_mul(8))
        });
        self.made = self.made.saturating_add(bytes(made));
        if self.made > most {
            let problem = Problem::Unsupported(format!("{} bytes of constants", self.made));
            return Err(Refusal::Problem(problem).of(node));
        }
        Ok(())
    }

    fn operator(&mut self, at: Place<'_>) -> Result<Vec<Bound>, Refusal> {
        if !matches!(at.node.domain.as_str(), "" | "com.microsoft") {
            return Err(Problem::Operator.into());
        }
        let id = match at.node.op_type.as_str() {
            "Shape" => return self.shape(at),
            "Pad" => return self.pad(at),
            "QuantizeLinear" => return self.quantize_linear(at),
            "DequantizeLinear" => return self.dequantize_linear(at),
            "Conv" => self.conv(at)?,
            "ConvTranspose" => self.conv_transpose(at)?,
            "Gemm" => self.gemm(at)?,
            "MatMul" => self.mat_mul(at)?,
            "MatMulNBits" => self.mat_mul_n_bits(at)?,
            "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Min" | "Max" | "Sum" => self.binary(at)?,
            "BatchNormalization" => self.batch_normalization(at)?,
            "InstanceNormalization" => self.instance_normalization(at)?,
            "LayerNormalization" => self.layer_normalization(at)?,
            "MaxPool" | "AveragePool" => self.pool(at)?,
            "GlobalAveragePool" => self.global_average_pool(at)?,
            "GlobalMaxPool" => self.global_max_pool(at)?,
            "ReduceMean" | "ReduceSum" | "ReduceProd" | "ReduceMin" | "ReduceMax" | "ReduceL2" => {
                self.reduce(at)?
            }
            "Identity" | "Dropout" => self.value(at, 0)?,
            "Cast" => self.cast(at)?,
            "Gather" => self.gather(at)?,
            "LSTM" | "GRU" | "RNN" => return self.recurrent(at),
            "Resize" | "Upsample" => self.resize(at)?,
            "DepthToSpace" => self.depth_to_space(at)?,
            "Split" => return self.split(at),
            "Expand" => self.expand(at)?,
            "Tile" => self.tile(at)?,
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => self.reshape(at)?,
            "Transpose" => self.transpose(at)?,
            "Slice" => self.slice(at)?,
            "Concat" => self.concat(at)?,
            _ => self.activation(at)?,
        };
        Ok(vec![Bound::Value(id)])
    }

    /// The shape of an input that must be there.
    fn shape_of(&self, at: Place<'_>, input: usize) -> Result<Vec<usize>, Problem> {
        let name = at.node.inputs.get(input).ok_or(Problem::Missing(input))?;
        match self.bound.get(name) {
            None => Err(Problem::Missing(input)),
            Some(Bound::Constant(array)) => Ok(array.shape().to_vec()),
            Some(Bound::Value(id) | Bound::Quantized(id)) => Ok(self.builder.shape(*id).to_vec()),
            Some(Bound::Padded(id, pads)) => {
                let sizes = self.builder.shape(*id).iter().zip(pads);
                Ok(sizes
                    .map(|(size, [front, behind])| size + front + behind)
                    .collect())
            }
        }
    }

    fn shape(&mut self, at: Place<'_>) -> Result<Vec<Bound>, Refusal> {
        let shape = self.shape_of(at, 0)?;
        let call = eval::Call {
            node: at.node,
            inputs: &[],
            opset: at.opset,
        };
        self.folded += 1;
        Ok(vec![Bound::Constant(eval::shape_of(call, &shape)?)])
    }

    /// An input as a value of the graph.
    fn value(&mut self, at: Place<'_>, input: usize) -> Result<ValueId, Refusal> {
        let name = at.node.inputs.get(input).ok_or(Problem::Missing(input))?;
        if let Some(id) = self.operands.get(name) {
            return Ok(*id);
        }
        match self.bound.get(name).cloned() {
            None => Err(Problem::Missing(input).into()),
            Some(Bound::Value(id)) => Ok(id),
            Some(Bound::Padded(id, pads)) => self.materialized(name, id, &pads),
            Some(Bound::Constant(array)) => match self.quantized_constant(name)? {
                Some(id) => Ok(id),
                None => self.operand(name, &array, input),
            },
            Some(Bound::Quantized(id)) if quantized::moves_only(at.node) => Ok(id),
            Some(Bound::Quantized(_)) => unsupported("8-bit integers as an input"),
        }
    }

    /// A constant as a value of the graph.
    fn operand(&mut self, name: &str, array: &Array, input: usize) -> Result<ValueId, Refusal> {
        let values = array
            .to_f32()
            .ok_or(Problem::Type(input, array.element_type()))?;
        // a graph has no values without dimensions
        let shape = match array.shape() {
            [] => vec![1],
            shape => shape.to_vec(),
        };
        let tensor =
            Tensor::new(shape, values).map_err(|error| Problem::Input(error.to_string()))?;
        let id = self.builder.constant(&format!("constant:{name}"), tensor)?;
        self.operands.insert(name.to_owned(), id);
        Ok(id)
    }

    /// An input of the graph's as floats, whatever it is.
    fn float(&mut self, at: Place<'_>, input: usize) -> Result<ValueId, Refusal> {
        let id = self.value(at, input)?;
        if self.builder.dtype(id) == Some(DType::float32) {
            return Ok(id);
        }
        Ok(self
            .builder
            .to_float(&format!("{}:float", at.node.name), id)?)
    }

    /// An input that must be a constant.
    fn constant(&self, at: Place<'_>, input: usize) -> Result<&Array, Refusal> {
        match self.optional_constant(at, input)? {
            Some(array) => Ok(array),
            None => Err(Problem::Missing(input).into()),
        }
    }

    /// A constant that may be left out.
    fn optional_constant(&self, at: Place<'_>, input: usize) -> Result<Option<&Array>, Refusal> {
        let name = at.node.inputs.get(input).filter(|name| !name.is_empty());
        match name.and_then(|name| self.bound.get(name)) {
            None => Ok(None),
            Some(Bound::Constant(array)) => Ok(Some(array)),
            Some(_) => unsupported(format!("an input {input} that is not a constant")),
        }
    }

    /// A constant as a float tensor.
    fn weight(&self, at: Place<'_>, input: usize) -> Result<Tensor, Refusal> {
        let array = self.constant(at, input)?;
        let found = tensor(array);
        Ok(found.ok_or(Problem::Type(input, array.element_type()))?)
    }

    /// A constant as a float tensor, where it is there.
    fn optional_weight(&self, at: Place<'_>, input: usize) -> Result<Option<Tensor>, Refusal> {
        match self.optional_constant(at, input)? {
            Some(_) => self.weight(at, input).map(Some),
            None => Ok(None),
        }
    }

    /// Integers that newer versions have as an input and older ones as an attribute.
    fn integers_or(
        &self,
        at: Place<'_>,
        input: usize,
        name: &str,
    ) -> Result<Option<Vec<i64>>, Refusal> {
        match self.optional_constant(at, input)? {
            Some(array) => {
                let found = array.to_i64();
                Ok(Some(
                    found.ok_or(Problem::Type(input, array.element_type()))?,
                ))
            }
            None => Ok(at.attributes().opt_ints(name)?.cloned()),
        }
    }

    fn add(
        &mut self,
        at: Place<'_>,
        spelling: &'static Spelling,
        op: Op,
        inputs: &[ValueId],
    ) -> Result<ValueId, Refusal> {
        Ok(self.builder.node(&at.node.name, spelling, op, inputs)?)
    }
}
