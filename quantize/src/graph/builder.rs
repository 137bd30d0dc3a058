//! Building a graph node by node.

mod binary;
mod norm;
mod pool;

use std::collections::BTreeMap;

use qconfig_core::kernel::{Activation, RecurrentCell, Unary};
use qconfig_core::operator::{nn, operator, torch};
use qconfig_core::{DType, Spelled, Spelling};

use super::shape::output_shapes;
use super::{
    Bag, Conv, ConvTranspose, Embedding, Graph, GraphError, GraphProblem, Linear, Node, Op,
    Recurrent, Value, ValueId,
};
use crate::tensor::{Tensor, elements};

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
    constants: BTreeMap<ValueId, Tensor>,
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
        let id = self.define(name, shape.to_vec(), DType::float32)?;
        self.inputs.push(id);
        Ok(id)
    }

    /// A graph input of `int32` or `int64`: indices of a table, or where bags begin.
    ///
    /// # Errors
    /// As [`GraphBuilder::input`], and for other types.
    pub fn input_integers(
        &mut self,
        name: &str,
        shape: &[usize],
        dtype: DType,
    ) -> Result<ValueId, GraphError> {
        if !matches!(dtype, DType::int32 | DType::int64) {
            return Err(GraphError {
                node: name.into(),
                problem: GraphProblem::DType(dtype),
            });
        }
        let id = self.define(name, shape.to_vec(), dtype)?;
        self.inputs.push(id);
        Ok(id)
    }

    /// The type of a value; `None` for one that is not in the graph.
    pub fn dtype(&self, id: ValueId) -> Option<DType> {
        self.values.get(id.0).map(|value| value.dtype)
    }

    /// The dimensions of a value; none of one that is not in the graph.
    pub fn shape(&self, id: ValueId) -> &[usize] {
        self.values.get(id.0).map_or(&[], |value| &value.shape)
    }

    /// A tensor that is always the same.
    ///
    /// # Errors
    /// As [`GraphBuilder::input`], and for NaN, which no observer could take; infinities are left to the
    /// operators that read them.
    pub fn constant(&mut self, name: &str, tensor: Tensor) -> Result<ValueId, GraphError> {
        let fail = |problem| GraphError {
            node: name.into(),
            problem,
        };
        if tensor.integers().is_some() {
            return Err(fail(GraphProblem::DType(DType::int64)));
        }
        if tensor.data().iter().any(|x| x.is_nan()) {
            return Err(fail(GraphProblem::Parameter("a constant is NaN".into())));
        }
        let id = self.define(name, tensor.shape().to_vec(), DType::float32)?;
        self.constants.insert(id, tensor);
        Ok(id)
    }

    /// Any node, spelled as given; of a node with several outputs, the first.
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
        let outputs = self.node_outputs(name, spelling, op, inputs)?;
        Ok(outputs[0])
    }

    /// Any node, spelled as given, with all its outputs. The first has the node's name, the others a
    /// number behind it: `lstm:1`.
    ///
    /// # Errors
    /// [`GraphError`] where operator, parameters and inputs do not fit.
    pub fn node_outputs(
        &mut self,
        name: &str,
        spelling: &'static Spelling,
        op: Op,
        inputs: &[ValueId],
    ) -> Result<Vec<ValueId>, GraphError> {
        let fail = |problem| GraphError {
            node: name.into(),
            problem,
        };
        let (mut shapes, mut dtypes) = (Vec::new(), Vec::new());
        for input in inputs {
            let value = self
                .values
                .get(input.0)
                .ok_or_else(|| fail(GraphProblem::UnknownValue(input.0)))?;
            shapes.push(value.shape.as_slice());
            dtypes.push(value.dtype);
        }
        let mut shapes = output_shapes(&op, &shapes, &dtypes)
            .map_err(fail)?
            .into_iter();
        let output = self.define(name, shapes.next().unwrap_or_default(), DType::float32)?;
        let more: Vec<ValueId> = shapes
            .enumerate()
            .map(|(at, shape)| self.define(&format!("{name}:{}", at + 1), shape, DType::float32))
            .collect::<Result<_, _>>()?;
        let outputs = [&[output], more.as_slice()].concat();
        self.nodes.push(Node {
            name: name.into(),
            spelling,
            chain: vec![spelling],
            op,
            activation: Activation::None,
            inputs: inputs.to_vec(),
            output,
            more,
        });
        Ok(outputs)
    }

    /// `torch.nn.Conv1d`, `Conv2d` or `Conv3d`, by the rank of the weight.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn conv(&mut self, name: &str, input: ValueId, conv: Conv) -> Result<ValueId, GraphError> {
        let spelling = match conv.weight.shape().len() {
            3 => nn::Conv1d::SPELLING,
            5 => nn::Conv3d::SPELLING,
            _ => nn::Conv2d::SPELLING,
        };
        self.node(name, spelling, Op::Conv(conv), &[input])
    }

    /// `torch.nn.ConvTranspose1d`, `2d` or `3d`, by the rank of the weight.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn conv_transpose(
        &mut self,
        name: &str,
        input: ValueId,
        conv: ConvTranspose,
    ) -> Result<ValueId, GraphError> {
        let spelling = match conv.weight.shape().len() {
            3 => nn::ConvTranspose1d::SPELLING,
            5 => nn::ConvTranspose3d::SPELLING,
            _ => nn::ConvTranspose2d::SPELLING,
        };
        self.node(name, spelling, Op::ConvTranspose(conv), &[input])
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

    /// A function of each element, spelled as its module in `torch.nn`, or as Python's operator.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn unary(
        &mut self,
        name: &str,
        input: ValueId,
        function: Unary,
    ) -> Result<ValueId, GraphError> {
        let spelling = match function {
            Unary::Hardswish => nn::Hardswish::SPELLING,
            Unary::Hardsigmoid => nn::Hardsigmoid::SPELLING,
            Unary::Sigmoid => nn::Sigmoid::SPELLING,
            Unary::Tanh => nn::Tanh::SPELLING,
            Unary::Elu { .. } => nn::ELU::SPELLING,
            Unary::LeakyRelu { .. } => nn::LeakyReLU::SPELLING,
            Unary::Gelu { .. } => nn::GELU::SPELLING,
            Unary::FloorDivide { .. } => operator::floordiv::SPELLING,
            Unary::AddScalar { .. } => operator::add::SPELLING,
            Unary::MulScalar { .. } => operator::mul::SPELLING,
            Unary::PowScalar { .. } => torch::pow::SPELLING,
            Unary::Silu => nn::SiLU::SPELLING,
            Unary::Mish => nn::Mish::SPELLING,
            Unary::Softplus { .. } => nn::Softplus::SPELLING,
            Unary::Softsign => nn::Softsign::SPELLING,
            Unary::Exp => torch::exp::SPELLING,
            Unary::Log => torch::log::SPELLING,
            Unary::Sqrt => torch::sqrt::SPELLING,
            Unary::Rsqrt => torch::rsqrt::SPELLING,
            Unary::Reciprocal => torch::reciprocal::SPELLING,
            Unary::Neg => torch::neg::SPELLING,
            Unary::Abs => torch::abs::SPELLING,
            Unary::Sign => torch::sign::SPELLING,
            Unary::Erf => torch::erf::SPELLING,
            Unary::Floor => torch::floor::SPELLING,
            Unary::Ceil => torch::ceil::SPELLING,
            Unary::Round => torch::round::SPELLING,
            Unary::Sin => torch::sin::SPELLING,
            Unary::Cos => torch::cos::SPELLING,
            Unary::Tan => torch::tan::SPELLING,
            Unary::Asin => torch::asin::SPELLING,
            Unary::Acos => torch::acos::SPELLING,
            Unary::Atan => torch::atan::SPELLING,
            Unary::Sinh => torch::sinh::SPELLING,
            Unary::Cosh => torch::cosh::SPELLING,
            Unary::Asinh => torch::asinh::SPELLING,
            Unary::Acosh => torch::acosh::SPELLING,
            Unary::Atanh => torch::atanh::SPELLING,
            _ => {
                return Err(GraphError {
                    node: name.into(),
                    problem: GraphProblem::Parameter("the function has no usual spelling".into()),
                });
            }
        };
        self.node(name, spelling, Op::Unary(function), &[input])
    }

    /// `torch.add`.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn add(&mut self, name: &str, a: ValueId, b: ValueId) -> Result<ValueId, GraphError> {
        self.node(name, torch::add::SPELLING, Op::Add, &[a, b])
    }

    /// `torch.mul`.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn mul(&mut self, name: &str, a: ValueId, b: ValueId) -> Result<ValueId, GraphError> {
        self.node(name, torch::mul::SPELLING, Op::Mul, &[a, b])
    }

    /// `torch.matmul`.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn matmul(&mut self, name: &str, a: ValueId, b: ValueId) -> Result<ValueId, GraphError> {
        self.node(name, torch::matmul::SPELLING, Op::MatMul, &[a, b])
    }

    /// `torch.nn.PReLU` with one slope, or one for each channel.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn prelu(
        &mut self,
        name: &str,
        input: ValueId,
        slopes: &[f32],
    ) -> Result<ValueId, GraphError> {
        let op = Op::PRelu(slopes.to_vec());
        self.node(name, nn::PReLU::SPELLING, op, &[input])
    }

    /// `torch.nn.Softmax`.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn softmax(
        &mut self,
        name: &str,
        input: ValueId,
        axis: usize,
    ) -> Result<ValueId, GraphError> {
        self.node(name, nn::Softmax::SPELLING, Op::Softmax { axis }, &[input])
    }

    /// `torch.cat`.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn cat(
        &mut self,
        name: &str,
        inputs: &[ValueId],
        axis: usize,
    ) -> Result<ValueId, GraphError> {
        self.node(name, torch::cat::SPELLING, Op::Cat { axis }, inputs)
    }

    /// `torch.stack`.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn stack(
        &mut self,
        name: &str,
        inputs: &[ValueId],
        axis: usize,
    ) -> Result<ValueId, GraphError> {
        self.node(name, torch::stack::SPELLING, Op::Stack { axis }, inputs)
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

    /// `torch.nn.Embedding`: a row for each index.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn embedding(
        &mut self,
        name: &str,
        indices: ValueId,
        weight: Tensor,
    ) -> Result<ValueId, GraphError> {
        let op = Op::Embedding(Embedding { weight, bag: None });
        self.node(name, nn::Embedding::SPELLING, op, &[indices])
    }

    /// `torch.nn.EmbeddingBag`: the inputs are the indices `[bags, length]`, or a list of them and where
    /// each bag begins; then perhaps a weight for each index.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn embedding_bag(
        &mut self,
        name: &str,
        inputs: &[ValueId],
        weight: Tensor,
        bag: Bag,
    ) -> Result<ValueId, GraphError> {
        let bag = Some(bag);
        let op = Op::Embedding(Embedding { weight, bag });
        self.node(name, nn::EmbeddingBag::SPELLING, op, inputs)
    }

    /// `torch.nn.LSTM` or, over `[B, I]`, `torch.nn.LSTMCell`; `torch.nn.GRU` or `torch.nn.GRUCell`;
    /// `torch.nn.RNN` or `torch.nn.RNNCell`. `initial` has the states it begins with, or none. Gives the sequence, which a
    /// cell has not, and the states after the last step.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn recurrent(
        &mut self,
        name: &str,
        input: ValueId,
        initial: &[ValueId],
        recurrent: Recurrent,
    ) -> Result<Vec<ValueId>, GraphError> {
        let rank = self
            .values
            .get(input.0)
            .map_or(0, |value| value.shape.len());
        let spelling = match (recurrent.cell, rank) {
            (RecurrentCell::Lstm, 2) => nn::LSTMCell::SPELLING,
            (RecurrentCell::Lstm, _) => nn::LSTM::SPELLING,
            (RecurrentCell::Gru, 2) => nn::GRUCell::SPELLING,
            (RecurrentCell::Gru, _) => nn::GRU::SPELLING,
            (RecurrentCell::Tanh | RecurrentCell::Relu, 2) => nn::RNNCell::SPELLING,
            (RecurrentCell::Tanh | RecurrentCell::Relu, _) => nn::RNN::SPELLING,
        };
        let inputs = [&[input], initial].concat();
        self.node_outputs(name, spelling, Op::Recurrent(recurrent), &inputs)
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
            output_names: Vec::new(),
            constants: self.constants,
        })
    }

    fn define(
        &mut self,
        name: &str,
        shape: Vec<usize>,
        dtype: DType,
    ) -> Result<ValueId, GraphError> {
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
            dtype,
        });
        Ok(ValueId(self.values.len() - 1))
    }
}
