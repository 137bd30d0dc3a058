//! What each layer alone costs: the error in the model's outputs when only that layer is quantized.

use crate::convert::ReferenceModel;
use crate::float::{InputError, Plain, Visitor, execute, step};
use crate::graph::{NodeId, ValueId};
use crate::prepare::Decision;
use crate::reference::Round;
use crate::report::Energy;
use crate::tensor::Tensor;

/// A quantized node, alone among float ones.
#[derive(Clone, PartialEq, Debug)]
pub struct Sensitivity {
    /// The node.
    pub node: String,
    /// The pattern matched.
    pub pattern: String,
    /// Signal to quantization noise of its own output, in decibels; infinite where nothing is lost.
    pub layer_db: f64,
    /// Signal to quantization noise of the model's outputs, in decibels.
    pub output_db: f64,
    /// Noise energy in the model's outputs over that of their signal.
    pub noise: f64,
}

/// Quantizes one node, and leaves the others float.
struct Only<'m> {
    node: NodeId,
    outputs: Vec<ValueId>,
    round: Round<'m>,
}

impl Visitor for Only<'_> {
    fn value(&mut self, id: ValueId, tensor: &mut Tensor) {
        if self.outputs.contains(&id) {
            self.round.value(id, tensor);
        }
    }

    fn computed(&mut self, node: NodeId, tensor: &mut Tensor) {
        if node == self.node {
            self.round.computed(node, tensor);
        }
    }

    fn weight(&self, node: NodeId, at: usize) -> Option<&Tensor> {
        (node == self.node)
            .then(|| self.round.weight(node, at))
            .flatten()
    }

    fn input(&self, node: NodeId, at: usize, tensor: &Tensor) -> Option<Tensor> {
        (node == self.node)
            .then(|| self.round.input(node, at, tensor))
            .flatten()
    }

    fn factor(&self, node: NodeId, values: &[f32]) -> Option<Vec<f32>> {
        (node == self.node)
            .then(|| self.round.factor(node, values))
            .flatten()
    }
}

/// Runs the samples once for each quantized node, with only that one quantized. `progress` is told after
/// each sample how many are done.
///
/// # Errors
/// [`InputError`] where a sample does not fit.
pub fn sensitivity(
    model: &ReferenceModel,
    samples: impl IntoIterator<Item: AsRef<[Tensor]>>,
    mut progress: impl FnMut(usize),
) -> Result<Vec<Sensitivity>, InputError> {
    let graph = model.graph();
    let weights = model.dequantized_weights();
    let quantized: Vec<(NodeId, String)> = graph
        .nodes
        .iter()
        .zip(&model.decisions)
        .enumerate()
        .filter_map(|(at, (node, decision))| match decision {
            Decision::Quantized(quantized) => {
                Some((NodeId(at), quantized.config.pattern.to_string()))
            }
            Decision::WeightOnly(_) => Some((NodeId(at), node.spelling.dsl.to_owned())),
            Decision::Float(_) => None,
        })
        .collect();
    let mut energies = vec![[Energy::default(); 2]; quantized.len()];
    for (done, inputs) in samples.into_iter().enumerate() {
        let float = execute(graph, inputs.as_ref(), &mut Plain)?;
        for ((id, _), [layer, output]) in quantized.iter().zip(&mut energies) {
            let outputs = graph.nodes[id.0].outputs().collect();
            let mut only = Only {
                node: *id,
                outputs,
                round: Round::new(model, &weights),
            };
            // nothing in front of it changes, and behind it only what depends on it
            let mut values = float.clone();
            step(graph, *id, &mut values, &mut only)?;
            let changed = graph.nodes[id.0].output;
            layer.add(&float[changed.0], &values[changed.0]);
            let mut dirty: Vec<ValueId> = graph.nodes[id.0].outputs().collect();
            for at in id.0 + 1..graph.nodes.len() {
                let node = &graph.nodes[at];
                if node.inputs.iter().any(|input| dirty.contains(input)) {
                    step(graph, NodeId(at), &mut values, &mut only)?;
                    dirty.extend(node.outputs());
                }
            }
            for id in graph.outputs() {
                output.add(&float[id.0], &values[id.0]);
            }
        }
        progress(done + 1);
    }
    Ok(quantized
        .into_iter()
        .zip(energies)
        .map(|((id, pattern), [layer, output])| Sensitivity {
            node: graph.nodes[id.0].name.clone(),
            pattern,
            layer_db: layer.db(),
            output_db: output.db(),
            noise: output.noise / output.signal,
        })
        .collect())
}

/// The layers to leave float, the most costly first, so that the noise of the others, taken as
/// independent, stays below a signal to noise ratio in decibels.
pub fn costly(layers: &[Sensitivity], target_db: f64) -> Vec<&Sensitivity> {
    let mut order: Vec<&Sensitivity> = layers.iter().collect();
    order.sort_by(|a, b| b.noise.total_cmp(&a.noise));
    let allowed = 10f64.powf(-target_db / 10.0);
    let mut left: f64 = order.iter().map(|layer| layer.noise).sum();
    let mut float = Vec::new();
    for layer in order {
        if left <= allowed {
            break;
        }
        left -= layer.noise;
        float.push(layer);
    }
    float
}

/// How often values fall into equal shares of their range.
#[derive(Clone, PartialEq, Debug)]
pub struct Histogram {
    /// The least and the greatest value.
    pub range: [f32; 2],
    /// Values in each share, the least ones first.
    pub counts: Vec<usize>,
}

impl Histogram {
    /// Of values, in so many shares; infinite values and NaN count for nothing.
    pub fn of(values: &[f32], shares: usize) -> Self {
        let finite = || values.iter().copied().filter(|x| x.is_finite());
        let low = finite().fold(f32::INFINITY, f32::min);
        let high = finite().fold(f32::NEG_INFINITY, f32::max);
        let mut counts = vec![0; shares.max(1)];
        let width = (high - low) / counts.len() as f32;
        for x in finite() {
            let at = if width > 0.0 {
                ((x - low) / width) as usize
            } else {
                0
            };
            let last = counts.len() - 1;
            counts[at.min(last)] += 1;
        }
        let range = if low <= high { [low, high] } else { [0.0; 2] };
        Self { range, counts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(node: &str, noise: f64) -> Sensitivity {
        Sensitivity {
            node: node.into(),
            pattern: String::new(),
            layer_db: 0.0,
            output_db: -10.0 * noise.log10(),
            noise,
        }
    }

    #[test]
    fn the_most_costly_layers_go_until_the_target_is_met() {
        let layers = [layer("a", 0.001), layer("b", 0.1), layer("c", 0.01)];
        let names = |target| {
            let found = costly(&layers, target);
            found
                .iter()
                .map(|layer| layer.node.as_str())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(5.0), [""; 0]);
        assert_eq!(names(15.0), ["b"]);
        assert_eq!(names(25.0), ["b", "c"]);
        assert_eq!(names(90.0), ["b", "c", "a"]);
    }

    #[test]
    fn histograms_count_every_finite_value() {
        let found = Histogram::of(&[0.0, 1.0, 0.5, 1.0, f32::NAN], 2);
        assert_eq!((found.range, found.counts), ([0.0, 1.0], vec![1, 3]));
        assert_eq!(Histogram::of(&[], 3).counts, [0, 0, 0]);
        assert_eq!(Histogram::of(&[2.0; 4], 3).counts, [4, 0, 0]);
    }
}
