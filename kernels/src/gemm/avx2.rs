//! AVX2 without a dot-product instruction, exact.
//!
//! `vpmaddubsw` saturates, so both sides are taken as 16-bit: rows are widened once per block, with
//! the four steps of a group in the order 0 2 1 3; weights are split into their even and odd steps by
//! shifts. Two `vpmaddwd` then give four products for each of eight columns without overflow
//! (`2 * 255 * 128 < 2^31`).

use core::arch::x86_64::*;

use super::finish::{Finish, ceiling};
use super::packed::Columns;
use super::panels::{DEPTH, PANEL, Panel};
use super::{BLOCK, Job, Rows, Scratch, TILE};

/// Columns of a vector.
const LANES: usize = 8;
/// The most vectors of accumulators.
const VECTORS: usize = 12;

/// Computes the job's part.
///
/// # Safety
/// The CPU must have AVX2, FMA and F16C. `output` must have the bytes of the job's part, `row` and
/// `block` those of the plan, whose `k` must be the job's.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn run<R: Rows>(
    job: &Job<'_, R>,
    output: &mut [u8],
    row: &mut [u8],
    block: &mut [u8],
    plan: &Scratch,
) {
    let packed = job.packed;
    let mut sums = [0i32; BLOCK];
    let mut start = job.part.rows.start;
    while start < job.part.rows.end {
        let rows = (job.part.rows.end - start).min(plan.block);
        for group in 0..packed.geometry.groups {
            for (r, wide) in block.chunks_exact_mut(plan.pitch).take(rows).enumerate() {
                let a = job.rows.row(start + r, group, row);
                if !packed.columns(group).zero_points.is_empty() {
                    sums[r] = a.iter().map(|x| i32::from(*x)).sum();
                }
                widen(a, wide);
            }
            for panel in job.panels().map(|index| packed.panels.panel(index)) {
                let columns = packed.columns(group);
                let weights = packed.group(group);
                let mut from = 0;
                // tiles of nearly the same height
                let tiles = rows.div_ceil(TILE);
                for tile in 0..tiles {
                    let to = rows * (tile + 1) / tiles;
                    let at = job.output(start + from, group, panel.column) * job.finish.element();
                    let call = Tile {
                        a: &block[from * plan.pitch..],
                        pitch: plan.pitch,
                        sums: &sums[from..],
                        weights: &weights[panel.start..],
                        panel,
                        columns,
                        depth: packed.panels.depth(),
                        finish: job.finish,
                        out: &mut output[at..],
                        out_pitch: packed.geometry.out_channels * job.finish.element(),
                    };
                    // SAFETY: rows `from..to` of the block were widened to `depth` groups, the panel
                    // lies in `weights`, and the part's outputs lie in `output`.
                    unsafe { call.run(to - from) };
                    from = to;
                }
            }
        }
        start += rows;
    }
}

/// Widens a row to 16 bits, in groups of four in the order 0 2 1 3, with zeros up to the next group.
#[target_feature(enable = "avx2")]
fn widen(row: &[u8], wide: &mut [u8]) {
    let order = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15,
    ));
    let (whole, rest) = row.as_chunks::<16>();
    let (cells, tail) = wide.as_chunks_mut::<32>();
    for (x, y) in whole.iter().zip(cells.iter_mut()) {
        // SAFETY: both have the bytes of the access.
        unsafe {
            let x = _mm256_cvtepu8_epi16(_mm_loadu_si128(x.as_ptr().cast()));
            _mm256_storeu_si256(y.as_mut_ptr().cast(), _mm256_shuffle_epi8(x, order));
        }
    }
    let cells = cells
        .get_mut(whole.len()..)
        .map_or(tail, |cells| cells.as_flattened_mut());
    for (x, y) in rest.chunks(DEPTH).zip(cells.chunks_exact_mut(2 * DEPTH)) {
        let mut taps = [0; DEPTH];
        taps[..x.len()].copy_from_slice(x);
        let [a, b, c, d] = taps;
        y.copy_from_slice(&[a, 0, c, 0, b, 0, d, 0]);
    }
}

/// Some rows of a block times one panel.
struct Tile<'a> {
    a: &'a [u8],
    pitch: usize,
    sums: &'a [i32],
    weights: &'a [u8],
    panel: Panel,
    columns: Columns<'a>,
    depth: usize,
    finish: Finish,
    out: &'a mut [u8],
    out_pitch: usize,
}

impl Tile<'_> {
    /// # Safety
    /// As [`Tile::slices`], for `rows` rows, at most [`TILE`].
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn run(self, rows: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            match rows {
                1 if self.panel.width == PANEL => self.slices::<1, 8>(),
                1 => self.slices::<1, 2>(),
                2 => self.slices::<2, 1>(),
                3 => self.slices::<3, 1>(),
                4 => self.slices::<4, 1>(),
                5 => self.slices::<5, 1>(),
                6 => self.slices::<6, 1>(),
                7 => self.slices::<7, 1>(),
                8 => self.slices::<8, 1>(),
                9 => self.slices::<9, 1>(),
                10 => self.slices::<10, 1>(),
                11 => self.slices::<11, 1>(),
                _ => self.slices::<12, 1>(),
            }
        }
    }

    /// All columns, `8 * NV` at a time.
    ///
    /// # Safety
    /// `a` must have `depth` groups in each of `MR` rows, `weights` as many for the panel's width,
    /// `out` the panel's columns in `MR` rows; `MR * NV` is at most [`VECTORS`] and the panel's width
    /// a multiple of `8 * NV`.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn slices<const MR: usize, const NV: usize>(self) {
        let mut column = 0;
        while column < self.panel.columns {
            let at = (self.panel.column + column) * 4;
            // SAFETY: the caller's promise; column sections are as wide as the padded panels.
            unsafe {
                let mut init: [__m256i; NV] = load(self.columns.init, at);
                let factor = _mm256_set1_epi32(self.finish.factor());
                if !matches!(self.finish, Finish::Requantize { .. }) {
                    for v in &mut init {
                        *v = _mm256_mullo_epi32(*v, factor);
                    }
                }
                let mut acc = self.accumulate::<MR, NV>(column, init);
                if !self.columns.zero_points.is_empty() {
                    let zero_points: [__m256i; NV] = load(self.columns.zero_points, at);
                    for (acc, sum) in acc.iter_mut().zip(self.sums) {
                        let sum = _mm256_set1_epi32(*sum);
                        for (acc, zp) in acc.iter_mut().zip(zero_points) {
                            *acc = _mm256_sub_epi32(*acc, _mm256_mullo_epi32(sum, zp));
                        }
                    }
                }
                let count = (self.panel.columns - column).min(LANES * NV);
                let out = self.out.as_mut_ptr().add(column * self.finish.element());
                let scale: [__m256i; NV] = load(self.columns.scale, at);
                match self.finish {
                    Finish::Requantize {
                        zero_point,
                        low,
                        high,
                    } => {
                        requantize(
                            &acc,
                            &scale,
                            [zero_point, low, high],
                            out,
                            self.out_pitch,
                            count,
                        );
                    }
                    Finish::Dequantize {
                        scale: input,
                        low,
                        high,
                        ..
                    } => {
                        let bias: [__m256i; NV] = load(self.columns.bias, at);
                        let bounds = [input, low, high];
                        dequantize(&acc, &scale, &bias, bounds, out, self.out_pitch, count);
                    }
                }
            }
            column += LANES * NV;
        }
    }

    /// The sums of `MR` rows and `8 * NV` columns, on top of `init`.
    ///
    /// # Safety
    /// As [`Tile::slices`]; `column` is a multiple of `8 * NV` below the panel's width.
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn accumulate<const MR: usize, const NV: usize>(
        &self,
        column: usize,
        init: [__m256i; NV],
    ) -> [[__m256i; NV]; MR] {
        let mut acc = [init; MR];
        let step = self.panel.width * DEPTH;
        // SAFETY: `depth` steps of both sides are there, by the caller's promise.
        unsafe {
            let mut b = self.weights.as_ptr().add(column * DEPTH);
            let mut a = self.a.as_ptr();
            for _ in 0..self.depth {
                for v in 0..NV {
                    let both = _mm256_loadu_si256(b.add(v * 32).cast());
                    let even = _mm256_srai_epi16(_mm256_slli_epi16(both, 8), 8);
                    let odd = _mm256_srai_epi16(both, 8);
                    for (r, acc) in acc.iter_mut().enumerate() {
                        let x: *const i32 = a.add(r * self.pitch).cast();
                        let first = _mm256_set1_epi32(x.read_unaligned());
                        let second = _mm256_set1_epi32(x.add(1).read_unaligned());
                        acc[v] = _mm256_add_epi32(acc[v], _mm256_madd_epi16(first, even));
                        acc[v] = _mm256_add_epi32(acc[v], _mm256_madd_epi16(second, odd));
                    }
                }
                a = a.add(2 * DEPTH);
                b = b.add(step);
            }
        }
        acc
    }
}

/// `NV` vectors of a column section.
///
/// # Safety
/// `section` must have `32 * NV` bytes from `at` on.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn load<const NV: usize>(section: &[u8], at: usize) -> [__m256i; NV] {
    let mut vectors = [_mm256_setzero_si256(); NV];
    for (v, vector) in vectors.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *vector = unsafe { _mm256_loadu_si256(section.as_ptr().add(at + v * 32).cast()) };
    }
    vectors
}

/// Writes `count` columns of each row as `u8`.
///
/// # Safety
/// `out` must be writable for `count` bytes in each of `MR` rows `pitch` bytes apart.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn requantize<const MR: usize, const NV: usize>(
    acc: &[[__m256i; NV]; MR],
    scale: &[__m256i; NV],
    [zero_point, low, high]: [u8; 3],
    out: *mut u8,
    pitch: usize,
    count: usize,
) {
    let most = _mm256_set1_ps(ceiling(zero_point));
    let zero_point = _mm256_set1_epi16(i16::from(zero_point));
    let (low, high) = (_mm256_set1_epi8(low as i8), _mm256_set1_epi8(high as i8));
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    let mut bytes = [0u8; VECTORS * LANES];
    for quad in 0..(MR * NV).div_ceil(4) {
        let mut four = [_mm256_setzero_si256(); 4];
        for (i, rounded) in four.iter_mut().enumerate() {
            let v = (quad * 4 + i).min(MR * NV - 1);
            let (row, column) = (v / NV, v % NV);
            let x = _mm256_mul_ps(
                _mm256_cvtepi32_ps(acc[row][column]),
                _mm256_castsi256_ps(scale[column]),
            );
            *rounded = _mm256_cvtps_epi32(_mm256_min_ps(x, most));
        }
        // both packs work on 128-bit halves: doublewords come out as columns 0-3 of the four
        // vectors, then columns 4-7
        let ab = _mm256_adds_epi16(_mm256_packs_epi32(four[0], four[1]), zero_point);
        let cd = _mm256_adds_epi16(_mm256_packs_epi32(four[2], four[3]), zero_point);
        let abcd = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(ab, cd), order);
        let abcd = _mm256_min_epu8(_mm256_max_epu8(abcd, low), high);
        // SAFETY: four vectors of the at most twelve.
        unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().add(quad * 32).cast(), abcd) };
    }
    for row in 0..MR {
        // SAFETY: the caller's promise for `out`; `count <= 8 * NV`.
        unsafe {
            let (from, to) = (bytes.as_ptr().add(row * LANES * NV), out.add(row * pitch));
            if count == LANES * NV {
                to.copy_from_nonoverlapping(from, LANES * NV);
            } else {
                to.copy_from_nonoverlapping(from, count);
            }
        }
    }
}

/// Writes `count` columns of each row as `f32`.
///
/// # Safety
/// `out` must be writable for `4 * count` bytes in each of `MR` rows `pitch` bytes apart.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn dequantize<const MR: usize, const NV: usize>(
    acc: &[[__m256i; NV]; MR],
    scale: &[__m256i; NV],
    bias: &[__m256i; NV],
    [input, low, high]: [f32; 3],
    out: *mut u8,
    pitch: usize,
    count: usize,
) {
    let (low, high) = (_mm256_set1_ps(low), _mm256_set1_ps(high));
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    for v in 0..NV {
        let scale = _mm256_mul_ps(_mm256_set1_ps(input), _mm256_castsi256_ps(scale[v]));
        let bias = _mm256_castsi256_ps(bias[v]);
        let live = count.saturating_sub(v * LANES).min(LANES);
        let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(live as i32), lanes);
        for (row, acc) in acc.iter().enumerate() {
            let y = _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(acc[v]), scale), bias);
            // both give their second operand where one is NaN
            let y = _mm256_min_ps(high, _mm256_max_ps(low, y));
            // SAFETY: the caller's promise; masked lanes are not touched.
            unsafe {
                let to: *mut f32 = out.add(row * pitch + v * 32).cast();
                if live == LANES {
                    _mm256_storeu_ps(to, y);
                } else {
                    _mm256_maskstore_ps(to, mask, y);
                }
            }
        }
    }
}
