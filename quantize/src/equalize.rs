//! Cross-layer equalization: two layers that follow each other share out the ranges of their weights, channel by
//! channel, so that one scale for all of a weight loses less (Nagel et al., *Data-Free Quantization Through Weight
//! Equalization and Bias Correction*, 2019).

use qconfig_core::kernel::Activation;

use crate::graph::{Graph, Node, Op};
use crate::tensor::Tensor;

/// Rounds over all pairs: a layer in the middle belongs to two.
const ROUNDS: usize = 16;
/// The greatest power of two that a channel is multiplied with.
const MOST: i32 = 32;

/// Scales channel `c` of a layer by `1 / s` and the weights that read it by `s`, where both are convolutions or both
/// linear layers, nothing but a ReLU stands between them and nothing else reads that. `s` is the power of two nearest
/// to `sqrt(range of the first / range of the second)`: multiplying with it is exact, so that the float outputs stay
/// the same to the bit as long as no value is subnormal. A ReLU6 or another clamp keeps a pair apart: its bounds
/// would have to be those of each channel.
///
/// Returns the graph and how many pairs were changed.
///
/// ```
/// use qconfig_quantize::{GraphBuilder, Op, Tensor, equalize};
/// let mut graph = GraphBuilder::new();
/// let x = graph.input("x", &[1, 1]).unwrap();
/// let wide = Tensor::new(vec![2, 1], vec![64.0, 0.25]).unwrap();
/// let x = graph.linear("a", x, wide, None).unwrap();
/// let narrow = Tensor::new(vec![1, 2], vec![1.0, 4.0]).unwrap();
/// let x = graph.linear("b", x, narrow, None).unwrap();
/// let (graph, pairs) = equalize(&graph.finish(&[x]).unwrap());
/// assert_eq!(pairs, 1);
/// let Op::Linear(a) = &graph.nodes()[0].op else { panic!() };
/// assert_eq!(a.weight.data(), [8.0, 1.0]);
/// ```
pub fn equalize(graph: &Graph) -> (Graph, usize) {
    let mut graph = graph.clone();
    let pairs: Vec<(usize, usize)> = (0..graph.nodes.len())
        .filter_map(|first| Some((first, behind(&graph, first)?)))
        .collect();
    let mut changed = vec![false; pairs.len()];
    for _ in 0..ROUNDS {
        let mut is_done = true;
        for ((first, second), changed) in pairs.iter().zip(&mut changed) {
            if balance(&mut graph, *first, *second) {
                (*changed, is_done) = (true, false);
            }
        }
        if is_done {
            break;
        }
    }
    let count = changed.into_iter().filter(|changed| *changed).count();
    (graph, count)
}

/// A layer's weight and the groups of its input channels.
fn layer(node: &Node) -> Option<(&Tensor, usize)> {
    match &node.op {
        Op::Conv(conv) => Some((&conv.weight, conv.groups)),
        Op::Linear(linear) => Some((&linear.weight, 1)),
        _ => None,
    }
}

/// The layer that alone reads what the one at a position makes, a ReLU between them at most.
fn behind(graph: &Graph, first: usize) -> Option<usize> {
    let node = &graph.nodes[first];
    let (weight, _) = layer(node)?;
    let is_relu = |activation| matches!(activation, Activation::None | Activation::Relu);
    if !is_relu(node.activation) {
        return None;
    }
    let mut value = node.output;
    loop {
        let at = graph.only_reader(value)?;
        let next = &graph.nodes[at];
        if next.inputs.as_slice() != [value] {
            return None;
        }
        if next.op == Op::Relu {
            value = next.output;
            continue;
        }
        let (read, groups) = layer(next)?;
        let is_alike = matches!(
            (&node.op, &next.op),
            (Op::Conv(_), Op::Conv(_)) | (Op::Linear(_), Op::Linear(_))
        );
        let channels = read.shape().get(1)?.checked_mul(groups)?;
        return (is_alike && weight.shape().first() == Some(&channels)).then_some(at);
    }
}

/// Where the weights lie that read a channel: for each output of its group a run of them.
fn readers(
    weight: &Tensor,
    groups: usize,
    channel: usize,
) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
    let (outputs, inputs) = (weight.shape()[0], weight.shape()[1]);
    let taps: usize = weight.shape()[2..].iter().product();
    let (group, each) = (channel / inputs, outputs / groups);
    (group * each..(group + 1) * each).map(move |output| {
        let start = (output * inputs + channel % inputs) * taps;
        start..start + taps
    })
}

fn range(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |most, x| most.max(x.abs()))
}

/// The `e` with `2^e` nearest to the square root of a positive number, on the scale of its logarithm.
fn half_exponent(ratio: f64) -> i32 {
    // floor((log2(ratio) + 1) / 2), the logarithm's whole part from the bits
    let exponent = ((2.0 * ratio).to_bits() >> 52 & 0x7FF) as i32 - 1023;
    exponent.div_euclid(2)
}

/// Shares out the ranges of a pair; whether anything changed.
fn balance(graph: &mut Graph, first: usize, second: usize) -> bool {
    let (Some((a, _)), Some((b, groups))) =
        (layer(&graph.nodes[first]), layer(&graph.nodes[second]))
    else {
        return false;
    };
    let channels = a.shape()[0];
    let row = a.data().len() / channels;
    let exponents: Vec<i32> = (0..channels)
        .map(|channel| {
            let from = range(&a.data()[channel * row..][..row]);
            let runs = readers(b, groups, channel).map(|run| range(&b.data()[run]));
            let to = runs.fold(0f32, f32::max);
            let ratio = f64::from(from) / f64::from(to);
            match from.is_normal() && to.is_normal() && ratio.is_finite() {
                true => half_exponent(ratio).clamp(-MOST, MOST),
                // nothing to share
                false => 0,
            }
        })
        .collect();
    if exponents.iter().all(|e| *e == 0) {
        return false;
    }
    let places: Vec<Vec<_>> = (0..channels)
        .map(|channel| readers(b, groups, channel).collect())
        .collect();
    let power = |e: i32| f32::from_bits(((127 + e) as u32) << 23);
    let scale = |values: &mut [f32], e: i32| values.iter_mut().for_each(|x| *x *= power(e));
    let (weight, bias) = match &mut graph.nodes[first].op {
        Op::Conv(conv) => (&mut conv.weight, &mut conv.bias),
        Op::Linear(linear) => (&mut linear.weight, &mut linear.bias),
        _ => return false,
    };
    let rows = weight.data_mut().chunks_mut(row.max(1));
    for (row, e) in rows.zip(&exponents) {
        scale(row, -e);
    }
    for (b, e) in bias.iter_mut().flatten().zip(&exponents) {
        *b *= power(-e);
    }
    let weight = match &mut graph.nodes[second].op {
        Op::Conv(conv) => &mut conv.weight,
        Op::Linear(linear) => &mut linear.weight,
        _ => return false,
    };
    for (runs, e) in places.into_iter().zip(&exponents) {
        for run in runs {
            scale(&mut weight.data_mut()[run], *e);
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_power_is_the_nearest() {
        for (ratio, e) in [
            (1.0, 0),
            (1.9, 0),
            (2.1, 1),
            (0.51, 0),
            (0.49, -1),
            (256.0, 4),
        ] {
            assert_eq!(half_exponent(ratio), e, "{ratio}");
        }
    }
}
