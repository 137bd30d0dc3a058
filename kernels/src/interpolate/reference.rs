use core::ops::Range;

use super::Geometry;

pub(super) fn pixels(geometry: &Geometry, input: &[u8], units: Range<usize>, output: &mut [u8]) {
    super::pixels(geometry, input, units, output);
}
