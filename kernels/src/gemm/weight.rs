//! Quantized weights as they come in.

use qconfig_core::DType;
use qconfig_core::kernel::{NodeSpec, Refusal, WeightData};

use super::geometry::{Geometry, MAX_K};

/// A checked `qint8` weight and its bias.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weight<'a> {
    data: &'a [i8],
    scales: &'a [f32],
    zero_points: &'a [i32],
    bias: Option<&'a [f32]>,
}

/// What the sum of one output channel can be, apart from the bias.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reach {
    /// Sum of `w - zero_point` over those above zero.
    pub(crate) positive: i64,
    /// Over those below.
    pub(crate) negative: i64,
}

impl<'a> Weight<'a> {
    /// The node's weight, if it fits the geometry.
    pub(crate) fn new(node: &NodeSpec<'a>, geometry: &Geometry) -> Result<Weight<'a>, Refusal> {
        let Some(weight) = node.weight else {
            return Err(Refusal::Shape("the node has no weight"));
        };
        let WeightData::I8(data) = weight.data else {
            return Err(Refusal::DType {
                place: "weight",
                dtype: weight.dtype,
            });
        };
        if weight.dtype != DType::qint8 {
            return Err(Refusal::DType {
                place: "weight",
                dtype: weight.dtype,
            });
        }
        let outputs = geometry.out_channels;
        if outputs.checked_mul(geometry.k) != Some(data.len()) {
            return Err(Refusal::Shape(
                "the weight has not as many values as its shape",
            ));
        }
        let (scales, zero_points) = (weight.scales, weight.zero_points);
        if !(scales.len() == 1 || scales.len() == outputs) || zero_points.len() != scales.len() {
            return Err(Refusal::Shape(
                "weight scales are neither one nor one for each output",
            ));
        }
        if let Some(scale) = scales.iter().find(|s| !(s.is_normal() && **s > 0.0)) {
            return Err(scale_refusal("weight scale", *scale));
        }
        if let Some(zp) = zero_points.iter().find(|zp| i8::try_from(**zp).is_err()) {
            return Err(Refusal::ZeroPoint(*zp));
        }
        // differences reach 255 either way where there are zero points, 128 where there are none
        let asymmetric = zero_points.iter().any(|zp| *zp != 0);
        let max = if asymmetric {
            i32::MAX as usize / (255 * 255)
        } else {
            MAX_K
        };
        if geometry.k > max {
            return Err(Refusal::Accumulator { k: geometry.k, max });
        }
        if let Some(bias) = node.bias {
            if bias.len() != outputs {
                return Err(Refusal::Shape("the bias has not one value for each output"));
            }
            if !bias.iter().all(|b| b.is_finite()) {
                return Err(Refusal::NotFinite("bias"));
            }
        }
        Ok(Weight {
            data,
            scales,
            zero_points,
            bias: node.bias,
        })
    }

    /// Whether a zero point is not 0.
    pub(crate) fn is_asymmetric(&self) -> bool {
        self.zero_points.iter().any(|zp| *zp != 0)
    }

    /// The values of `count` channels from `first` on, with `k` each.
    pub(crate) fn channels(&self, first: usize, count: usize, k: usize) -> &'a [i8] {
        &self.data[first * k..(first + count) * k]
    }

    /// A channel's scale.
    pub(crate) fn scale(&self, channel: usize) -> f32 {
        self.scales[channel.min(self.scales.len() - 1)]
    }

    /// A channel's zero point.
    pub(crate) fn zero_point(&self, channel: usize) -> i32 {
        self.zero_points[channel.min(self.zero_points.len() - 1)]
    }

    /// A channel's bias.
    pub(crate) fn bias(&self, channel: usize) -> f32 {
        self.bias.map_or(0.0, |bias| bias[channel])
    }

    /// A channel's bias in steps of its sum, not rounded to whole ones, as FBGEMM: `bias / (sa * sw)` where
    /// each channel has a scale, `bias * f32(1.0 / (sa * sw))` where there is one for all.
    pub(crate) fn float_bias(&self, channel: usize, input: f32) -> Result<f32, Refusal> {
        let product = input * self.scale(channel);
        if !(product.is_normal() && product > 0.0) {
            return Err(scale_refusal("weight scale * input scale", product));
        }
        let bias = self.bias(channel);
        Ok(if self.scales.len() == 1 {
            bias * (1.0 / f64::from(product)) as f32
        } else {
            bias / product
        })
    }

    /// A channel's reach.
    pub(crate) fn reach(&self, channel: usize, k: usize) -> Reach {
        let zero_point = i64::from(self.zero_point(channel));
        let mut reach = Reach {
            positive: 0,
            negative: 0,
        };
        for w in self.channels(channel, 1, k) {
            let w = i64::from(*w) - zero_point;
            *(if w > 0 {
                &mut reach.positive
            } else {
                &mut reach.negative
            }) += w;
        }
        reach
    }
}

/// A scale that is not a positive normal number.
pub(crate) fn scale_refusal(what: &'static str, value: f32) -> Refusal {
    Refusal::Scale {
        what,
        value,
        low: f32::MIN_POSITIVE,
        high: f32::INFINITY,
    }
}
