//! Tiles of up to six rows by sixteen columns; one row takes twice as many where it can.

use core::arch::aarch64::*;

use super::Job;
use crate::gemm::PANEL;
use crate::neon::clamp_f32;

const LANES: usize = 4;
const TALLEST: usize = 6;

/// Computes the job's part.
///
/// # Safety
/// The CPU must have NEON; `output` must have the bytes of the job's part.
#[target_feature(enable = "neon")]
pub(super) unsafe fn run(job: &Job<'_>, output: &mut [u8]) {
    let packed = job.packed;
    let k = packed.panels.k;
    let rows = job.part.rows.end - job.part.rows.start;
    // tiles of nearly the same height
    let tiles = rows.div_ceil(TALLEST);
    for index in job.panels() {
        let (start, columns, width) = packed.panel(index);
        let vectors = if rows == 1 && width.is_multiple_of(8 * LANES) {
            8
        } else {
            4
        };
        let mut column = 0;
        while column < columns {
            let mut from = 0;
            for tile in 0..tiles {
                let to = rows * (tile + 1) / tiles;
                let row = job.part.rows.start + from;
                let first = index * PANEL + column;
                let call = Tile {
                    x: &job.input[row * k * 4..],
                    k,
                    weight: &packed.weight[start + column * 2..],
                    width,
                    bias: &packed.bias[first * 4..],
                    bounds: [packed.low, packed.high],
                    out: &mut output[job.output(row, first)..],
                    pitch: packed.panels.columns * 4,
                    count: (columns - column).min(LANES * vectors),
                };
                // SAFETY: the part's rows lie in the input and in the output; the panel has `k` rows of
                // `width` weights, and `column` is a multiple of `4 * vectors` below `width`.
                unsafe {
                    match (vectors, to - from) {
                        (8, _) => call.run::<1, 8>(),
                        (_, 1) => call.run::<1, 4>(),
                        (_, 2) => call.run::<2, 4>(),
                        (_, 3) => call.run::<3, 4>(),
                        (_, 4) => call.run::<4, 4>(),
                        (_, 5) => call.run::<5, 4>(),
                        _ => call.run::<6, 4>(),
                    }
                }
                from = to;
            }
            column += LANES * vectors;
        }
    }
}

struct Tile<'a> {
    x: &'a [u8],
    k: usize,
    weight: &'a [u8],
    width: usize,
    bias: &'a [u8],
    bounds: [f32; 2],
    out: &'a mut [u8],
    pitch: usize,
    count: usize,
}

impl Tile<'_> {
    /// # Safety
    /// `x` must have `MR` rows of `k` values, `weight` `k` rows `width` apart of `4 * NV` values,
    /// `bias` `4 * NV` values, and `out` `count` values in each of `MR` rows `pitch` bytes apart.
    #[target_feature(enable = "neon")]
    unsafe fn run<const MR: usize, const NV: usize>(self) {
        let mut acc = [[vdupq_n_f32(0.0); NV]; MR];
        let mut weight = self.weight.as_ptr();
        let mut x: *const f32 = self.x.as_ptr().cast();
        for _ in 0..self.k {
            let mut w = [vdupq_n_f32(0.0); NV];
            for (v, w) in w.iter_mut().enumerate() {
                // SAFETY: the caller's promise.
                let halves = unsafe { vld1_u8(weight.add(v * 8)) };
                *w = vcvt_f32_f16(vreinterpret_f16_u8(halves));
            }
            for (r, acc) in acc.iter_mut().enumerate() {
                // SAFETY: the caller's promise.
                let x = vdupq_n_f32(unsafe { x.add(r * self.k).read_unaligned() });
                for (acc, w) in acc.iter_mut().zip(w) {
                    *acc = vfmaq_f32(*acc, x, w);
                }
            }
            // one past the last is never read
            x = x.wrapping_add(1);
            weight = weight.wrapping_add(self.width * 2);
        }
        let [low, high] = self.bounds;
        let (low, high) = (vdupq_n_f32(low), vdupq_n_f32(high));
        let mut bias = [vdupq_n_f32(0.0); NV];
        for (v, bias) in bias.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *bias = vreinterpretq_f32_u8(unsafe { vld1q_u8(self.bias.as_ptr().add(v * 16)) });
        }
        for (r, acc) in acc.iter().enumerate() {
            let mut bytes = [[0u8; 16]; NV];
            for ((acc, bias), to) in acc.iter().zip(bias).zip(&mut bytes) {
                crate::neon::store_f32(to, clamp_f32(vaddq_f32(*acc, bias), low, high));
            }
            // SAFETY: the caller's promise; `count <= 4 * NV`.
            unsafe {
                let to = self.out.as_mut_ptr().add(r * self.pitch);
                to.copy_from_nonoverlapping(bytes.as_flattened().as_ptr(), self.count * 4);
            }
        }
    }
}
