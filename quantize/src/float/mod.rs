//! Runs a graph in float: what calibration watches and what quantized results are compared with.

mod binary;
mod cat;
mod conv;
mod embedding;
mod interpolate;
mod linear;
mod matmul;
mod movement;
mod norm;
mod pad;
mod pool;
mod recurrent;
mod softmax;
mod window;

use qconfig_core::DType;
use qconfig_core::kernel::Activation;

use crate::graph::{Graph, Node, NodeId, Op, ValueId};
use crate::tensor::Tensor;

/// An input does not fit the graph.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// More or fewer than the graph has.
    #[error("the graph has {expected} inputs, {found} were given")]
    Count {
        /// Inputs of the graph.
        expected: usize,
        /// Inputs given.
        found: usize,
    },
    /// Another shape.
    #[error("input `{name}` has shape {expected:?}, {found:?} was given")]
    Shape {
        /// The input.
        name: String,
        /// Its shape.
        expected: Vec<usize>,
        /// The shape given.
        found: Vec<usize>,
    },
    /// NaN or infinity.
    #[error("input `{name}` holds {value} at element {at}")]
    NotFinite {
        /// The input.
        name: String,
        /// NaN or an infinity.
        value: f32,
        /// Its position.
        at: usize,
    },
    /// Floats for indices, or the other way round.
    #[error("input `{name}` is {expected}, and was not given as that")]
    DType {
        /// The input.
        name: String,
        /// Its type.
        expected: DType,
    },
    /// An index outside its table, or an offset outside its list.
    #[error("node `{node}`: {what} {at} is {value}, which is outside")]
    Index {
        /// The node.
        node: String,
        /// `index` or `offset`.
        what: &'static str,
        /// Its position.
        at: usize,
        /// Its value.
        value: i64,
    },
}

/// Checks count, shapes, types and that every value is finite.
///
/// # Errors
/// The first [`InputError`].
pub fn check_inputs(graph: &Graph, inputs: &[Tensor]) -> Result<(), InputError> {
    if inputs.len() != graph.inputs().len() {
        return Err(InputError::Count {
            expected: graph.inputs().len(),
            found: inputs.len(),
        });
    }
    for (id, tensor) in graph.inputs().iter().zip(inputs) {
        let value = graph.value(*id);
        if tensor.shape() != value.shape {
            let (expected, found) = (value.shape.clone(), tensor.shape().to_vec());
            return Err(InputError::Shape {
                name: value.name.clone(),
                expected,
                found,
            });
        }
        if tensor.integers().is_some() == (value.dtype == DType::float32) {
            return Err(InputError::DType {
                name: value.name.clone(),
                expected: value.dtype,
            });
        }
        if let Some((at, value_at)) = tensor
            .data()
            .iter()
            .enumerate()
            .find(|(_, x)| !x.is_finite())
        {
            return Err(InputError::NotFinite {
                name: value.name.clone(),
                value: *value_at,
                at,
            });
        }
    }
    Ok(())
}

/// What a run may change and see: every value in execution order, after it is computed.
pub(crate) trait Visitor {
    /// Called with each graph input, each constant and each node's output; may replace the values.
    fn value(&mut self, id: ValueId, tensor: &mut Tensor);
    /// Called with what a node computes, before its activation; may change it.
    fn computed(&mut self, _node: NodeId, _tensor: &mut Tensor) {}
    /// The weight to use for a node in place of its own; `at` counts the weights of one that has several.
    fn weight(&self, _node: NodeId, _at: usize) -> Option<&Tensor> {
        None
    }
    /// Replaces an input of a node, for instance by a quantized one.
    fn input(&self, _node: NodeId, _at: usize, _tensor: &Tensor) -> Option<Tensor> {
        None
    }
    /// Replaces what a recurrent layer multiplies weights with: its input, and the hidden state of a step.
    fn factor(&self, _node: NodeId, _values: &[f32]) -> Option<Vec<f32>> {
        None
    }
}

/// Runs the graph and returns every value.
pub(crate) fn execute(
    graph: &Graph,
    inputs: &[Tensor],
    visitor: &mut impl Visitor,
) -> Result<Vec<Tensor>, InputError> {
    let mut values = begin(graph, inputs, visitor)?;
    for at in 0..graph.nodes.len() {
        step(graph, NodeId(at), &mut values, visitor)?;
    }
    Ok(values)
}

/// The values before the first node: inputs and constants.
pub(crate) fn begin(
    graph: &Graph,
    inputs: &[Tensor],
    visitor: &mut impl Visitor,
) -> Result<Vec<Tensor>, InputError> {
    check_inputs(graph, inputs)?;
    let mut values = vec![Tensor::default(); graph.values.len()];
    for (id, input) in graph.inputs.iter().zip(inputs) {
        values[id.0] = input.clone();
        visitor.value(*id, &mut values[id.0]);
    }
    for (id, constant) in &graph.constants {
        values[id.0] = constant.clone();
        visitor.value(*id, &mut values[id.0]);
    }
    Ok(values)
}

/// Computes one node from the values before it.
pub(crate) fn step(
    graph: &Graph,
    id: NodeId,
    values: &mut [Tensor],
    visitor: &mut impl Visitor,
) -> Result<(), InputError> {
    let node = &graph.nodes[id.0];
    let replaced: Vec<Option<Tensor>> = node
        .inputs
        .iter()
        .enumerate()
        .map(|(i, value)| visitor.input(id, i, &values[value.0]))
        .collect();
    let operands: Vec<&Tensor> = node
        .inputs
        .iter()
        .zip(&replaced)
        .map(|(value, new)| new.as_ref().unwrap_or(&values[value.0]))
        .collect();
    let shapes: Vec<&[usize]> = node
        .outputs()
        .map(|value| graph.values[value.0].shape.as_slice())
        .collect();
    let weight = visitor.weight(id, 0);
    let outputs = match &node.op {
        Op::Recurrent(op) => recurrent::run(
            op,
            |at| visitor.weight(id, at),
            |values| visitor.factor(id, values),
            &operands,
            &shapes,
        ),
        Op::Embedding(op) => {
            let weight = weight.unwrap_or(&op.weight);
            vec![embedding::run(
                &node.name, op, weight, &operands, shapes[0],
            )?]
        }
        _ => vec![compute(node, &operands, weight, shapes[0])],
    };
    for (value, mut output) in node.outputs().zip(outputs) {
        visitor.computed(id, &mut output);
        activate(node.activation, &mut output);
        visitor.value(value, &mut output);
        values[value.0] = output;
    }
    Ok(())
}

/// Changes nothing and sees nothing.
pub(crate) struct Plain;
impl Visitor for Plain {
    fn value(&mut self, _: ValueId, _: &mut Tensor) {}
}

impl Graph {
    /// Runs the model in float.
    ///
    /// # Errors
    /// [`InputError`] where an input has another shape or holds NaN or infinity.
    pub fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, InputError> {
        let values = execute(self, inputs, &mut Plain)?;
        Ok(self.outputs.iter().map(|id| values[id.0].clone()).collect())
    }

    /// Runs the model in float and returns every value, indexed as [`ValueId`]s are.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn run_all(&self, inputs: &[Tensor]) -> Result<Values, InputError> {
        Ok(Values(execute(self, inputs, &mut Plain)?))
    }
}

/// Every value of a run.
#[derive(Clone, Debug)]
pub struct Values(pub(crate) Vec<Tensor>);

impl Values {
    /// The tensor of a value.
    pub fn get(&self, id: ValueId) -> &Tensor {
        &self.0[id.0]
    }
}

fn activate(activation: Activation, tensor: &mut Tensor) {
    let (low, high) = match activation {
        Activation::None => return,
        Activation::Relu => (0.0, f32::INFINITY),
        Activation::Clamp { low, high } => (low, high),
    };
    for x in tensor.data_mut() {
        *x = x.max(low).min(high);
    }
}

fn compute(node: &Node, inputs: &[&Tensor], weight: Option<&Tensor>, shape: &[usize]) -> Tensor {
    let x = inputs[0];
    match &node.op {
        Op::Conv(op) => conv::convolve(op, weight.unwrap_or(&op.weight), x, shape),
        Op::ConvTranspose(op) => match weight {
            Some(rows) => conv::convolve_transposed(op, rows, x, shape),
            None => conv::convolve_transposed(op, &op.by_output(), x, shape),
        },
        Op::Linear(op) => linear::multiply(op, weight.unwrap_or(&op.weight), x, shape),
        Op::BatchNorm(bn) => norm::normalize(bn, x),
        Op::Relu => map(x, |x| x.max(0.0)),
        Op::Clamp { low, high } => map(x, |x| x.max(*low).min(*high)),
        Op::Cat { axis } | Op::Stack { axis } => cat::concatenated(inputs, *axis, shape),
        Op::Softmax { axis } => softmax::softmax(x, *axis),
        Op::Unary(function) => map(x, |x| qconfig_kernels::unary(*function, x)),
        Op::Add => binary::zipped(x, inputs[1], shape, |a, b| a + b),
        Op::Mul => binary::zipped(x, inputs[1], shape, |a, b| a * b),
        Op::Where => {
            let zero = Tensor::zeros(&[1]);
            let all = binary::zipped(x, &zero, shape, |x, _| x);
            let yes = binary::zipped(inputs[1], &zero, shape, |x, _| x);
            let no = binary::zipped(inputs[2], &zero, shape, |x, _| x);
            let pairs = yes.data().iter().zip(no.data());
            let chosen = all.data().iter().zip(pairs);
            filled(
                shape,
                chosen.map(|(x, (yes, no))| if *x == 0.0 { *no } else { *yes }),
            )
        }
        Op::MatMul => matmul::multiplied(x, inputs[1], shape),
        Op::PRelu(slopes) => norm::sloped(slopes, x),
        Op::Binary(function) => binary::zipped(x, inputs[1], shape, |a, b| {
            qconfig_kernels::binary(*function, a, b)
        }),
        Op::MaxPool(op) => pool::pooled(op, x, shape, |cells| {
            cells.iter().flatten().copied().fold(f32::MIN, f32::max)
        }),
        Op::AvgPool {
            pool: op,
            count_include_pad,
            divisor_override,
        } => pool::pooled(op, x, shape, |cells| {
            let inside = cells.iter().flatten().count();
            let divisor = divisor_override.unwrap_or(if *count_include_pad {
                cells.len()
            } else {
                inside
            });
            cells.iter().flatten().sum::<f32>() / divisor.max(1) as f32
        }),
        Op::GroupNorm { groups, norm } => norm::group(*groups, norm, x),
        Op::LayerNorm { axes, norm } => norm::layer(*axes, norm, x),
        Op::AdaptiveAvgPool(_) => pool::adaptive(x, shape),
        Op::Mean { axes, .. } => pool::mean(axes, x, shape),
        Op::Reduce {
            reduction, axes, ..
        } => pool::reduced(*reduction, axes, x, shape),
        Op::Pad {
            padding, before, ..
        } => pad::padded(*padding, before, x, shape),
        Op::Select { axis, indices } => pad::selected(*axis, indices, x, shape),
        Op::ToFloat => {
            let integers = x.integers().unwrap_or_default();
            filled(shape, integers.iter().map(|x| *x as f32))
        }
        Op::GlobalAvgPool => {
            let area: usize = x.shape()[2..].iter().product();
            let means = x
                .data()
                .chunks(area)
                .map(|plane| plane.iter().sum::<f32>() / area as f32);
            filled(shape, means)
        }
        Op::Own(own) => {
            let mut output = Tensor::zeros(shape);
            own.op().float(inputs, output.data_mut());
            output
        }
        Op::Interpolate(op) => interpolate::resized(op, x, shape),
        Op::Movement(op) => movement::moved(op, x, shape),
        // several outputs, or errors: computed in their own rooms
        Op::Recurrent(_) | Op::Embedding(_) => Tensor::zeros(shape),
        Op::Flatten { .. } | Op::Reshape(_) | Op::Identity => {
            filled(shape, x.data().iter().copied())
        }
    }
}

fn filled(shape: &[usize], values: impl Iterator<Item = f32>) -> Tensor {
    let mut tensor = Tensor::zeros(shape);
    for (to, from) in tensor.data_mut().iter_mut().zip(values) {
        *to = from;
    }
    tensor
}

fn map(x: &Tensor, f: impl Fn(f32) -> f32) -> Tensor {
    filled(x.shape(), x.data().iter().map(|x| f(*x)))
}
