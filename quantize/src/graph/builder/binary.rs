//! Functions of two tensors, reductions, and more elements around a tensor.

use qconfig_core::Spelled;
use qconfig_core::kernel::{Binary, Padding, Reduction};
use qconfig_core::operator::{F, method, torch};

use super::GraphBuilder;
use crate::graph::{GraphError, GraphProblem, Op, ValueId};

impl GraphBuilder {
    /// `torch.sub`, `torch.div`, `torch.pow`, ...
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn binary(
        &mut self,
        name: &str,
        a: ValueId,
        b: ValueId,
        function: Binary,
    ) -> Result<ValueId, GraphError> {
        let spelling = match function {
            Binary::Sub => torch::sub::SPELLING,
            Binary::Div => torch::div::SPELLING,
            Binary::Pow => torch::pow::SPELLING,
            Binary::Minimum => torch::minimum::SPELLING,
            Binary::Maximum => torch::maximum::SPELLING,
            Binary::Less => torch::lt::SPELLING,
            Binary::LessEqual => torch::le::SPELLING,
            Binary::Greater => torch::gt::SPELLING,
            Binary::GreaterEqual => torch::ge::SPELLING,
            Binary::Equal => torch::eq::SPELLING,
            _ => return Err(unspelled(name)),
        };
        self.node(name, spelling, Op::Binary(function), &[a, b])
    }

    /// `torch.where`: `yes` where the condition is not 0, else `no`.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn choose(
        &mut self,
        name: &str,
        condition: ValueId,
        yes: ValueId,
        no: ValueId,
    ) -> Result<ValueId, GraphError> {
        let inputs = [condition, yes, no];
        self.node(name, torch::where_::SPELLING, Op::Where, &inputs)
    }

    /// `torch.sum`, `torch.prod`, `torch.amin` or `torch.amax`.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn reduce(
        &mut self,
        name: &str,
        input: ValueId,
        reduction: Reduction,
        axes: &[usize],
        keepdim: bool,
    ) -> Result<ValueId, GraphError> {
        let spelling = match reduction {
            Reduction::Sum => torch::sum::SPELLING,
            Reduction::Prod => torch::prod::SPELLING,
            Reduction::Min => torch::amin::SPELLING,
            Reduction::Max => torch::amax::SPELLING,
            _ => return Err(unspelled(name)),
        };
        let op = Op::Reduce {
            reduction,
            axes: axes.to_vec(),
            keepdim,
        };
        self.node(name, spelling, op, &[input])
    }

    /// `torch.nn.functional.pad`: so many elements before and behind each dimension.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn pad(
        &mut self,
        name: &str,
        input: ValueId,
        padding: Padding,
        before: &[usize],
        after: &[usize],
    ) -> Result<ValueId, GraphError> {
        let op = Op::Pad {
            padding,
            before: before.to_vec(),
            after: after.to_vec(),
        };
        self.node(name, F::pad::SPELLING, op, &[input])
    }

    /// `torch.index_select`: these positions of a dimension.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn select(
        &mut self,
        name: &str,
        input: ValueId,
        axis: usize,
        indices: &[usize],
    ) -> Result<ValueId, GraphError> {
        let indices = indices.to_vec();
        let op = Op::Select { axis, indices };
        self.node(name, torch::index_select::SPELLING, op, &[input])
    }

    /// `Tensor.float`: integers become floats.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn to_float(&mut self, name: &str, input: ValueId) -> Result<ValueId, GraphError> {
        self.node(name, method::float::SPELLING, Op::ToFloat, &[input])
    }
}

fn unspelled(name: &str) -> GraphError {
    GraphError {
        node: name.into(),
        problem: GraphProblem::Parameter("the function has no usual spelling".into()),
    }
}
