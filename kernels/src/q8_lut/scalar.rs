//! A tensor and a number: torch changes the quantization parameters and keeps the bytes as far as it can
//! (`aten/src/ATen/native/quantized/cpu/BinaryOps.cpp`, `qmul.cpp`).

use qconfig_core::DType;
use qconfig_core::kernel::{QParams, Unary};

/// What an addition in quantized steps gives.
struct Sum {
    /// The number in steps of the input, rounded.
    steps: f64,
    scale: f64,
    zero_point: f64,
    /// Whether the input's scale is kept, so that only the zero point moves.
    is_shift: bool,
}

fn sum(other: f64, from: QParams, [low, high]: [f64; 2]) -> Sum {
    let scale = f64::from(from.scale);
    let steps = libm::rint(other / scale);
    let zero_point = f64::from(from.zero_point) - steps;
    let span = high - low;
    let (scale, zero_point) = if low > zero_point {
        ((high - zero_point) / span * scale, low)
    } else if high < zero_point {
        ((zero_point - low) / span * scale, high)
    } else {
        return Sum {
            steps,
            scale,
            zero_point,
            is_shift: true,
        };
    };
    Sum {
        steps,
        scale,
        zero_point,
        is_shift: false,
    }
}

fn range(dtype: DType) -> Option<[f64; 2]> {
    let (low, high) = dtype.quant_range()?;
    Some([low as f64, high as f64])
}

/// The parameters that torch gives `x + other` and `x * other`, so that (almost) nothing is lost; `None`
/// for other functions, and where the scale would be no positive normal number.
///
/// With `c = rne(other / scale)`, `x + other` keeps the scale and has the zero point
/// `zero_point - c`; where that is out of range it stops at the end and the scale grows. `x * other` has
/// the scale `|other| * scale`; a negative factor mirrors the bytes. A product with 0 has scale 1.
///
/// ```
/// use qconfig_core::DType::quint8;
/// use qconfig_core::kernel::{QParams, Unary};
/// let from = QParams { scale: 0.5, zero_point: 10 };
/// let to = qconfig_kernels::scalar_qparams(Unary::MulScalar { other: -2.0 }, quint8, from);
/// assert_eq!(to, Some(QParams { scale: 1.0, zero_point: 245 }));
/// ```
pub fn scalar_qparams(function: Unary, dtype: DType, from: QParams) -> Option<QParams> {
    let range @ [low, high] = range(dtype)?;
    let (scale, zero_point) = match function {
        Unary::AddScalar { other } => {
            let sum = sum(other, from, range);
            (sum.scale, sum.zero_point)
        }
        Unary::MulScalar { other } => {
            let zero_point = f64::from(from.zero_point);
            match other.partial_cmp(&0.0)? {
                core::cmp::Ordering::Equal => (1.0, 0.0),
                core::cmp::Ordering::Greater => (other * f64::from(from.scale), zero_point),
                core::cmp::Ordering::Less => {
                    (-other * f64::from(from.scale), high - (zero_point - low))
                }
            }
        }
        _ => return None,
    };
    let (scale, zero_point) = (scale as f32, zero_point as i32);
    (scale.is_normal() && scale > 0.0).then_some(QParams { scale, zero_point })
}

/// `x + other` of a quantized value (of the dtype itself, not as stored) into the parameters that
/// [`scalar_qparams`] gives: the sum in steps of the input, requantized where the scale grew.
pub(super) fn add_in_steps(q: i32, other: f64, dtype: DType, from: QParams) -> Option<i32> {
    let range @ [low, high] = range(dtype)?;
    let sum = sum(other, from, range);
    let steps = f64::from(q - from.zero_point) + sum.steps;
    let steps = if sum.is_shift {
        steps
    } else {
        let multiplier = from.scale * (1.0 / sum.scale as f32);
        f64::from(libm::rintf(multiplier * steps as f32))
    };
    let q = steps + sum.zero_point;
    Some(q.clamp(low, high) as i32)
}
