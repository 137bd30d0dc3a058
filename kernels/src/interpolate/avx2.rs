use core::ops::Range;

use super::{Geometry, reference};

/// The same loop, for vectors of eight.
#[target_feature(enable = "avx2")]
pub(super) fn pixels(geometry: &Geometry, input: &[u8], units: Range<usize>, output: &mut [u8]) {
    reference::pixels(geometry, input, units, output);
}
