//! The reference model executed in float: the oracle for the lowered one.

use std::collections::BTreeMap;

use qconfig_core::DType;
use qconfig_core::kernel::QParams;

use crate::bias::{add_along, bias_axis};
use crate::convert::ReferenceModel;
use crate::float::{InputError, Values, Visitor, execute};
use crate::graph::{NodeId, ValueId};
use crate::prepare::Decision;
use crate::tensor::Tensor;

impl ReferenceModel {
    /// Runs the model in float, with quantize and dequantize around each quantized pattern and the
    /// weights' rounded values.
    ///
    /// # Errors
    /// [`InputError`] where an input has another shape or holds NaN or infinity.
    pub fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, InputError> {
        let values = self.run_all(inputs)?;
        Ok(self
            .graph
            .outputs
            .iter()
            .map(|id| values.get(*id).clone())
            .collect())
    }

    /// The same, with every value.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn run_all(&self, inputs: &[Tensor]) -> Result<Values, InputError> {
        let weights = self.dequantized_weights();
        let mut round = Round::new(self, &weights);
        execute(&self.graph, inputs, &mut round).map(Values)
    }

    /// The values that the integers of all weights stand for.
    pub(crate) fn dequantized_weights(&self) -> BTreeMap<(NodeId, usize), Tensor> {
        let weights = self.weights.iter();
        let tables = self.tables.iter();
        weights
            .map(|(key, weight)| (*key, weight.dequantize()))
            .chain(tables.map(|(node, table)| ((*node, 0), table.dequantize())))
            .collect()
    }
}

/// Rounds what goes into and comes out of quantized nodes.
pub(crate) struct Round<'m> {
    model: &'m ReferenceModel,
    weights: &'m BTreeMap<(NodeId, usize), Tensor>,
}

impl<'m> Round<'m> {
    pub(crate) fn new(
        model: &'m ReferenceModel,
        weights: &'m BTreeMap<(NodeId, usize), Tensor>,
    ) -> Self {
        Self { model, weights }
    }
}

impl Visitor for Round<'_> {
    fn value(&mut self, id: ValueId, tensor: &mut Tensor) {
        // the output of a quantized node is rounded to its own dtype
        let Some(node) = self
            .model
            .graph
            .nodes
            .iter()
            .position(|node| node.outputs().any(|output| output == id))
        else {
            return;
        };
        let Decision::Quantized(quantized) = &self.model.decisions[node] else {
            return;
        };
        if let Some(output) = quantized.dtypes().output
            && let Some(qparams) = self.model.qparams.get(&(id, output.dtype))
        {
            round(tensor, *qparams, output.dtype);
        }
    }

    fn computed(&mut self, node: NodeId, tensor: &mut Tensor) {
        if let Some(correction) = self.model.corrections.get(&node) {
            let op = &self.model.graph.nodes[node.0].op;
            if let Some(axis) = bias_axis(op, tensor.shape().len()) {
                add_along(tensor, axis, correction);
            }
        }
    }

    fn weight(&self, node: NodeId, at: usize) -> Option<&Tensor> {
        self.weights.get(&(node, at))
    }

    fn input(&self, node: NodeId, at: usize, tensor: &Tensor) -> Option<Tensor> {
        let Decision::Quantized(quantized) = &self.model.decisions[node.0] else {
            return None;
        };
        let dtype = quantized.dtypes().input?.dtype;
        let value = self.model.graph.nodes[node.0].inputs[at];
        let qparams = self.model.qparams.get(&(value, dtype))?;
        let mut rounded = tensor.clone();
        round(&mut rounded, *qparams, dtype);
        Some(rounded)
    }
}

/// Quantize, then dequantize; rounding twice with the same parameters changes nothing.
fn round(tensor: &mut Tensor, qparams: QParams, dtype: DType) {
    let Some((low, high)) = dtype.quant_range() else {
        return;
    };
    for x in tensor.data_mut() {
        let q =
            (*x * (1.0 / qparams.scale)).round_ties_even() as i64 + i64::from(qparams.zero_point);
        *x = qparams.scale * (q.clamp(low, high) - i64::from(qparams.zero_point)) as f32;
    }
}
