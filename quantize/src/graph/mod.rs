//! The float graph: nodes in execution order over values with static shapes.

mod builder;
mod embedding;
mod interpolate;
mod movement;
mod norm;
mod op;
mod own;
mod recurrent;
mod shape;

use std::collections::BTreeMap;

use qconfig_core::kernel::Activation;
use qconfig_core::{DType, Spelling};

pub use self::builder::GraphBuilder;
pub use self::embedding::{Bag, Embedding};
pub use self::interpolate::{Interpolate, Target};
pub use self::movement::Movement;
pub use self::norm::Norm;
pub use self::op::{BatchNorm, Conv, ConvTranspose, Linear, Op, Pool};
pub use self::own::{Own, OwnOp};
pub use self::recurrent::{Gates, Recurrent};
use crate::tensor::Tensor;

/// A value: a graph input, a constant, or the output of a node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ValueId(pub(crate) usize);

/// Position of a node in [`Graph::nodes`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct NodeId(pub(crate) usize);

/// Name, shape and type of a value.
#[derive(Clone, PartialEq, Debug)]
pub struct Value {
    /// The input's name, or that of the node that makes it.
    pub name: String,
    /// Dimensions, channels first.
    pub shape: Vec<usize>,
    /// `float32`; `int32` or `int64` for indices that come in.
    pub dtype: DType,
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
    /// The values that go out beside it: the last states of a recurrent layer.
    pub more: Vec<ValueId>,
}

impl Node {
    /// All values that go out.
    pub fn outputs(&self) -> impl Iterator<Item = ValueId> {
        [self.output].into_iter().chain(self.more.iter().copied())
    }
}

/// A float model.
#[derive(Clone, PartialEq, Debug)]
pub struct Graph {
    pub(crate) values: Vec<Value>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) outputs: Vec<ValueId>,
    /// One for each output, or none where they are called as their values.
    pub(crate) output_names: Vec<String>,
    pub(crate) constants: BTreeMap<ValueId, Tensor>,
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
    /// An input of a type that the operator does not take.
    #[error("an input is {0}, which the operator does not take")]
    DType(DType),
    /// Two nodes or inputs of the same name.
    #[error("the name is taken; layer names must be unique, as reports and qconfigs refer to them")]
    Name,
}

impl Graph {
    /// The nodes in execution order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Name, shape and type of a value.
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

    /// Names of the outputs, in their order: those of their values, where [`Graph::name_outputs`] gave no others.
    pub fn output_names(&self) -> impl Iterator<Item = &str> {
        self.outputs.iter().enumerate().map(|(at, id)| {
            let given = self.output_names.get(at).map(String::as_str);
            given.unwrap_or(&self.values[id.0].name)
        })
    }

    /// Calls the outputs by other names than their values have, as a file format that names them does; a plan
    /// made from the graph has them too. Names beyond the number of outputs count for nothing.
    #[must_use]
    pub fn name_outputs(mut self, names: Vec<String>) -> Self {
        self.output_names = names;
        self
    }

    /// The values that are always the same, in the order they were added.
    pub fn constants(&self) -> impl Iterator<Item = (ValueId, &Tensor)> {
        self.constants.iter().map(|(id, tensor)| (*id, tensor))
    }

    /// The tensor of a value that is always the same.
    pub fn constant(&self, id: ValueId) -> Option<&Tensor> {
        self.constants.get(&id)
    }

    /// Bytes of all weights, biases and constants as floats.
    pub fn weight_bytes(&self) -> usize {
        let count = |op: &Op| match op {
            Op::Conv(conv) => conv.weight.data().len() + conv.bias.as_ref().map_or(0, Vec::len),
            Op::ConvTranspose(conv) => {
                conv.weight.data().len() + conv.bias.as_ref().map_or(0, Vec::len)
            }
            Op::Linear(linear) => {
                linear.weight.data().len() + linear.bias.as_ref().map_or(0, Vec::len)
            }
            Op::BatchNorm(bn) => 4 * bn.weight.len(),
            Op::Embedding(table) => table.weight.data().len(),
            Op::PRelu(slopes) => slopes.len(),
            Op::GroupNorm { norm, .. } | Op::LayerNorm { norm, .. } => 2 * norm.weight.len(),
            Op::Recurrent(recurrent) => {
                let weights = |gates: &Gates| {
                    let biases = gates.bias.iter().flatten().map(Vec::len).sum::<usize>();
                    gates.weight_ih.data().len() + gates.weight_hh.data().len() + biases
                };
                recurrent.gates.iter().map(weights).sum()
            }
            _ => 0,
        };
        let constants = self.constants.values().map(|tensor| tensor.data().len());
        let nodes = self.nodes.iter().map(|node| count(&node.op));
        4 * nodes.chain(constants).sum::<usize>()
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

/// What is in front of each dimension and what behind, of a padding that has a number for both or two.
pub(crate) fn sides(padding: &[usize], rank: usize) -> [&[usize]; 2] {
    match padding.split_at_checked(rank) {
        Some((front, behind)) if behind.len() == rank => [front, behind],
        _ => [padding; 2],
    }
}

/// Spatial numbers seen as `N` dimensions: those that `values` has are the last, `missing` stands for the
/// others.
pub(crate) fn dimensions<const N: usize>(values: &[usize], missing: usize) -> [usize; N] {
    let mut all = [missing; N];
    for (to, from) in all.iter_mut().rev().zip(values.iter().rev()) {
        *to = *from;
    }
    all
}
