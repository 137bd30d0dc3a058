//! From a scaled sum to its stored byte.

use qconfig_core::kernel::Activation;

use crate::affine::{Stored, bounds, round_ties_even};

/// Output zero point and the stored bounds of the activation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Output {
    pub(crate) zero_point: u8,
    pub(crate) low: u8,
    pub(crate) high: u8,
}

impl Output {
    pub(crate) fn new(activation: Activation, to: Stored) -> Self {
        let (low, high) = bounds(activation, to);
        Self {
            zero_point: to.zero_point as u8,
            low,
            high,
        }
    }

    /// `clamp(rne(x) + zero_point, low, high)`; the upper bound wins where the bounds cross.
    pub(crate) fn byte(self, x: f32) -> u8 {
        let zero_point = f32::from(self.zero_point);
        // clamped before rounding: the bounds are integers, so rounding cannot cross them
        let q = round_ties_even(x.min(255.0 - zero_point).max(-zero_point)) + zero_point;
        (q as u8).max(self.low).min(self.high)
    }
}
