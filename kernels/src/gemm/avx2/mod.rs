//! AVX2 without a dot-product instruction, exact.
//!
//! `vpmaddubsw` saturates, so both sides are taken as 16-bit: rows are widened once per block, weights
//! as they are loaded, four columns to a vector. `vpmaddwd` then gives each column two sums of two
//! products, which cannot overflow (`2 * 255 * 128 < 2^31`); they meet at the end.

mod narrow;
mod wide;
mod widen;
mod winograd;

use core::arch::x86_64::*;

use super::finish::Finish;
use super::packed::Columns;
use super::panels::{DEPTH, Panel};
use super::{BLOCK, Job, Packed, Rows, Scratch};
use crate::vector::{Narrow, store};

pub(in crate::gemm) use wide::requantize as requantize_rows;
use widen::block as widen_block;
pub(in crate::gemm) use widen::widen;
pub(in crate::gemm) use winograd::run as winograd;

/// Columns of a vector.
const LANES: usize = 8;
/// The tallest tile.
const TALLEST: usize = 6;
/// Steps ahead of which the weights of a lone row are asked for.
const AHEAD: usize = 16;
/// The most vectors of eight columns in a tile.
const VECTORS: usize = 6;

/// Whether blocks of rows stay bytes. Windows are gathered more slowly than their lines are widened.
pub(super) fn is_narrow(packed: &Packed<'_>) -> bool {
    let geometry = &packed.geometry;
    let has_slices = Scratch::new(geometry.k, geometry.rows).slice > 0;
    packed.is_narrow && geometry.is_pointwise() && has_slices
}

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
    let (block, slice) = block.split_at_mut(plan.pitch * plan.block);
    let asymmetric = !packed.columns(0).zero_points.is_empty();
    let image = job.rows.image().filter(|_| !asymmetric);
    let is_narrow = is_narrow(packed);
    let mut sums = [0i32; BLOCK];
    let mut start = job.part.rows.start;
    while start < job.part.rows.end {
        let rows = (job.part.rows.end - start).min(plan.block);
        for group in 0..packed.geometry.groups {
            let has_slices = rows >= Scratch::SLICE_ROWS && plan.slice > 0;
            if has_slices && is_narrow {
                let lying = image
                    .as_ref()
                    .and_then(|image| image.lying((start, rows), group));
                let (a, pitch) = lying.unwrap_or_else(|| {
                    for (r, cells) in block.chunks_exact_mut(plan.pitch).take(rows).enumerate() {
                        let (taps, rest) = cells.split_at_mut(packed.panels.k);
                        job.rows.gather(start + r, group, taps);
                        rest[..packed.panels.padding()].fill(0);
                    }
                    (&*block, plan.pitch)
                });
                let rows = wide::Block {
                    a,
                    pitch,
                    sums: &sums[..rows],
                    is_narrow,
                };
                // SAFETY: the rows have whole steps, the weights are narrow, the scratch memory is as planned.
                unsafe { wide::group(job, group, start, rows, slice, output) };
                continue;
            }
            if let Some(image) = &image {
                widen_block(image, (start, rows), group, block, plan.pitch);
            } else {
                for (r, wide) in block.chunks_exact_mut(plan.pitch).take(rows).enumerate() {
                    let a = job.rows.row(start + r, group, packed.panels.k, row);
                    if asymmetric {
                        sums[r] = a.iter().map(|x| i32::from(*x)).sum();
                    }
                    widen(a, wide);
                }
            }
            if has_slices {
                let rows = wide::Block {
                    a: block,
                    pitch: plan.pitch,
                    sums: &sums[..rows],
                    is_narrow: false,
                };
                // SAFETY: the rows were just widened, and the scratch memory is as planned.
                unsafe { wide::group(job, group, start, rows, slice, output) };
                continue;
            }
            for panel in job.panels().map(|index| packed.panels.panel(index)) {
                let columns = packed.columns(group);
                let weights = packed.group(group);
                let mut from = 0;
                // tiles of nearly the same height
                let tiles = rows.div_ceil(TALLEST);
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
    /// As [`Tile::slices`], for `rows` rows, at most [`TALLEST`].
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn run(self, rows: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            match rows {
                1 if self.panel.width.is_multiple_of(4 * LANES) => self.slices::<1, 4>(),
                1 => self.slices::<1, 2>(),
                2 => self.slices::<2, 2>(),
                3 => self.slices::<3, 1>(),
                4 => self.slices::<4, 1>(),
                5 => self.slices::<5, 1>(),
                _ => self.slices::<6, 1>(),
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
                let mut acc = self.sums::<MR, NV>(column);
                for acc in &mut acc {
                    for (acc, init) in acc.iter_mut().zip(init) {
                        *acc = _mm256_add_epi32(*acc, init);
                    }
                }
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
                        let biases = self.columns.bias.get(at..).unwrap_or_default();
                        let narrow = Narrow::new(zero_point, low, high);
                        let (pitch, of) = (self.out_pitch, (&scale, biases));
                        if biases.is_empty() {
                            requantize::<MR, NV, false>(&acc, of, &narrow, out, pitch, count);
                        } else {
                            requantize::<MR, NV, true>(&acc, of, &narrow, out, pitch, count);
                        }
                    }
                    Finish::Dequantize {
                        scale: input,
                        low,
                        high,
                        is_fused,
                        ..
                    } => {
                        let bias: [__m256i; NV] = load(self.columns.bias, at);
                        let (pitch, with) = (self.out_pitch, [input, low, high]);
                        if is_fused {
                            dequantize::<MR, NV, true>(
                                &acc,
                                [&scale, &bias],
                                with,
                                out,
                                pitch,
                                count,
                            );
                        } else {
                            dequantize::<MR, NV, false>(
                                &acc,
                                [&scale, &bias],
                                with,
                                out,
                                pitch,
                                count,
                            );
                        }
                    }
                }
            }
            column += LANES * NV;
        }
    }

    /// The sums of `MR` rows and `8 * NV` columns.
    ///
    /// # Safety
    /// As [`Tile::slices`]; `column` is a multiple of `8 * NV` below the panel's width.
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    unsafe fn sums<const MR: usize, const NV: usize>(&self, column: usize) -> [[__m256i; NV]; MR] {
        // of four columns each, the sums of steps 0 and 1 beside those of steps 2 and 3
        let mut halves = [[[_mm256_setzero_si256(); 2]; NV]; MR];
        let step = self.panel.width * DEPTH;
        let mut b = self.weights.as_ptr().wrapping_add(column * DEPTH);
        let mut a = self.a.as_ptr();
        for _ in 0..self.depth {
            let mut w = [[_mm256_setzero_si256(); 2]; NV];
            if MR == 1 {
                // one row is as fast as its weights come
                for line in (0..NV * 32).step_by(64) {
                    _mm_prefetch::<_MM_HINT_T0>(b.wrapping_add(AHEAD * step + line).cast());
                }
            }
            for (i, w) in w.as_flattened_mut().iter_mut().enumerate() {
                // SAFETY: `depth` steps of both sides are there, by the caller's promise.
                *w = unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(b.add(i * 16).cast())) };
            }
            for (r, halves) in halves.iter_mut().enumerate() {
                // SAFETY: as above.
                let x = unsafe { a.add(r * self.pitch).cast::<i64>().read_unaligned() };
                let x = _mm256_set1_epi64x(x);
                for (acc, w) in halves.as_flattened_mut().iter_mut().zip(w.as_flattened()) {
                    *acc = _mm256_add_epi32(*acc, _mm256_madd_epi16(x, *w));
                }
            }
            // one past the last is never read
            a = a.wrapping_add(2 * DEPTH);
            b = b.wrapping_add(step);
        }
        let mut sums = [[_mm256_setzero_si256(); NV]; MR];
        for (sum, [low, high]) in sums
            .as_flattened_mut()
            .iter_mut()
            .zip(halves.as_flattened())
        {
            // columns 0 1 4 5 and 2 3 6 7
            let pairs = _mm256_hadd_epi32(*low, *high);
            *sum = _mm256_permute4x64_epi64::<0b11_01_10_00>(pairs);
        }
        sums
    }
}

/// `NV` vectors of a column section.
///
/// # Safety
/// `section` must have `32 * NV` bytes from `at` on.
#[target_feature(enable = "avx2")]
#[inline]
pub(in crate::gemm) unsafe fn load<const NV: usize>(section: &[u8], at: usize) -> [__m256i; NV] {
    let mut vectors = [_mm256_setzero_si256(); NV];
    for (v, vector) in vectors.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *vector = unsafe { _mm256_loadu_si256(section.as_ptr().add(at + v * 32).cast()) };
    }
    vectors
}

/// `NV` vectors of biases; zeros where there are none.
///
/// # Safety
/// As [`load`] at 0, if `BIASED`.
#[target_feature(enable = "avx2")]
#[inline]
pub(in crate::gemm) unsafe fn load_biases<const NV: usize, const BIASED: bool>(
    biases: &[u8],
) -> [__m256i; NV] {
    if BIASED {
        // SAFETY: the caller's promise.
        unsafe { load(biases, 0) }
    } else {
        [_mm256_setzero_si256(); NV]
    }
}

/// A sum as `f32`, with a bias if `BIASED`.
#[target_feature(enable = "avx2")]
#[inline]
pub(in crate::gemm) fn real<const BIASED: bool>(acc: __m256i, bias: __m256i) -> __m256 {
    let real = _mm256_cvtepi32_ps(acc);
    if BIASED {
        _mm256_add_ps(real, _mm256_castsi256_ps(bias))
    } else {
        real
    }
}

/// Writes `count` columns of each row as `u8`.
///
/// # Safety
/// `out` must be writable for `count` bytes in each of `MR` rows `pitch` bytes apart; if `BIASED`, the biases
/// must have `32 * NV` bytes.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn requantize<const MR: usize, const NV: usize, const BIASED: bool>(
    acc: &[[__m256i; NV]; MR],
    (scale, biases): (&[__m256i; NV], &[u8]),
    narrow: &Narrow,
    out: *mut u8,
    pitch: usize,
    count: usize,
) {
    // SAFETY: the caller's promise.
    let bias = unsafe { load_biases::<NV, BIASED>(biases) };
    let mut bytes = [[0; 32]; VECTORS.div_ceil(4)];
    for (quad, bytes) in bytes.iter_mut().enumerate().take((MR * NV).div_ceil(4)) {
        let mut four = [_mm256_setzero_si256(); 4];
        for (i, rounded) in four.iter_mut().enumerate() {
            let v = (quad * 4 + i).min(MR * NV - 1);
            let x = real::<BIASED>(acc[v / NV][v % NV], bias[v % NV]);
            *rounded = narrow.round(_mm256_mul_ps(x, _mm256_castsi256_ps(scale[v % NV])));
        }
        store(bytes, narrow.bytes(four));
    }
    let bytes = bytes.as_flattened();
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

/// Writes `count` columns of each row as `f32`: in two roundings behind the scale, or in one if `FUSED`.
///
/// # Safety
/// `out` must be writable for `4 * count` bytes in each of `MR` rows `pitch` bytes apart.
#[target_feature(enable = "avx2,fma")]
#[inline]
pub(in crate::gemm) unsafe fn dequantize<const MR: usize, const NV: usize, const FUSED: bool>(
    acc: &[[__m256i; NV]; MR],
    [scale, bias]: [&[__m256i; NV]; 2],
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
            let x = _mm256_cvtepi32_ps(acc[v]);
            let y = if FUSED {
                _mm256_fmadd_ps(x, scale, bias)
            } else {
                _mm256_add_ps(_mm256_mul_ps(x, scale), bias)
            };
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
