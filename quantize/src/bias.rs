//! Bias correction: what rounding shifts on average, each layer's bias takes back.
//!
//! Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (ICCV 2019),
//! section 4.2, with means over samples in place of those of batch normalization.

use std::collections::BTreeMap;

use crate::convert::ReferenceModel;
use crate::float::{InputError, Plain, Visitor, begin, step};
use crate::graph::{NodeId, Op, ValueId};
use crate::prepare::Decision;
use crate::reference::Round;
use crate::tensor::Tensor;

/// The dimension that the bias of an operator runs along, for those that have one.
pub(crate) fn bias_axis(op: &Op, rank: usize) -> Option<usize> {
    match op {
        Op::Conv(_) | Op::ConvTranspose(_) => Some(1),
        Op::Linear(_) => rank.checked_sub(1),
        _ => None,
    }
}

/// Adds a number to each position of a dimension.
pub(crate) fn add_along(tensor: &mut Tensor, axis: usize, numbers: &[f32]) {
    let inner: usize = tensor.shape().iter().skip(axis + 1).product();
    for (run, values) in tensor.data_mut().chunks_mut(inner.max(1)).enumerate() {
        if let Some(number) = numbers.get(run % numbers.len().max(1)) {
            values.iter_mut().for_each(|value| *value += number);
        }
    }
}

/// Sums of what a layer gives before its activation, for each position of its bias.
#[derive(Default)]
struct Sums {
    sums: Vec<f64>,
    /// Values in each sum.
    count: usize,
}

impl Sums {
    fn add(&mut self, tensor: &Tensor, axis: usize) {
        let size = tensor.shape().get(axis).copied().unwrap_or(1);
        let inner: usize = tensor.shape().iter().skip(axis + 1).product();
        self.sums.resize(size, 0.0);
        for (run, values) in tensor.data().chunks(inner.max(1)).enumerate() {
            if let Some(sum) = self.sums.get_mut(run % size) {
                *sum += values.iter().map(|x| f64::from(*x)).sum::<f64>();
            }
        }
        self.count += tensor.data().len() / size.max(1);
    }
}

/// Watches one layer of the float model.
struct Watch {
    axis: Option<usize>,
    sums: Sums,
}

impl Visitor for Watch {
    fn value(&mut self, _: ValueId, _: &mut Tensor) {}

    fn computed(&mut self, _: NodeId, tensor: &mut Tensor) {
        if let Some(axis) = self.axis {
            self.sums.add(tensor, axis);
        }
    }
}

/// Watches one layer of the quantized model.
struct WatchRounded<'m> {
    round: Round<'m>,
    watch: Watch,
}

impl Visitor for WatchRounded<'_> {
    fn value(&mut self, id: ValueId, tensor: &mut Tensor) {
        self.round.value(id, tensor);
    }

    fn computed(&mut self, node: NodeId, tensor: &mut Tensor) {
        self.round.computed(node, tensor);
        self.watch.computed(node, tensor);
    }

    fn weight(&self, node: NodeId, at: usize) -> Option<&Tensor> {
        self.round.weight(node, at)
    }

    fn input(&self, node: NodeId, at: usize, tensor: &Tensor) -> Option<Tensor> {
        self.round.input(node, at, tensor)
    }
}

/// Corrects the bias of every quantized convolution and linear layer, the first ones first, so that over
/// the samples each of their outputs has the float model's mean. `progress` is told after each node how
/// many are done. All samples are in memory at once, with what they are inside the model.
///
/// # Errors
/// [`InputError`] where a sample does not fit.
pub fn correct_bias(
    model: &mut ReferenceModel,
    samples: &[Vec<Tensor>],
    mut progress: impl FnMut(usize),
) -> Result<(), InputError> {
    let graph = model.graph.clone();
    let mut float = samples
        .iter()
        .map(|inputs| begin(&graph, inputs, &mut Plain))
        .collect::<Result<Vec<_>, _>>()?;
    let mut rounded = float.clone();
    let weights = model.dequantized_weights();
    for (at, node) in graph.nodes.iter().enumerate() {
        let id = NodeId(at);
        let rank = graph.values[node.output.0].shape.len();
        let is_static = match &model.decisions[at] {
            Decision::Quantized(quantized) => quantized.is_static(),
            Decision::WeightOnly(_) | Decision::Float(_) => false,
        };
        let axis = bias_axis(&node.op, rank).filter(|_| is_static);
        let mut watch = Watch::along(axis);
        for values in &mut float {
            step(&graph, id, values, &mut watch)?;
        }
        if axis.is_some() {
            let mut found = WatchRounded {
                round: Round::new(model, &weights),
                watch: Watch::along(axis),
            };
            for values in &mut rounded {
                step(&graph, id, values, &mut found)?;
            }
            let correction = difference(&watch.sums, &found.watch.sums);
            model.corrections.insert(id, correction);
        }
        let mut round = Round::new(model, &weights);
        for values in &mut rounded {
            step(&graph, id, values, &mut round)?;
        }
        forget(&graph, at, &mut float);
        forget(&graph, at, &mut rounded);
        progress(at + 1);
    }
    Ok(())
}

impl Watch {
    fn along(axis: Option<usize>) -> Self {
        Self {
            axis,
            sums: Sums::default(),
        }
    }
}

fn difference(float: &Sums, rounded: &Sums) -> Vec<f32> {
    let pairs = float.sums.iter().zip(&rounded.sums);
    pairs
        .map(|(f, q)| ((f - q) / rounded.count.max(1) as f64) as f32)
        .collect()
}

/// Lets go of the values that no later node reads.
fn forget(graph: &crate::graph::Graph, at: usize, samples: &mut [Vec<Tensor>]) {
    let Some(node) = graph.nodes.get(at) else {
        return;
    };
    for value in &node.inputs {
        let later = graph.nodes.iter().skip(at + 1);
        if later.into_iter().all(|node| !node.inputs.contains(value)) {
            for values in &mut *samples {
                values[value.0] = Tensor::default();
            }
        }
    }
}

/// The corrected bias of a node, where it was corrected.
pub(crate) fn corrected(
    corrections: &BTreeMap<NodeId, Vec<f32>>,
    node: NodeId,
    bias: Option<&[f32]>,
) -> Option<Vec<f32>> {
    let correction = corrections.get(&node)?;
    Some(match bias {
        Some(bias) => bias.iter().zip(correction).map(|(b, c)| b + c).collect(),
        None => correction.clone(),
    })
}
