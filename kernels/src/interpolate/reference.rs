use core::ops::Range;

use super::Geometry;

/// A range of output pixels; compiled for each instruction set, with the same separately rounded steps.
#[inline(always)]
pub(super) fn pixels(geometry: &Geometry, input: &[u8], units: Range<usize>, output: &mut [u8]) {
    let channels = geometry.channels;
    let zero = i32::from(geometry.zero_point);
    for (unit, pixel) in units.zip(output.chunks_exact_mut(channels)) {
        let (taps, count) = geometry.taps(unit);
        let of = |(offset, _): (usize, f32)| &input[offset..offset + channels];
        if count == 1 {
            pixel.copy_from_slice(of(taps[0]));
            continue;
        }
        // a few channels at a time, so that their sums stay in registers
        const WIDTH: usize = 32;
        for (at, to) in pixel.chunks_mut(WIDTH).enumerate() {
            let mut sums = [0.0f32; WIDTH];
            for tap in &taps[..count] {
                let from = &of(*tap)[at * WIDTH..][..to.len()];
                for (sum, q) in sums.iter_mut().zip(from) {
                    *sum += tap.1 * (i32::from(*q) - zero) as f32;
                }
            }
            for (to, sum) in to.iter_mut().zip(sums) {
                // adding 1.5 * 2^23 rounds to nearest even: sums are far below that
                let rounded = (sum + 12_582_912.0) - 12_582_912.0;
                *to = (rounded as i32 + zero).clamp(0, 255) as u8;
            }
        }
    }
}
