//! Tiles of up to six rows by sixteen columns; one row takes a whole panel.

use core::arch::x86_64::*;

use super::Job;
use crate::gemm::PANEL;

const LANES: usize = 8;
const TALLEST: usize = 6;

/// Computes the job's part.
///
/// # Safety
/// The CPU must have AVX2, FMA and F16C; `output` must have the bytes of the job's part.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn run(job: &Job<'_>, output: &mut [u8]) {
    let packed = job.packed;
    let k = packed.panels.k;
    let rows = job.part.rows.end - job.part.rows.start;
    // tiles of nearly the same height
    let tiles = rows.div_ceil(TALLEST);
    for index in job.panels() {
        let (start, columns, width) = packed.panel(index);
        let vectors = if rows == 1 && width == PANEL { 8 } else { 2 };
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
                // `width` weights, and `column` is a multiple of 16 below `width`.
                unsafe {
                    match (vectors, to - from) {
                        (8, _) => call.run::<1, 8>(),
                        (_, 1) => call.run::<1, 2>(),
                        (_, 2) => call.run::<2, 2>(),
                        (_, 3) => call.run::<3, 2>(),
                        (_, 4) => call.run::<4, 2>(),
                        (_, 5) => call.run::<5, 2>(),
                        _ => call.run::<6, 2>(),
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
    /// `x` must have `MR` rows of `k` values, `weight` `k` rows `width` apart of `8 * NV` values,
    /// `bias` `8 * NV` values, and `out` `count` values in each of `MR` rows `pitch` bytes apart.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn run<const MR: usize, const NV: usize>(self) {
        let mut acc = [[_mm256_setzero_ps(); NV]; MR];
        let mut w = self.weight.as_ptr();
        let mut x: *const f32 = self.x.as_ptr().cast();
        for _ in 0..self.k {
            for v in 0..NV {
                // SAFETY: the caller's promise.
                let w = unsafe { _mm256_cvtph_ps(_mm_loadu_si128(w.add(v * 16).cast())) };
                for (r, acc) in acc.iter_mut().enumerate() {
                    // SAFETY: the caller's promise.
                    let x = unsafe { x.add(r * self.k).read_unaligned() };
                    acc[v] = _mm256_fmadd_ps(_mm256_set1_ps(x), w, acc[v]);
                }
            }
            // one past the last is never read
            x = x.wrapping_add(1);
            w = w.wrapping_add(self.width * 2);
        }
        let [low, high] = self.bounds;
        let (low, high) = (_mm256_set1_ps(low), _mm256_set1_ps(high));
        let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        for v in 0..NV {
            // SAFETY: the caller's promise.
            let bias = unsafe { _mm256_loadu_ps(self.bias.as_ptr().add(v * 32).cast()) };
            let live = self.count.saturating_sub(v * LANES).min(LANES);
            let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(live as i32), lanes);
            for (r, acc) in acc.iter().enumerate() {
                let y = _mm256_add_ps(acc[v], bias);
                // both give their second operand where one is NaN
                let y = _mm256_min_ps(high, _mm256_max_ps(low, y));
                // SAFETY: the caller's promise; masked lanes are not touched.
                unsafe {
                    let to = self.out.as_mut_ptr().add(r * self.pitch + v * 32);
                    _mm256_maskstore_ps(to.cast(), mask, y);
                }
            }
        }
    }
}
