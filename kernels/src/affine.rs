//! Affine quantization: the arithmetic that every family shares.

use qconfig_core::kernel::{Activation, Refusal, TensorSpec};
use qconfig_core::{DType, kernel::QParams};

/// Whose rounding of factors and biases.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Numerics {
    /// PyTorch's engine qnnpack: the bias is rounded to steps of the sum, factors are multiplied by the
    /// reciprocal of the output's scale.
    Qnnpack,
    /// PyTorch's engines fbgemm, x86 and onednn: the bias is a float, added to the sum, and factors are
    /// divided by the output's scale.
    Fbgemm,
}

/// Scale and zero point of a tensor as it is stored: always `u8`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Stored {
    /// Positive, finite.
    pub(crate) scale: f32,
    /// In `0..=255`: the dtype's zero point, plus 128 for `qint8`.
    pub(crate) zero_point: i32,
}

/// The stored form of a `quint8` or `qint8` tensor.
pub(crate) fn stored(place: &'static str, tensor: &TensorSpec<'_>) -> Result<Stored, Refusal> {
    let flip = match tensor.dtype {
        DType::quint8 => 0,
        DType::qint8 => 128,
        dtype => return Err(Refusal::DType { place, dtype }),
    };
    let Some(QParams { scale, zero_point }) = tensor.qparams else {
        return Err(Refusal::DType {
            place,
            dtype: tensor.dtype,
        });
    };
    if !(scale.is_normal() && scale > 0.0) {
        return Err(Refusal::Scale {
            what: "scale",
            value: scale,
            low: f32::MIN_POSITIVE,
            high: f32::INFINITY,
        });
    }
    match zero_point.checked_add(flip) {
        Some(zp @ 0..=255) => Ok(Stored {
            scale,
            zero_point: zp,
        }),
        _ => Err(Refusal::ZeroPoint(zero_point)),
    }
}

/// From a sum in units of `product` to one in units of `scale`: times the reciprocal as torch has it, or
/// divided as ONNX Runtime has it.
pub(crate) fn factor(product: f32, scale: f32, divide: bool) -> f32 {
    if divide {
        product / scale
    } else {
        product * (1.0 / scale)
    }
}

/// `clamp(rne(x * (1 / scale)) + zero_point, 0, 255)`, as torch's `quantize_per_tensor`: it multiplies
/// by the reciprocal (FBGEMM, `Quantize<T>`); NaN becomes the zero point.
pub(crate) fn quantize(x: f32, to: Stored) -> u8 {
    let scaled = x * (1.0 / to.scale);
    if scaled.is_nan() {
        return to.zero_point as u8;
    }
    // beyond this the conversion would saturate anyway; torch clips at the same value
    let rounded = round_ties_even(scaled.clamp(-2_147_483_520.0, 2_147_483_520.0)) as i64;
    (rounded + i64::from(to.zero_point)).clamp(0, 255) as u8
}

/// Rounds to the nearest integer, ties to even (`f32::round_ties_even` is not in `core`).
pub(crate) fn round_ties_even(x: f32) -> f32 {
    // from 2^23 on every f32 is an integer
    const INTEGRAL: f32 = 8_388_608.0;
    if x.abs() < INTEGRAL {
        let magic = if x.is_sign_negative() {
            -INTEGRAL
        } else {
            INTEGRAL
        };
        (x + magic) - magic
    } else {
        x
    }
}

/// The stored bounds that an activation leaves: `(qmin, qmax)`.
///
/// torch quantizes the bounds and clamps there: relu is `qmin = zero_point`. Where they cross, the upper one
/// wins.
pub(crate) fn bounds(activation: Activation, to: Stored) -> (u8, u8) {
    match activation {
        Activation::None => (0, 255),
        Activation::Relu => (to.zero_point as u8, 255),
        Activation::Clamp { low, high } => {
            let high = quantize(high, to);
            (quantize(low, to).min(high), high)
        }
    }
}
