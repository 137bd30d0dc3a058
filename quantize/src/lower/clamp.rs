//! Clamps taken into the step that makes what they clamp: the bytes stay the same, a pass over them is saved;
//! so do floats.
//!
//! Quantizing is monotone, so that clamping a byte twice is clamping it once to what both bounds leave, and
//! bounds may be put together before they are quantized.

use qconfig_core::DType;
use qconfig_core::kernel::{Activation, QParams};

use super::Lowering;
use super::op::own_activation;
use super::way::Way;
use crate::graph::{Node, NodeId, ValueId};

/// Clamps that follow each other behind a node, and what they leave together.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Clamps {
    pub(super) nodes: Vec<NodeId>,
    /// The node's own activation and all of them.
    pub(super) activation: Activation,
    /// The node's pattern and theirs.
    pub(super) pattern: String,
    /// The value behind the last one.
    pub(super) output: ValueId,
}

impl Lowering<'_> {
    /// The clamps that nothing but each other stands between behind a node, whose output they neither give
    /// another type nor other parameters.
    pub(super) fn clamps(
        &self,
        node: &Node,
        way: Way<'_>,
        typed: (DType, Option<QParams>),
    ) -> Clamps {
        let mut clamps = Clamps {
            nodes: Vec::new(),
            activation: own_activation(node),
            pattern: way.pattern(node),
            output: node.output,
        };
        let graph = &self.model.graph;
        while let Some(at) = graph.only_reader(clamps.output) {
            let (Some(node), Some(decision)) = (graph.nodes.get(at), self.model.decisions.get(at))
            else {
                break;
            };
            let next = Way::from(decision);
            let Some(activation) = node.op.as_activation() else {
                break;
            };
            let before = self.typed(clamps.output, next.input(), next);
            let behind = self.typed(node.output, next.output(), next);
            let is_alike = (way.is_float() && next.is_float()) || typed.1.is_some();
            if !is_alike || [before, behind] != [Ok(typed), Ok(typed)] {
                break;
            }
            clamps.nodes.push(NodeId(at));
            clamps.activation = together(clamps.activation, activation);
            clamps.pattern = format!("{} + {}", clamps.pattern, next.pattern(node));
            clamps.output = node.output;
        }
        clamps
    }
}

/// One activation, then another.
fn together(first: Activation, second: Activation) -> Activation {
    let ((low, high), (least, most)) = (bounds(first), bounds(second));
    // apart from each other, all values become the nearer bound of the second
    let inside = |bound: f32| bound.max(least).min(most);
    match (inside(low), inside(high)) {
        (f32::NEG_INFINITY, f32::INFINITY) => Activation::None,
        (0.0, f32::INFINITY) => Activation::Relu,
        (low, high) => Activation::Clamp { low, high },
    }
}

fn bounds(activation: Activation) -> (f32, f32) {
    match activation {
        Activation::None => (f32::NEG_INFINITY, f32::INFINITY),
        Activation::Relu => (0.0, f32::INFINITY),
        Activation::Clamp { low, high } => (low, high),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_are_put_together() {
        let clamp = |low, high| Activation::Clamp { low, high };
        for (first, second, expected) in [
            (Activation::None, clamp(0.0, 6.0), clamp(0.0, 6.0)),
            (Activation::None, Activation::Relu, Activation::Relu),
            (Activation::Relu, clamp(-1.0, 1.0), clamp(0.0, 1.0)),
            (clamp(-1.0, 1.0), Activation::Relu, clamp(0.0, 1.0)),
            (
                clamp(0.0, f32::INFINITY),
                Activation::Relu,
                Activation::Relu,
            ),
            // nothing in common: what is below becomes the lower bound, what is above the upper one
            (clamp(-3.0, -2.0), clamp(1.0, 2.0), clamp(1.0, 1.0)),
            (clamp(3.0, 4.0), clamp(1.0, 2.0), clamp(2.0, 2.0)),
            (Activation::Relu, clamp(-2.0, -1.0), clamp(-1.0, -1.0)),
        ] {
            assert_eq!(together(first, second), expected, "{first:?}, {second:?}");
        }
    }
}
