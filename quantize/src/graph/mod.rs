//! The float graph: nodes in execution order over values with static shapes.

mod builder;
mod shape;

use qconfig_core::Spelling;
use qconfig_core::kernel::Activation;

pub use self::builder::GraphBuilder;
use crate::tensor::Tensor;

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

/// Spatial numbers seen as two dimensions: a lone one is the width, `missing` stands for the height.
pub(crate) fn pair(values: &[usize], missing: usize) -> [usize; 2] {
    match values {
        [w] => [missing, *w],
        [h, w, ..] => [*h, *w],
        [] => [missing; 2],
    }
}
