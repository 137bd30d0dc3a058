use super::{Fixed, Form, Params};
use crate::affine::{Stored, quantize};
use crate::dequantize::real;

impl Fixed {
    /// Exact for what `pack` writes; wraps for a blob that was made up.
    fn sum(&self, a: u8, b: u8) -> i32 {
        let (a, b) = (self.a * u32::from(a), self.b * u32::from(b));
        (a.wrapping_add(b) as i32).wrapping_add(self.bias)
    }
}

impl Params {
    fn finish(&self, y: i32) -> u8 {
        let q = y.saturating_add(i32::from(self.zero_point)).clamp(0, 255) as u8;
        q.max(self.low).min(self.high)
    }
}

/// Adds three slices of the same length.
pub(super) fn add(params: &Params, a: &[u8], b: &[u8], output: &mut [u8]) {
    let pairs = a.iter().zip(b).map(|(a, b)| (*a, *b)).zip(output);
    match params.form {
        Form::HalfUp(fixed) => {
            for ((a, b), y) in pairs {
                *y = params.finish(fixed.sum(a, b) >> fixed.shift);
            }
        }
        Form::HalfAway(fixed) => {
            for ((a, b), y) in pairs {
                let sum = fixed.sum(a, b);
                let half = 1i64 << (fixed.shift - 1);
                let away = i64::from(sum) + half - i64::from(sum < 0);
                *y = params.finish((away >> fixed.shift) as i32);
            }
        }
        Form::Float([from_a, from_b], scale) => {
            let to = Stored {
                scale,
                zero_point: params.zero_point.into(),
            };
            for ((a, b), y) in pairs {
                let q = quantize(real(from_a, a) + real(from_b, b), to);
                *y = q.max(params.low).min(params.high);
            }
        }
    }
}
