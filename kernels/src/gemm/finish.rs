//! What follows the exact sum.

use crate::affine::round_ties_even;

/// The last step of a product, with what is the same for every column.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Finish {
    /// `clamp(rne(f32(acc) * scale[c]) + zero_point, low, high)`: a `u8`. Where the columns have biases,
    /// `f32(acc) + bias[c]` is multiplied.
    Requantize {
        /// Of the output.
        zero_point: u8,
        /// Lower bound.
        low: u8,
        /// Upper bound.
        high: u8,
    },
    /// `clamp(f32(acc) * (scale * scale[c]) + bias[c], low, high)` in three roundings: an `f32`.
    Dequantize {
        /// Scale of the input.
        scale: f32,
        /// Zero point of the input.
        zero_point: u8,
        /// Lower bound.
        low: f32,
        /// Upper bound.
        high: f32,
        /// Whether product and sum are one rounding (a fused multiply-add), as FBGEMM has it.
        is_fused: bool,
    },
}

impl Finish {
    /// Bytes of an output element.
    pub(crate) const fn element(self) -> usize {
        match self {
            Finish::Requantize { .. } => 1,
            Finish::Dequantize { .. } => 4,
        }
    }

    /// What a column's first term is multiplied with.
    pub(crate) const fn factor(self) -> i32 {
        match self {
            Finish::Requantize { .. } => 1,
            Finish::Dequantize { zero_point, .. } => zero_point as i32,
        }
    }
}

/// `clamp(rne(x * scale) + zero_point, low, high)` of a sum `x`.
///
/// The product is bounded above before it is converted, as a conversion out of range gives the least
/// integer on x86; below, that is the right answer.
pub(crate) fn requantize(x: f32, scale: f32, zero_point: u8, low: u8, high: u8) -> u8 {
    let zero_point = i32::from(zero_point);
    let scaled = (x * scale).min(ceiling(zero_point as u8));
    let rounded = round_ties_even(scaled) as i32;
    rounded
        .saturating_add(zero_point)
        .clamp(0, 255)
        // not `clamp`, which panics where a damaged blob has the bounds crossed
        .max(i32::from(low))
        .min(i32::from(high)) as u8
}

/// The largest result worth converting.
pub(crate) fn ceiling(zero_point: u8) -> f32 {
    255.0 - f32::from(zero_point)
}

/// `low` or `high` where `x` is beyond; NaN stays.
pub(crate) fn clamp(x: f32, low: f32, high: f32) -> f32 {
    let x = if low > x { low } else { x };
    if high < x { high } else { x }
}
