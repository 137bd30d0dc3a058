//! The reference model executed in float: the oracle for the lowered one.

use std::collections::BTreeMap;

use half::f16;
use qconfig_core::DType;
use qconfig_core::kernel::QParams;
use qconfig_kernels::dynamic_qparams;

use crate::bias::{add_along, bias_axis};
use crate::convert::ReferenceModel;
use crate::float::{InputError, Values, Visitor, execute};
use crate::graph::{NodeId, Op, ValueId};
use crate::prepare::{Decision, Quantized};
use crate::tensor::Tensor;

impl ReferenceModel {
    /// Runs the model in float, with quantize and dequantize around each quantized pattern, or of its input
    /// alone where it is dynamic, and the weights' rounded values.
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

    /// The values that the integers of all weights stand for, and those of half precision.
    pub(crate) fn dequantized_weights(&self) -> BTreeMap<(NodeId, usize), Tensor> {
        let weights = self.weights.iter();
        let tables = self.tables.iter();
        weights
            .map(|(key, weight)| (*key, weight.dequantize()))
            .chain(tables.map(|(node, table)| ((*node, 0), table.dequantize())))
            .chain(self.halves())
            .chain((self.blocks.iter()).map(|(node, weight)| ((*node, 0), weight.dequantize())))
            .collect()
    }

    /// Weights of layers that take them in half precision.
    fn halves(&self) -> impl Iterator<Item = ((NodeId, usize), Tensor)> {
        let nodes = self.graph.nodes.iter().zip(&self.decisions).enumerate();
        nodes.flat_map(|(at, (node, decision))| {
            let is_half = match decision {
                Decision::Quantized(quantized) => {
                    let weight = quantized.dtypes().weight;
                    weight.is_none_or(|weight| weight.dtype == DType::float16)
                }
                Decision::WeightOnly(_) | Decision::Float(_) => false,
            };
            let weights: Vec<&Tensor> = match &node.op {
                Op::Linear(linear) if is_half => vec![&linear.weight],
                Op::Recurrent(recurrent) if is_half => {
                    let gates = recurrent.gates.iter();
                    gates
                        .flat_map(|gates| [&gates.weight_ih, &gates.weight_hh])
                        .collect()
                }
                _ => Vec::new(),
            };
            let rounded = weights.into_iter().map(half).enumerate();
            rounded
                .map(move |(which, weight)| ((NodeId(at), which), weight))
                .collect::<Vec<_>>()
        })
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
            round(tensor.data_mut(), *qparams, output.dtype);
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
        let node = &self.model.graph.nodes[node.0];
        if quantized.dtypes().is_dynamic {
            return match node.op {
                Op::Linear(_) if at == 0 => as_it_comes(quantized, tensor),
                _ => None,
            };
        }
        let value = node.inputs[at];
        let qparams = self.model.qparams.get(&(value, dtype))?;
        let mut rounded = tensor.clone();
        round(rounded.data_mut(), *qparams, dtype);
        Some(rounded)
    }

    fn factor(&self, node: NodeId, values: &[f32]) -> Option<Vec<f32>> {
        match &self.model.decisions[node.0] {
            Decision::Quantized(quantized) => dynamic(quantized, values),
            Decision::WeightOnly(_) | Decision::Float(_) => None,
        }
    }
}

/// Values as a dynamic kernel rounds them, with parameters from the values themselves.
fn dynamic(quantized: &Quantized, values: &[f32]) -> Option<Vec<f32>> {
    let dtypes = quantized.dtypes();
    let is_rounded = dtypes.is_dynamic && dtypes.input?.dtype.is_quantized();
    is_rounded.then(|| {
        let reduce_range = quantized.qconfig.activation.reduce_range;
        let mut rounded = values.to_vec();
        round(
            &mut rounded,
            dynamic_qparams(values, reduce_range),
            DType::quint8,
        );
        rounded
    })
}

fn as_it_comes(quantized: &Quantized, tensor: &Tensor) -> Option<Tensor> {
    let mut rounded = tensor.clone();
    rounded
        .data_mut()
        .copy_from_slice(&dynamic(quantized, tensor.data())?);
    Some(rounded)
}

/// A weight as kernels for half precision keep it.
fn half(weight: &Tensor) -> Tensor {
    let largest = f16::MAX.to_f32();
    let mut rounded = weight.clone();
    for x in rounded.data_mut() {
        *x = f16::from_f32(x.clamp(-largest, largest)).to_f32();
    }
    rounded
}

/// Quantize, then dequantize; rounding twice with the same parameters changes nothing.
fn round(values: &mut [f32], qparams: QParams, dtype: DType) {
    let Some((low, high)) = dtype.quant_range() else {
        return;
    };
    for x in values {
        let q =
            (*x * (1.0 / qparams.scale)).round_ties_even() as i64 + i64::from(qparams.zero_point);
        *x = qparams.scale * (q.clamp(low, high) - i64::from(qparams.zero_point)) as f32;
    }
}
