//! Tiles of `MR` rows by `NV` vectors of sixteen columns.

use core::arch::x86_64::*;

use super::Job;
use crate::gemm::{PANEL, STEP};

/// The tallest tile for each number of vectors: 24 accumulators or fewer, beside the weights and one
/// broadcast.
const TALLEST: [usize; 4] = [12, 12, 8, 6];

/// Computes the job's part.
///
/// # Safety
/// The CPU must have AVX-512 F; `output` must have the bytes of the job's part.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn run(job: &Job<'_>, output: &mut [u8]) {
    let packed = job.packed;
    let k = packed.panels.k;
    let rows = job.part.rows.end - job.part.rows.start;
    for index in job.panels() {
        let (start, columns, width) = packed.panel(index);
        let vectors = width / STEP;
        let mut from = 0;
        // tiles of nearly the same height
        let tiles = rows.div_ceil(TALLEST[vectors - 1]);
        for tile in 0..tiles {
            let to = rows * (tile + 1) / tiles;
            let row = job.part.rows.start + from;
            let first = index * PANEL;
            let call = Tile {
                x: &job.input[row * k * 4..],
                k,
                weight: &packed.weight[start..],
                bias: &packed.bias[first * 4..],
                bounds: [packed.low, packed.high],
                out: &mut output[job.output(row, first)..],
                pitch: packed.panels.columns * 4,
                count: columns,
            };
            // SAFETY: the part's rows lie in the input and in the output; the panel has `k` rows of
            // `16 * vectors` weights.
            unsafe { call.run(vectors, to - from) };
            from = to;
        }
    }
}

struct Tile<'a> {
    x: &'a [u8],
    k: usize,
    weight: &'a [u8],
    bias: &'a [u8],
    bounds: [f32; 2],
    out: &'a mut [u8],
    pitch: usize,
    count: usize,
}

impl Tile<'_> {
    /// # Safety
    /// As [`Tile::tile`], for `rows` rows and `vectors` vectors, at most [`TALLEST`].
    #[target_feature(enable = "avx512f")]
    unsafe fn run(self, vectors: usize, rows: usize) {
        macro_rules! tiles {
            ($($nv:literal: $($mr:literal)*;)*) => {
                match (vectors, rows) {
                    // SAFETY: the caller's promise.
                    $($(($nv, $mr) => unsafe { self.tile::<$mr, $nv>() },)*)*
                    _ => {}
                }
            };
        }
        tiles! {
            1: 1 2 3 4 5 6 7 8 9 10 11 12;
            2: 1 2 3 4 5 6 7 8 9 10 11 12;
            3: 1 2 3 4 5 6 7 8;
            4: 1 2 3 4 5 6;
        }
    }

    /// # Safety
    /// `x` must have `MR` rows of `k` values, `weight` `k` rows of `16 * NV` values, `bias` `16 * NV`
    /// values, and `out` `count` values, at most `16 * NV`, in each of `MR` rows `pitch` bytes apart.
    #[target_feature(enable = "avx512f")]
    unsafe fn tile<const MR: usize, const NV: usize>(self) {
        let mut acc = [[_mm512_setzero_ps(); NV]; MR];
        let mut weight = self.weight.as_ptr();
        let mut x: *const f32 = self.x.as_ptr().cast();
        for _ in 0..self.k {
            let mut w = [_mm512_setzero_ps(); NV];
            for (v, w) in w.iter_mut().enumerate() {
                // SAFETY: the caller's promise.
                *w = unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(weight.add(v * 32).cast())) };
            }
            for (r, acc) in acc.iter_mut().enumerate() {
                // SAFETY: the caller's promise.
                let x = _mm512_set1_ps(unsafe { x.add(r * self.k).read_unaligned() });
                for (acc, w) in acc.iter_mut().zip(w) {
                    *acc = _mm512_fmadd_ps(x, w, *acc);
                }
            }
            // one past the last is never read
            x = x.wrapping_add(1);
            weight = weight.wrapping_add(NV * 32);
        }
        let [low, high] = self.bounds;
        let (low, high) = (_mm512_set1_ps(low), _mm512_set1_ps(high));
        for v in 0..NV {
            // SAFETY: the caller's promise.
            let bias = unsafe { _mm512_loadu_ps(self.bias.as_ptr().add(v * 64).cast()) };
            let live = self.count.saturating_sub(v * STEP).min(STEP);
            let mask = ((1u32 << live) - 1) as u16;
            for (r, acc) in acc.iter().enumerate() {
                let y = _mm512_add_ps(acc[v], bias);
                // both give their second operand where one is NaN
                let y = _mm512_min_ps(high, _mm512_max_ps(low, y));
                // SAFETY: the caller's promise; masked lanes are not touched.
                unsafe {
                    let to = self.out.as_mut_ptr().add(r * self.pitch + v * 64);
                    _mm512_mask_storeu_ps(to.cast(), mask, y);
                }
            }
        }
    }
}
