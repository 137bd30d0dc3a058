//! Weights of 4 or 8 bits in layers that stay `float32`: nothing is calibrated, only the weights are rounded.

use std::collections::BTreeMap;
use std::fmt;

use qconfig_core::kernel::{WeightData, WeightSpec};
use qconfig_core::{BackendConfig, DType};

use crate::convert::ReferenceModel;
use crate::fuse::fuse;
use crate::graph::{Graph, NodeId, Op};
use crate::prepare::{Decision, FloatReason};
use crate::tensor::Tensor;

/// How weights are rounded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WeightOnly {
    /// 4 or 8.
    pub bits: u32,
    /// Values that share a scale: 16, 32, 64, 128 or 256 along a row, the last of a row perhaps fewer; `None` for
    /// all of a row.
    pub block: Option<usize>,
    /// Whether each block has a zero point of its own, else it is in the middle.
    pub zero_points: bool,
}

impl WeightOnly {
    /// 8 bits, a scale for each output.
    pub const EIGHT_BITS: Self = Self {
        bits: 8,
        block: None,
        zero_points: false,
    };
    /// 4 bits in blocks of 32.
    pub const FOUR_BITS: Self = Self {
        bits: 4,
        block: Some(32),
        zero_points: false,
    };

    /// What a plan calls it.
    pub(crate) fn name(&self) -> &'static str {
        match self.bits {
            4 => "weight_only_4bit",
            _ => "weight_only_8bit",
        }
    }
}

impl fmt::Display for WeightOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "weight only, {} bits", self.bits)?;
        match self.block {
            Some(block) => write!(f, " in blocks of {block}")?,
            None => f.write_str(" per channel")?,
        }
        f.write_str(if self.zero_points {
            ", zero points"
        } else {
            ""
        })
    }
}

/// A matrix of 4 or 8 bits, a scale and a zero point for each block of a row: `(q - zero_point) scale`.
#[derive(Clone, PartialEq, Debug)]
pub struct BlockWeight {
    how: WeightOnly,
    shape: [usize; 2],
    data: Vec<u8>,
    scales: Vec<f32>,
    zero_points: Vec<i32>,
}

impl BlockWeight {
    /// Integers of `[O, K]`, one a byte, with `[O, ceil(K / block)]` scales and zero points; `None` where counts do not
    /// fit, a number is outside the bits or not finite, or blocks are of another size than [`WeightOnly::block`] says.
    pub fn new(
        how: WeightOnly,
        shape: [usize; 2],
        data: Vec<u8>,
        scales: Vec<f32>,
        zero_points: Vec<i32>,
    ) -> Option<Self> {
        let [rows, k] = shape;
        let levels = match how.bits {
            4 => 16,
            8 => 256,
            _ => return None,
        };
        let is_block = |block: &usize| block.is_power_of_two() && (16..=256).contains(block);
        let blocks = match how.block {
            Some(block) => k.div_ceil(Some(block).filter(is_block)?),
            None => 1,
        };
        let fits = k > 0
            && rows.checked_mul(k) == Some(data.len())
            && rows.checked_mul(blocks) == Some(scales.len())
            && scales.len() == zero_points.len()
            && data.iter().all(|q| i32::from(*q) < levels)
            && zero_points.iter().all(|zp| (0..levels).contains(zp))
            && scales.iter().all(|scale| scale.is_finite());
        fits.then_some(Self {
            how,
            shape,
            data,
            scales,
            zero_points,
        })
    }

    /// Rounds a matrix `[O, K]` to nearest.
    ///
    /// Symmetric blocks of 4 bits give the value furthest from 0 the lowest level, whatever its sign, so that the
    /// scale may be negative, as ONNX Runtime's MatMulNBits quantizer does; those of 8 bits have 127 levels on both
    /// sides. With zero points the levels are spread from the least to the greatest value, 0 among them.
    pub fn round(weight: &Tensor, how: WeightOnly) -> Option<Self> {
        let &[rows, k] = weight.shape() else {
            return None;
        };
        let block = how.block.unwrap_or(k).max(1);
        let (mut data, mut scales, mut zero_points) = (Vec::new(), Vec::new(), Vec::new());
        let middle = 1i32 << how.bits.checked_sub(1)?.min(7);
        let most = 2 * middle - 1;
        for values in weight
            .data()
            .chunks(k.max(1))
            .flat_map(|row| row.chunks(block))
        {
            let least = values.iter().copied().fold(0f32, f32::min);
            let greatest = values.iter().copied().fold(0f32, f32::max);
            let furthest = if greatest > -least { greatest } else { least };
            let scale = match (how.zero_points, how.bits) {
                (true, _) => (greatest - least) / most as f32,
                (false, 4) => furthest / -(middle as f32),
                (false, _) => furthest.abs() / (middle - 1) as f32,
            };
            // nothing but zeros, or values so small that they are
            let scale = if scale.is_normal() { scale } else { 1.0 };
            let zero_point = match how.zero_points {
                true => ((-least / scale).round_ties_even() as i32).clamp(0, most),
                false => middle,
            };
            let level = |w: &f32| {
                let q = (w / scale).round_ties_even() as i32;
                q.saturating_add(zero_point).clamp(0, most) as u8
            };
            data.extend(values.iter().map(level));
            scales.push(scale);
            zero_points.push(zero_point);
        }
        Self::new(how, [rows, k], data, scales, zero_points)
    }

    /// How it is stored.
    pub fn how(&self) -> WeightOnly {
        self.how
    }

    /// Values of a block.
    pub(crate) fn block(&self) -> usize {
        self.how.block.unwrap_or(self.shape[1])
    }

    /// The float values that the integers stand for: `f32(q - zero_point) * scale`.
    pub fn dequantize(&self) -> Tensor {
        let mut out = Tensor::zeros(&self.shape);
        let (k, block) = (self.shape[1], self.block());
        let blocks = k.div_ceil(block);
        for (at, (x, q)) in out.data_mut().iter_mut().zip(&self.data).enumerate() {
            let at = at / k * blocks + at % k / block;
            *x = (i32::from(*q) - self.zero_points[at]) as f32 * self.scales[at];
        }
        out
    }

    /// As kernels take it.
    pub(crate) fn spec(&self) -> WeightSpec<'_> {
        WeightSpec {
            dtype: match self.how.bits {
                4 => DType::quint4x2,
                _ => DType::quint8,
            },
            shape: &self.shape,
            data: WeightData::U8(&self.data),
            scales: &self.scales,
            zero_points: &self.zero_points,
        }
    }
}

/// Rounds the weights of linear layers whose names are not to stay `float`; all else stays as it is. `backend` says
/// what is fused.
///
/// ```
/// use qconfig_quantize::{Graph, GraphBuilder, Linear, Tensor, WeightOnly, lower, weight_only};
/// # use qconfig_core::{BackendConfig, PatternIndex};
/// # const NONE: BackendConfig =
/// #     BackendConfig { name: "none", configs: &[], index: PatternIndex::new(&[]), kernels: &[] };
/// let mut graph = GraphBuilder::new();
/// let x = graph.input("x", &[1, 64]).unwrap();
/// let weight = Tensor::new(vec![8, 64], (0..512).map(|x| x as f32 - 256.0).collect()).unwrap();
/// let y = graph.linear("fc", x, weight, None).unwrap();
/// let graph = graph.finish(&[y]).unwrap();
/// let model = weight_only(&graph, &NONE, WeightOnly::FOUR_BITS, |_| false);
/// assert_eq!(lower(&model).unwrap().plan.steps()[0].kernel().name, "weight_only_linear");
/// ```
pub fn weight_only(
    graph: &Graph,
    backend: &'static BackendConfig,
    how: WeightOnly,
    float: impl Fn(&str) -> bool,
) -> ReferenceModel {
    let graph = fuse(graph, backend);
    let mut model = ReferenceModel::float(&graph);
    let mut blocks = BTreeMap::new();
    for (at, (node, decision)) in (graph.nodes.iter().zip(&mut model.decisions)).enumerate() {
        let Op::Linear(linear) = &node.op else {
            *decision = Decision::Float(FloatReason::NotRounded);
            continue;
        };
        if float(&node.name) {
            continue;
        }
        match BlockWeight::round(&linear.weight, how) {
            Some(weight) => {
                *decision = Decision::WeightOnly(how);
                blocks.insert(NodeId(at), weight);
            }
            None => *decision = Decision::Float(FloatReason::NotRounded),
        }
    }
    model.blocks = blocks;
    model
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn error(how: WeightOnly) -> f32 {
        let values: Vec<f32> = (0..3 * 70)
            .map(|x| (x as f32 * 0.37).sin() * 0.4 + 0.1)
            .collect();
        let weight = Tensor::new(vec![3, 70], values).unwrap();
        let rounded = BlockWeight::round(&weight, how).unwrap().dequantize();
        let pairs = weight.data().iter().zip(rounded.data());
        pairs.fold(0f32, |most, (a, b)| most.max((a - b).abs()))
    }

    #[test]
    fn values_are_within_half_a_step() {
        // the range is -0.3 to 0.5
        assert!(error(WeightOnly::EIGHT_BITS) <= 0.5 * 0.5 / 127.0 * 1.01);
        let zero_points = WeightOnly {
            zero_points: true,
            ..WeightOnly::EIGHT_BITS
        };
        assert!(error(zero_points) <= 0.5 * 0.8 / 255.0 * 1.01);
        // what lies beyond seven steps on the other side is cut: 0.5 / 8 a step
        assert!(error(WeightOnly::FOUR_BITS) <= 0.5 * 0.5 / 8.0 * 1.01);
        let zero_points = WeightOnly {
            zero_points: true,
            ..WeightOnly::FOUR_BITS
        };
        assert!(error(zero_points) <= 0.5 * 0.8 / 15.0 * 1.01);
    }

    #[test]
    fn zeros_stay_and_misfits_are_none() {
        let zeros = Tensor::zeros(&[2, 40]);
        for how in [WeightOnly::FOUR_BITS, WeightOnly::EIGHT_BITS] {
            assert_eq!(BlockWeight::round(&zeros, how).unwrap().dequantize(), zeros);
        }
        let how = WeightOnly {
            block: Some(24),
            ..WeightOnly::FOUR_BITS
        };
        assert_eq!(BlockWeight::round(&zeros, how), None);
        let new = |data, zero_point| {
            BlockWeight::new(
                WeightOnly::FOUR_BITS,
                [1, 2],
                data,
                vec![1.0],
                vec![zero_point],
            )
        };
        assert!(new(vec![0, 15], 8).is_some());
        assert!(new(vec![0, 16], 8).is_none() && new(vec![0, 15], 16).is_none());
        assert!(new(vec![0], 8).is_none());
    }
}
