//! The float graph: nodes in execution order over values with static shapes.

use qconfig_core::kernel::Activation;
use qconfig_core::operator::{nn, torch};
use qconfig_core::{Spelled, Spelling};

use crate::tensor::{Tensor, elements};

/// A value: a graph input or the output of a node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ValueId(pub(crate) usize);

/// Position of a node in [`Graph::nodes`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct NodeId(pub(crate) usize);

/// Name and shape of a value.
#[derive(Clone, PartialEq, Debug)]
pub struct Value {
    /// The input's name, or that of the node that makes it.
    pub name: String,
    /// Dimensions, channels first.
    pub shape: Vec<usize>,
}

/// A convolution over one or two spatial dimensions.
#[derive(Clone, PartialEq, Debug)]
pub struct Conv {
    /// `[O, I / groups, k..]`.
    pub weight: Tensor,
    /// One for each output channel.
    pub bias: Option<Vec<f32>>,
    /// For each spatial dimension.
    pub stride: Vec<usize>,
    /// For each spatial dimension, on both sides.
    pub padding: Vec<usize>,
    /// For each spatial dimension.
    pub dilation: Vec<usize>,
    /// Channel groups.
    pub groups: usize,
}

impl Conv {
    /// Stride 1, no padding, one group.
    pub fn new(weight: Tensor) -> Self {
        let rank = weight.shape().len().saturating_sub(2);
        Self {
            weight,
            bias: None,
            stride: vec![1; rank],
            padding: vec![0; rank],
            dilation: vec![1; rank],
            groups: 1,
        }
    }

    /// With a bias.
    #[must_use]
    pub fn bias(self, bias: Tensor) -> Self {
        Self {
            bias: Some(bias.data().to_vec()),
            ..self
        }
    }

    /// The same stride in every dimension.
    #[must_use]
    pub fn stride(mut self, stride: usize) -> Self {
        self.stride.fill(stride);
        self
    }

    /// The same padding in every dimension.
    #[must_use]
    pub fn padding(mut self, padding: usize) -> Self {
        self.padding.fill(padding);
        self
    }

    /// The same dilation in every dimension.
    #[must_use]
    pub fn dilation(mut self, dilation: usize) -> Self {
        self.dilation.fill(dilation);
        self
    }

    /// Channel groups.
    #[must_use]
    pub fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }
}

/// `y = x W^T + b`.
#[derive(Clone, PartialEq, Debug)]
pub struct Linear {
    /// `[O, K]`.
    pub weight: Tensor,
    /// `[O]`.
    pub bias: Option<Vec<f32>>,
}

/// Batch normalization at inference.
#[derive(Clone, PartialEq, Debug)]
pub struct BatchNorm {
    /// Scale, one for each channel.
    pub weight: Vec<f32>,
    /// Shift.
    pub bias: Vec<f32>,
    /// Mean seen in training.
    pub running_mean: Vec<f32>,
    /// Variance seen in training.
    pub running_var: Vec<f32>,
    /// Added to the variance.
    pub eps: f32,
}

/// The window of a pooling.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pool {
    /// For each spatial dimension.
    pub kernel: Vec<usize>,
    /// For each spatial dimension.
    pub stride: Vec<usize>,
    /// For each spatial dimension, on both sides; at most half the kernel.
    pub padding: Vec<usize>,
    /// For each spatial dimension; 1 for averages.
    pub dilation: Vec<usize>,
    /// Whether the last, partial window counts.
    pub ceil_mode: bool,
}

impl Pool {
    /// A square window that steps by its own size.
    pub fn square(kernel: usize) -> Self {
        Self {
            kernel: vec![kernel; 2],
            stride: vec![kernel; 2],
            padding: vec![0; 2],
            dilation: vec![1; 2],
            ceil_mode: false,
        }
    }
}

/// What a node computes.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Op {
    /// Convolution.
    Conv(Conv),
    /// Fully connected layer.
    Linear(Linear),
    /// Batch normalization.
    BatchNorm(BatchNorm),
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, low), high)`.
    Clamp {
        /// Lower bound.
        low: f32,
        /// Upper bound.
        high: f32,
    },
    /// `a + b`.
    Add,
    /// Maximum over windows.
    MaxPool(Pool),
    /// Mean over windows.
    AvgPool {
        /// The window.
        pool: Pool,
        /// Whether padded cells count in the divisor.
        count_include_pad: bool,
        /// Replaces the divisor.
        divisor_override: Option<usize>,
    },
    /// Mean over all spatial dimensions, which stay with size 1.
    GlobalAvgPool,
    /// All dimensions from `start` on become one.
    Flatten {
        /// The first dimension merged.
        start: usize,
    },
    /// Another shape of as many elements.
    Reshape(Vec<usize>),
    /// The identity: dropout at inference, `contiguous`, `detach`.
    Identity,
}

impl Op {
    /// The activation this is, if it can be fused behind another operator.
    pub fn as_activation(&self) -> Option<Activation> {
        match self {
            Op::Relu => Some(Activation::Relu),
            Op::Clamp { low, high } => Some(Activation::Clamp {
                low: *low,
                high: *high,
            }),
            _ => None,
        }
    }
}

/// One operator, perhaps with others fused into it.
#[derive(Clone, PartialEq, Debug)]
pub struct Node {
    /// Dotted path of the module: `features.0.conv`.
    pub name: String,
    /// How the operator is spelled; after fusion, the fused module's spelling.
    pub spelling: &'static Spelling,
    /// The spellings it was made of, in execution order.
    pub chain: Vec<&'static Spelling>,
    /// What it computes.
    pub op: Op,
    /// What is fused behind it.
    pub activation: Activation,
    /// Values that come in.
    pub inputs: Vec<ValueId>,
    /// The value that goes out.
    pub output: ValueId,
}

/// A float model.
#[derive(Clone, PartialEq, Debug)]
pub struct Graph {
    pub(crate) values: Vec<Value>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) outputs: Vec<ValueId>,
}

/// A node does not fit its inputs.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("node `{node}`: {problem}")]
pub struct GraphError {
    /// The node's name.
    pub node: String,
    /// What is wrong.
    pub problem: GraphProblem,
}

/// What can be wrong with a node.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GraphProblem {
    /// More or fewer inputs than the operator has.
    #[error("takes {expected} inputs, {found} were given")]
    Inputs {
        /// Inputs the operator has.
        expected: usize,
        /// Inputs given.
        found: usize,
    },
    /// An input that is no value of this graph.
    #[error("input {0} is not a value of this graph")]
    UnknownValue(usize),
    /// A shape that the operator does not take.
    #[error("{what}; the input is {shape:?}")]
    Shape {
        /// What is wrong.
        what: String,
        /// The input's shape.
        shape: Vec<usize>,
    },
    /// A parameter of the wrong length, zero, or not finite.
    #[error("{0}")]
    Parameter(String),
    /// Two nodes or inputs of the same name.
    #[error("the name is taken; layer names must be unique, as reports and qconfigs refer to them")]
    Name,
}

impl Graph {
    /// The nodes in execution order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Name and shape of a value.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0]
    }

    /// The values that come in.
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// The values that go out.
    pub fn outputs(&self) -> &[ValueId] {
        &self.outputs
    }

    /// Bytes of all weights and biases as floats.
    pub fn weight_bytes(&self) -> usize {
        let count = |op: &Op| match op {
            Op::Conv(conv) => conv.weight.data().len() + conv.bias.as_ref().map_or(0, Vec::len),
            Op::Linear(linear) => {
                linear.weight.data().len() + linear.bias.as_ref().map_or(0, Vec::len)
            }
            Op::BatchNorm(bn) => 4 * bn.weight.len(),
            _ => 0,
        };
        4 * self.nodes.iter().map(|node| count(&node.op)).sum::<usize>()
    }

    /// The nodes that read a value.
    pub(crate) fn readers(&self, value: ValueId) -> impl Iterator<Item = (usize, &Node)> {
        self.nodes
            .iter()
            .enumerate()
            .filter(move |(_, node)| node.inputs.contains(&value))
    }

    /// The only reader of a value that is no output of the graph.
    pub(crate) fn only_reader(&self, value: ValueId) -> Option<usize> {
        let mut readers = self.readers(value);
        let (at, _) = readers.next()?;
        (readers.next().is_none() && !self.outputs.contains(&value)).then_some(at)
    }
}

/// Builds a [`Graph`] node by node, working the shapes out.
///
/// ```
/// use qconfig_quantize::{Conv, GraphBuilder, Tensor};
/// let mut graph = GraphBuilder::new();
/// let x = graph.input("image", &[1, 3, 8, 8]).unwrap();
/// let x = graph.conv("conv", x, Conv::new(Tensor::zeros(&[4, 3, 3, 3])).padding(1)).unwrap();
/// let x = graph.relu("relu", x).unwrap();
/// let graph = graph.finish(&[x]).unwrap();
/// assert_eq!(graph.value(graph.outputs()[0]).shape, [1, 4, 8, 8]);
/// ```
#[derive(Debug, Default)]
pub struct GraphBuilder {
    values: Vec<Value>,
    nodes: Vec<Node>,
    inputs: Vec<ValueId>,
}

impl GraphBuilder {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// A graph input of that shape, batch first.
    ///
    /// # Errors
    /// [`GraphError`] for a name that is taken or a shape with a zero or too many elements.
    pub fn input(&mut self, name: &str, shape: &[usize]) -> Result<ValueId, GraphError> {
        let id = self.define(name, shape.to_vec())?;
        self.inputs.push(id);
        Ok(id)
    }

    /// Any node, spelled as given.
    ///
    /// # Errors
    /// [`GraphError`] where operator, parameters and inputs do not fit.
    pub fn node(
        &mut self,
        name: &str,
        spelling: &'static Spelling,
        op: Op,
        inputs: &[ValueId],
    ) -> Result<ValueId, GraphError> {
        let fail = |problem| GraphError {
            node: name.into(),
            problem,
        };
        let mut shapes = Vec::new();
        for input in inputs {
            let value = self
                .values
                .get(input.0)
                .ok_or_else(|| fail(GraphProblem::UnknownValue(input.0)))?;
            shapes.push(value.shape.as_slice());
        }
        let shape = output_shape(&op, &shapes).map_err(fail)?;
        let output = self.define(name, shape)?;
        self.nodes.push(Node {
            name: name.into(),
            spelling,
            chain: vec![spelling],
            op,
            activation: Activation::None,
            inputs: inputs.to_vec(),
            output,
        });
        Ok(output)
    }

    /// `torch.nn.Conv1d` or `torch.nn.Conv2d`, by the rank of the weight.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn conv(&mut self, name: &str, input: ValueId, conv: Conv) -> Result<ValueId, GraphError> {
        let spelling = match conv.weight.shape().len() {
            3 => nn::Conv1d::SPELLING,
            _ => nn::Conv2d::SPELLING,
        };
        self.node(name, spelling, Op::Conv(conv), &[input])
    }

    /// `torch.nn.Linear`.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn linear(
        &mut self,
        name: &str,
        input: ValueId,
        weight: Tensor,
        bias: Option<Tensor>,
    ) -> Result<ValueId, GraphError> {
        let bias = bias.map(|bias| bias.data().to_vec());
        self.node(
            name,
            nn::Linear::SPELLING,
            Op::Linear(Linear { weight, bias }),
            &[input],
        )
    }

    /// `torch.nn.BatchNorm1d` or `torch.nn.BatchNorm2d`, by the rank of the input.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn batch_norm(
        &mut self,
        name: &str,
        input: ValueId,
        bn: BatchNorm,
    ) -> Result<ValueId, GraphError> {
        let rank = self
            .values
            .get(input.0)
            .map_or(0, |value| value.shape.len());
        let spelling = if rank == 4 {
            nn::BatchNorm2d::SPELLING
        } else {
            nn::BatchNorm1d::SPELLING
        };
        self.node(name, spelling, Op::BatchNorm(bn), &[input])
    }

    /// `torch.nn.ReLU`.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn relu(&mut self, name: &str, input: ValueId) -> Result<ValueId, GraphError> {
        self.node(name, nn::ReLU::SPELLING, Op::Relu, &[input])
    }

    /// `torch.nn.ReLU6`.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn relu6(&mut self, name: &str, input: ValueId) -> Result<ValueId, GraphError> {
        self.node(
            name,
            nn::ReLU6::SPELLING,
            Op::Clamp {
                low: 0.0,
                high: 6.0,
            },
            &[input],
        )
    }

    /// `torch.add`.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn add(&mut self, name: &str, a: ValueId, b: ValueId) -> Result<ValueId, GraphError> {
        self.node(name, torch::add::SPELLING, Op::Add, &[a, b])
    }

    /// `torch.nn.MaxPool1d` or `torch.nn.MaxPool2d`, by the rank of the window.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn max_pool(
        &mut self,
        name: &str,
        input: ValueId,
        pool: Pool,
    ) -> Result<ValueId, GraphError> {
        let spelling = if pool.kernel.len() == 1 {
            nn::MaxPool1d::SPELLING
        } else {
            nn::MaxPool2d::SPELLING
        };
        self.node(name, spelling, Op::MaxPool(pool), &[input])
    }

    /// `torch.nn.AdaptiveAvgPool2d(1)`.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn global_avg_pool(&mut self, name: &str, input: ValueId) -> Result<ValueId, GraphError> {
        self.node(
            name,
            nn::AdaptiveAvgPool2d::SPELLING,
            Op::GlobalAvgPool,
            &[input],
        )
    }

    /// `torch.flatten(x, 1)`.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn flatten(&mut self, name: &str, input: ValueId) -> Result<ValueId, GraphError> {
        self.node(
            name,
            torch::flatten::SPELLING,
            Op::Flatten { start: 1 },
            &[input],
        )
    }

    /// The graph with these outputs.
    ///
    /// # Errors
    /// [`GraphError`] where an output is no value of the graph, or there is none.
    pub fn finish(self, outputs: &[ValueId]) -> Result<Graph, GraphError> {
        let fail = |problem| {
            Err(GraphError {
                node: "graph outputs".into(),
                problem,
            })
        };
        if outputs.is_empty() {
            return fail(GraphProblem::Parameter(
                "a graph needs at least one output".into(),
            ));
        }
        if let Some(unknown) = outputs.iter().find(|id| id.0 >= self.values.len()) {
            return fail(GraphProblem::UnknownValue(unknown.0));
        }
        Ok(Graph {
            values: self.values,
            nodes: self.nodes,
            inputs: self.inputs,
            outputs: outputs.to_vec(),
        })
    }

    fn define(&mut self, name: &str, shape: Vec<usize>) -> Result<ValueId, GraphError> {
        let fail = |problem| {
            Err(GraphError {
                node: name.into(),
                problem,
            })
        };
        if self.values.iter().any(|value| value.name == name) {
            return fail(GraphProblem::Name);
        }
        if shape.is_empty()
            || shape.contains(&0)
            || elements(&shape).is_none_or(|n| n > isize::MAX as usize / 4)
        {
            return fail(GraphProblem::Shape {
                what: "a value needs at least one element".into(),
                shape,
            });
        }
        self.values.push(Value {
            name: name.into(),
            shape,
        });
        Ok(ValueId(self.values.len() - 1))
    }
}

/// The output shape, or what does not fit.
fn output_shape(op: &Op, inputs: &[&[usize]]) -> Result<Vec<usize>, GraphProblem> {
    let expected = if matches!(op, Op::Add) { 2 } else { 1 };
    let (1 | 2, Some(first)) = (inputs.len(), inputs.first()) else {
        return Err(GraphProblem::Inputs {
            expected,
            found: inputs.len(),
        });
    };
    if inputs.len() != expected {
        return Err(GraphProblem::Inputs {
            expected,
            found: inputs.len(),
        });
    }
    let shape = first.to_vec();
    let misfit = |what: &str| GraphProblem::Shape {
        what: what.into(),
        shape: shape.clone(),
    };
    let parameter = |what: String| Err(GraphProblem::Parameter(what));
    match op {
        Op::Conv(conv) => {
            let [o, i, kernel @ ..] = conv.weight.shape() else {
                return parameter("the weight must be [O, I / groups, k..]".into());
            };
            let (1 | 2, true) = (kernel.len(), shape.len() == kernel.len() + 2) else {
                return Err(misfit(
                    "a convolution takes [N, C, spatial..] of the weight's rank, one or two dimensions",
                ));
            };
            if conv.groups == 0
                || o % conv.groups != 0
                || i.checked_mul(conv.groups) != Some(shape[1])
            {
                return Err(misfit(&format!(
                    "the weight {:?} with {} groups takes other channels",
                    conv.weight.shape(),
                    conv.groups
                )));
            }
            check_bias(conv.bias.as_deref(), *o)?;
            let spatial = windows(
                &shape[2..],
                kernel,
                &conv.stride,
                &conv.padding,
                &conv.dilation,
                false,
            )?;
            Ok([vec![shape[0], *o], spatial].concat())
        }
        Op::Linear(linear) => {
            let &[o, k] = linear.weight.shape() else {
                return parameter("the weight must be [O, K]".into());
            };
            if shape.last() != Some(&k) {
                return Err(misfit(&format!("the weight [{o}, {k}] takes {k} features")));
            }
            check_bias(linear.bias.as_deref(), o)?;
            Ok([&shape[..shape.len() - 1], &[o]].concat())
        }
        Op::BatchNorm(bn) => {
            let channels = *shape
                .get(1)
                .ok_or_else(|| misfit("batch normalization takes [N, C, ..]"))?;
            for (name, values) in [
                ("weight", &bn.weight),
                ("bias", &bn.bias),
                ("running_mean", &bn.running_mean),
                ("running_var", &bn.running_var),
            ] {
                if values.len() != channels {
                    return parameter(format!(
                        "{name} has {} values, the input {channels} channels",
                        values.len()
                    ));
                }
            }
            Ok(shape)
        }
        Op::Relu | Op::Identity => Ok(shape),
        Op::Clamp { low, high } if low <= high => Ok(shape),
        Op::Clamp { low, high } => parameter(format!("the clamp {low}..{high} is empty")),
        Op::Add if inputs[1] == inputs[0] => Ok(shape),
        Op::Add => Err(misfit(&format!(
            "the second operand is {:?}; broadcasting is not supported",
            inputs[1]
        ))),
        Op::MaxPool(pool) | Op::AvgPool { pool, .. } => {
            if shape.len() != pool.kernel.len() + 2 {
                return Err(misfit(
                    "a pooling takes [N, C, spatial..] of the window's rank",
                ));
            }
            if let Op::AvgPool {
                divisor_override: Some(0),
                ..
            } = op
            {
                return parameter("the divisor must not be 0".into());
            }
            if pool
                .padding
                .iter()
                .zip(&pool.kernel)
                .any(|(padding, kernel)| *padding > kernel / 2)
            {
                return parameter("the padding must be at most half the window".into());
            }
            let spatial = windows(
                &shape[2..],
                &pool.kernel,
                &pool.stride,
                &pool.padding,
                &pool.dilation,
                pool.ceil_mode,
            )?;
            Ok([shape[..2].to_vec(), spatial].concat())
        }
        Op::GlobalAvgPool if shape.len() >= 3 => {
            let ones = vec![1; shape.len() - 2];
            Ok([shape[..2].to_vec(), ones].concat())
        }
        Op::GlobalAvgPool => Err(misfit("a global pooling takes [N, C, spatial..]")),
        Op::Flatten { start } if *start < shape.len() => Ok([
            shape[..*start].to_vec(),
            vec![shape[*start..].iter().product()],
        ]
        .concat()),
        Op::Flatten { start } => Err(misfit(&format!("there is no dimension {start} to flatten"))),
        Op::Reshape(to) if elements(to) == elements(&shape) => Ok(to.clone()),
        Op::Reshape(to) => Err(misfit(&format!("{to:?} has another number of elements"))),
    }
}

fn check_bias(bias: Option<&[f32]>, channels: usize) -> Result<(), GraphProblem> {
    match bias {
        Some(bias) if bias.len() != channels => Err(GraphProblem::Parameter(format!(
            "the bias has {} values, the weight {channels} rows",
            bias.len()
        ))),
        _ => Ok(()),
    }
}

/// Output sizes of sliding windows (`torch.nn.Conv2d`, `torch.nn.MaxPool2d`: "Shape").
fn windows(
    input: &[usize],
    kernel: &[usize],
    stride: &[usize],
    padding: &[usize],
    dilation: &[usize],
    ceil: bool,
) -> Result<Vec<usize>, GraphProblem> {
    if [kernel.len(), stride.len(), padding.len(), dilation.len()] != [input.len(); 4] {
        return Err(GraphProblem::Parameter(
            "kernel, stride, padding and dilation need a number for each dimension".into(),
        ));
    }
    let mut output = Vec::new();
    for (d, size) in input.iter().enumerate() {
        let (k, s, p) = (kernel[d], stride[d], padding[d]);
        if k == 0 || s == 0 || dilation[d] == 0 {
            return Err(GraphProblem::Parameter(
                "kernel, stride and dilation must not be 0".into(),
            ));
        }
        let reach = (k - 1)
            .checked_mul(dilation[d])
            .and_then(|n| n.checked_add(1));
        let padded = p.checked_mul(2).and_then(|p| p.checked_add(*size));
        let (Some(reach), Some(padded)) = (reach, padded) else {
            return Err(GraphProblem::Parameter("the window is too large".into()));
        };
        let Some(room) = padded.checked_sub(reach) else {
            return Err(GraphProblem::Shape {
                what: format!("the window spans {reach}, the padded input only {padded}"),
                shape: input.to_vec(),
            });
        };
        let mut n = if ceil { room.div_ceil(s) } else { room / s } + 1;
        // in ceil mode the last window must begin inside the input or its left padding
        if ceil && (n - 1) * s >= size + p {
            n -= 1;
        }
        output.push(n);
    }
    Ok(output)
}
