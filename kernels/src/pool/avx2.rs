use core::arch::x86_64::*;

use super::mean::Scale;
use super::reference;
use crate::spatial::Cells;
use crate::vector::{Narrow, load_part, store_part};

/// The maximum of each channel; 0 where there are no cells.
#[target_feature(enable = "avx2")]
pub(super) fn max(input: &[u8], cells: Cells, output: &mut [u8]) {
    let Some(view) = cells.view(input, output.len()) else {
        return output.fill(0);
    };
    match output.len() {
        0..8 => reference::max(input, cells, output),
        8..16 => max_blocks::<8, true>(view, cells, output),
        16..32 => max_blocks::<16, true>(view, cells, output),
        _ if cells.planes == 1 => max_blocks::<32, false>(view, cells, output),
        _ => max_blocks::<32, true>(view, cells, output),
    }
}

/// `view` is that of the cells and the channels of `output`, which has at least `W`. The last block
/// overlaps the one before. Without `VOLUME` there is one plane.
#[inline]
#[target_feature(enable = "avx2")]
fn max_blocks<const W: usize, const VOLUME: bool>(view: &[u8], cells: Cells, output: &mut [u8]) {
    for c in (0..output.len()).step_by(W) {
        let c = c.min(output.len() - W);
        let mut best = _mm256_setzero_si256();
        for plane in 0..if VOLUME { cells.planes } else { 1 } {
            for row in 0..cells.rows {
                let line = plane * cells.plane_step + row * cells.row_step;
                for column in 0..cells.columns {
                    let at = line + column * cells.column_step + c;
                    // SAFETY: the view ends with all channels of the last cell, and `c + W` is within them.
                    best = _mm256_max_epu8(best, unsafe { load_part::<W>(view.as_ptr().add(at)) });
                }
            }
        }
        // SAFETY: `c + W` is within the output.
        unsafe { store_part::<W>(output.as_mut_ptr().add(c), best) };
    }
}

/// The scaled sum of each channel.
#[target_feature(enable = "avx2")]
pub(super) fn mean(input: &[u8], cells: Cells, scale: &Scale, output: &mut [u8]) {
    let Some(view) = cells.view(input, output.len()) else {
        return output.fill(scale.byte(scale.zero_points));
    };
    match output.len() {
        0..8 => reference::mean(input, cells, scale, output),
        8..16 => mean_blocks::<8, true>(view, cells, scale, output),
        16..32 => mean_blocks::<16, true>(view, cells, scale, output),
        _ if cells.planes == 1 => mean_blocks::<32, false>(view, cells, scale, output),
        _ => mean_blocks::<32, true>(view, cells, scale, output),
    }
}

/// As [`max_blocks`]. Bytes are summed in 16 bits and those sums moved to 32 bits before they overflow.
#[inline]
#[target_feature(enable = "avx2")]
fn mean_blocks<const W: usize, const VOLUME: bool>(
    view: &[u8],
    cells: Cells,
    scale: &Scale,
    output: &mut [u8],
) {
    /// Bytes whose sum fits 16 bits.
    const SHORT: usize = 257;
    let narrow = Narrow::new(scale.output.zero_point, scale.output.low, scale.output.high);
    let zero = _mm256_setzero_si256();
    for c in (0..output.len()).step_by(W) {
        let c = c.min(output.len() - W);
        let mut sums = [_mm256_set1_epi32(scale.zero_points.wrapping_neg()); 4];
        for plane in 0..if VOLUME { cells.planes } else { 1 } {
            for row in 0..cells.rows {
                let line = plane * cells.plane_step + row * cells.row_step;
                for first in (0..cells.columns).step_by(SHORT) {
                    let mut short = [zero; 2];
                    for column in first..cells.columns.min(first + SHORT) {
                        let at = line + column * cells.column_step + c;
                        // SAFETY: the view ends with all channels of the last cell, and `c + W` is within them.
                        let q = unsafe { load_part::<W>(view.as_ptr().add(at)) };
                        short[0] = _mm256_add_epi16(short[0], _mm256_unpacklo_epi8(q, zero));
                        short[1] = _mm256_add_epi16(short[1], _mm256_unpackhi_epi8(q, zero));
                    }
                    sums[0] = _mm256_add_epi32(sums[0], _mm256_unpacklo_epi16(short[0], zero));
                    sums[1] = _mm256_add_epi32(sums[1], _mm256_unpackhi_epi16(short[0], zero));
                    sums[2] = _mm256_add_epi32(sums[2], _mm256_unpacklo_epi16(short[1], zero));
                    sums[3] = _mm256_add_epi32(sums[3], _mm256_unpackhi_epi16(short[1], zero));
                }
            }
        }
        let multiplier = _mm256_set1_ps(scale.multiplier);
        for sum in &mut sums {
            *sum = narrow.round(_mm256_mul_ps(_mm256_cvtepi32_ps(*sum), multiplier));
        }
        // SAFETY: `c + W` is within the output.
        unsafe { store_part::<W>(output.as_mut_ptr().add(c), narrow.pack(sums)) };
    }
}
