//! Minimum and maximum, running or averaged.

use crate::tensor::{Tensor, elements};

/// The smallest and the largest value seen.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Range(Option<(f32, f32)>);

impl Range {
    /// The range of some values.
    pub fn of(values: &[f32]) -> Self {
        values
            .iter()
            .fold(Self(None), |Self(range), x| match range {
                None => Self(Some((*x, *x))),
                Some((min, max)) => Self(Some((min.min(*x), max.max(*x)))),
            })
    }

    /// Minimum and maximum, if any value was seen.
    pub fn get(self) -> Option<(f32, f32)> {
        self.0
    }

    /// Takes another range in (`MinMaxObserver`).
    pub fn widen(&mut self, other: Range) {
        self.0 = match (self.0, other.0) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
    }

    /// Moves towards another range by a fraction (`MovingAverageMinMaxObserver`).
    pub fn average(&mut self, other: Range, constant: f64) {
        let towards = |old: f32, new: f32| old + (constant as f32) * (new - old);
        self.0 = match (self.0, other.0) {
            (Some((a, b)), Some((c, d))) => Some((towards(a, c), towards(b, d))),
            (one, other) => one.or(other),
        };
    }
}

/// The range of each index of an axis.
pub(super) fn by_channel(tensor: &Tensor, axis: usize) -> Vec<Range> {
    let shape = tensor.shape();
    let Some(channels) = shape.get(axis).copied() else {
        return Vec::new();
    };
    let inner = elements(&shape[axis + 1..]).unwrap_or(1).max(1);
    let mut ranges = vec![Range::default(); channels];
    for (at, run) in tensor.data().chunks(inner).enumerate() {
        ranges[at % channels].widen(Range::of(run));
    }
    ranges
}
