//! Tiles of up to six rows by sixteen columns; one row takes a whole panel.
//!
//! Where there are many rows, a slice of 16 columns of weights is widened to `f32` in the scratch memory
//! first and serves all of them: the tallest tile then leaves no port for anything but its multiply-adds.

use core::arch::x86_64::*;

use super::Job;
use crate::float::product::avx2::six_rows;
use crate::gemm::PANEL;

const LANES: usize = 8;
const TALLEST: usize = 6;

/// Computes the job's part.
///
/// # Safety
/// The CPU must have AVX2, FMA and F16C; `output` must have the bytes of the job's part; `slice` has 64 bytes
/// for each step of `k`, or none.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn run(job: &Job<'_>, output: &mut [u8], slice: &mut [u8]) {
    let packed = job.packed;
    let k = packed.panels.k;
    let rows = job.part.rows.end - job.part.rows.start;
    // tiles of nearly the same height
    let tiles = rows.div_ceil(TALLEST);
    for index in job.panels() {
        let (start, columns, width) = packed.panel(index);
        let vectors = if rows == 1 && width == PANEL { 8 } else { 2 };
        let mut column = 0;
        let wide = vectors == 2 && rows >= super::SLICE_ROWS && !slice.is_empty();
        while column < columns {
            if wide {
                // SAFETY: the panel has 16 weights from `column` on in each of `k` rows.
                unsafe { widen(&packed.weight[start + column * 2..], width, slice) };
            }
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
                        (_, 6) if wide => call.tall(slice),
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

/// Widens 16 columns of a panel, `width` columns wide, to `f32`.
///
/// # Safety
/// `from` must have 16 weights in each row, as many rows as `to` has 64 bytes.
#[target_feature(enable = "avx2,f16c")]
unsafe fn widen(from: &[u8], width: usize, to: &mut [u8]) {
    let mut from = from.as_ptr();
    for cells in to.as_chunks_mut::<64>().0 {
        for v in 0..2 {
            // SAFETY: the caller's promise for `from`; the cells have 64 bytes.
            unsafe {
                let w = _mm256_cvtph_ps(_mm_loadu_si128(from.add(v * 16).cast()));
                _mm256_storeu_ps(cells.as_mut_ptr().add(v * 32).cast(), w);
            }
        }
        from = from.wrapping_add(width * 2);
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
        // SAFETY: the caller's promise.
        unsafe { self.finish(&acc) }
    }

    /// The tallest tile, from weights widened before.
    ///
    /// # Safety
    /// As [`Tile::run`] for six rows and two vectors; `slice` has 64 bytes for each of `k` steps.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn tall(self, slice: &[u8]) {
        // SAFETY: the caller's promise.
        unsafe {
            let acc = six_rows(self.x.as_ptr(), self.k * 4, slice.as_ptr(), self.k);
            self.finish(&acc);
        }
    }

    /// Adds the bias, clamps and writes.
    ///
    /// # Safety
    /// As [`Tile::run`] for `bias` and `out`.
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn finish<const MR: usize, const NV: usize>(self, acc: &[[__m256; NV]; MR]) {
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
