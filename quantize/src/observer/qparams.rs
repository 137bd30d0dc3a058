//! Scale and zero point from a range (`UniformQuantizationObserverBase._calculate_qparams`).

use qconfig_core::kernel::QParams;
use qconfig_core::{DType, ObserverSpec};

/// One pair, or one for each channel.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ChannelQParams {
    /// Positive and finite.
    pub scales: Vec<f32>,
    /// As many as `scales`.
    pub zero_points: Vec<i32>,
}

/// Scale and zero point of an observer that saw `min..=max`, in torch's order of `f32` operations;
/// `None` where the observer computes none.
pub fn from_range(spec: &ObserverSpec, min: f32, max: f32) -> Option<QParams> {
    let (quant_min, quant_max) = spec.quant_range()?;
    let eps = spec.eps? as f32;
    let (neg, pos) = (min.min(0.0), max.max(0.0));
    if spec.qscheme.is_symmetric() {
        let half = ((quant_max - quant_min) as f64 / 2.0) as f32;
        let scale = ((-neg).max(pos) / half).max(eps);
        let customized = spec.quant_min.is_some();
        let zero_point = match spec.dtype {
            DType::quint8 | DType::uint8 if customized => (quant_min + quant_max).div_euclid(2),
            DType::quint8 | DType::uint8 => 128,
            _ => 0,
        };
        Some(QParams {
            scale,
            zero_point: zero_point as i32,
        })
    } else {
        let scale = ((pos - neg) / (quant_max - quant_min) as f32).max(eps);
        let zero_point = quant_min - (neg / scale).round_ties_even() as i64;
        Some(QParams {
            scale,
            zero_point: zero_point.clamp(quant_min, quant_max) as i32,
        })
    }
}

/// Scale and zero point of a row of a table that holds `min..=max`
/// (`per_channel_affine_float_qparams`): the zero point is a float, so that `min` is hit; a row without a
/// range has scale 1. `None` where the observer computes none.
pub fn float_from_range(spec: &ObserverSpec, min: f32, max: f32) -> Option<(f32, f32)> {
    let (quant_min, quant_max) = spec.quant_range()?;
    let eps = spec.eps? as f32;
    let scale = (max - min) / (quant_max - quant_min) as f32;
    let scale = if scale > eps { scale } else { 1.0 };
    Some((scale, -min / scale))
}
