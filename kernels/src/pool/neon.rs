use core::arch::aarch64::*;

use super::mean::Scale;
use super::reference;
use crate::neon::{Narrow, round};
use crate::spatial::Cells;

/// The maximum of each channel; 0 where there are no cells.
#[target_feature(enable = "neon")]
pub(super) fn max(input: &[u8], cells: Cells, output: &mut [u8]) {
    let Some(view) = cells.view(input, output.len()) else {
        return output.fill(0);
    };
    match output.len() {
        0..8 => reference::max(input, cells, output),
        8..16 => max_blocks::<8>(view, cells, output),
        _ => max_blocks::<16>(view, cells, output),
    }
}

/// `view` is that of the cells and the channels of `output`, which has at least `W`. The last block
/// overlaps the one before.
#[inline]
#[target_feature(enable = "neon")]
fn max_blocks<const W: usize>(view: &[u8], cells: Cells, output: &mut [u8]) {
    for c in (0..output.len()).step_by(W) {
        let c = c.min(output.len() - W);
        let mut best = vdupq_n_u8(0);
        for plane in 0..cells.planes {
            for row in 0..cells.rows {
                let line = plane * cells.plane_step + row * cells.row_step;
                for column in 0..cells.columns {
                    let at = line + column * cells.column_step + c;
                    // SAFETY: the view ends with all channels of the last cell, and `c + W` is within them.
                    best = vmaxq_u8(best, unsafe { load_part::<W>(view.as_ptr().add(at)) });
                }
            }
        }
        // SAFETY: `c + W` is within the output.
        unsafe { store_part::<W>(output.as_mut_ptr().add(c), best) };
    }
}

/// The scaled sum of each channel.
#[target_feature(enable = "neon")]
pub(super) fn mean(input: &[u8], cells: Cells, scale: &Scale, output: &mut [u8]) {
    let Some(view) = cells.view(input, output.len()) else {
        return output.fill(scale.byte(scale.zero_points));
    };
    match output.len() {
        0..8 => reference::mean(input, cells, scale, output),
        8..16 => mean_blocks::<8>(view, cells, scale, output),
        _ => mean_blocks::<16>(view, cells, scale, output),
    }
}

/// As [`max_blocks`]. Bytes are summed in 16 bits and those sums moved to 32 bits before they overflow.
#[inline]
#[target_feature(enable = "neon")]
fn mean_blocks<const W: usize>(view: &[u8], cells: Cells, scale: &Scale, output: &mut [u8]) {
    /// Bytes whose sum fits 16 bits.
    const SHORT: usize = 257;
    let narrow = Narrow::new(scale.output.zero_point, scale.output.low, scale.output.high);
    for c in (0..output.len()).step_by(W) {
        let c = c.min(output.len() - W);
        let mut sums = [vdupq_n_u32(scale.zero_points.wrapping_neg() as u32); 4];
        for plane in 0..cells.planes {
            for row in 0..cells.rows {
                let line = plane * cells.plane_step + row * cells.row_step;
                for first in (0..cells.columns).step_by(SHORT) {
                    let mut short = [vdupq_n_u16(0); 2];
                    for column in first..cells.columns.min(first + SHORT) {
                        let at = line + column * cells.column_step + c;
                        // SAFETY: the view ends with all channels of the last cell, and `c + W` is within them.
                        let q = unsafe { load_part::<W>(view.as_ptr().add(at)) };
                        short[0] = vaddw_u8(short[0], vget_low_u8(q));
                        short[1] = vaddw_high_u8(short[1], q);
                    }
                    sums[0] = vaddw_u16(sums[0], vget_low_u16(short[0]));
                    sums[1] = vaddw_high_u16(sums[1], short[0]);
                    sums[2] = vaddw_u16(sums[2], vget_low_u16(short[1]));
                    sums[3] = vaddw_high_u16(sums[3], short[1]);
                }
            }
        }
        let multiplier = vdupq_n_f32(scale.multiplier);
        let means = sums.map(|sum| {
            round(vmulq_f32(
                vcvtq_f32_s32(vreinterpretq_s32_u32(sum)),
                multiplier,
            ))
        });
        // SAFETY: `c + W` is within the output.
        unsafe { store_part::<W>(output.as_mut_ptr().add(c), narrow.bytes(means)) };
    }
}

/// Reads `W` bytes (8 or 16) into the low end, zeros above.
///
/// # Safety
/// `W` bytes at `from` are readable.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn load_part<const W: usize>(from: *const u8) -> uint8x16_t {
    const { assert!(W == 8 || W == 16) };
    // SAFETY: the caller's; neither load asks for an alignment.
    unsafe {
        match W {
            8 => vcombine_u8(vld1_u8(from), vdup_n_u8(0)),
            _ => vld1q_u8(from),
        }
    }
}

/// Writes the low `W` bytes (8 or 16).
///
/// # Safety
/// `W` bytes at `to` are writable.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn store_part<const W: usize>(to: *mut u8, v: uint8x16_t) {
    const { assert!(W == 8 || W == 16) };
    // SAFETY: the caller's; neither store asks for an alignment.
    unsafe {
        match W {
            8 => vst1_u8(to, vget_low_u8(v)),
            _ => vst1q_u8(to, v),
        }
    }
}
