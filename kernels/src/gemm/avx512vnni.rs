//! AVX-512 with VNNI: `vpdpbusd` sums four products of `u8 * i8` exactly.
//!
//! Tiles are `MR` rows by `NV` vectors of sixteen columns.

use core::arch::x86_64::*;
use core::ptr;

use super::finish::{Finish, ceiling};
use super::packed::Columns;
use super::panels::{DEPTH, Panel, STEP};
use super::pointers::Pointers;
use super::{Job, Rows, Scratch};

/// Computes the job's part.
///
/// # Safety
/// The CPU must have AVX-512 F, BW, VL, DQ and VNNI. `output` must have the bytes of the job's part,
/// `row` and `block` those of the plan, whose `k` must be the job's.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) unsafe fn run<R: Rows>(
    job: &Job<'_, R>,
    output: &mut [u8],
    row: &mut [u8],
    block: &mut [u8],
    plan: &Scratch,
) {
    let packed = job.packed;
    let depth = packed.panels.depth();
    let mut pointers = Pointers::new(job, row, plan);
    let runs = pointers.runs;
    let mut start = job.part.rows.start;
    while start < job.part.rows.end {
        let rows = (job.part.rows.end - start).min(pointers.most);
        for group in 0..packed.geometry.groups {
            pointers.fill(job, (start, rows), group, row, block, plan);
            for panel in job.panels().map(|index| packed.panels.panel(index)) {
                let vectors = panel.width / STEP;
                let tallest = TALLEST[vectors - 1];
                let mut from = 0;
                // tiles of nearly the same height
                let tiles = rows.div_ceil(tallest);
                for tile in 0..tiles {
                    let to = rows * (tile + 1) / tiles;
                    let at = job.output(start + from, group, panel.column) * job.finish.element();
                    let call = Tile {
                        a: &pointers.table[from..],
                        a_pitch: rows,
                        runs,
                        run_depth: depth / runs,
                        sums: &pointers.sums[from..],
                        weights: &packed.group(group)[panel.start..],
                        panel,
                        columns: packed.columns(group),
                        finish: job.finish,
                        out: &mut output[at..],
                        out_pitch: packed.geometry.out_channels * job.finish.element(),
                    };
                    // SAFETY: the table points to `run_depth` groups for each run of rows
                    // `from..to`: taps of the image or of padding, or a row of the block; the panel
                    // lies in the weights and the part's outputs in `output`.
                    unsafe { call.run(vectors, to - from) };
                    from = to;
                }
            }
        }
        start += rows;
    }
}

/// The tallest tile for each number of vectors: 24 accumulators or fewer, beside the weights and one
/// broadcast.
const TALLEST: [usize; 4] = [12, 12, 8, 6];

/// Some rows of a block times one panel.
struct Tile<'a> {
    /// Row `r` of run `i` at `i * a_pitch + r`.
    a: &'a [*const u8],
    a_pitch: usize,
    runs: usize,
    /// Groups of four in each run.
    run_depth: usize,
    sums: &'a [i32],
    weights: &'a [u8],
    panel: Panel,
    columns: Columns<'a>,
    finish: Finish,
    out: &'a mut [u8],
    out_pitch: usize,
}

impl Tile<'_> {
    /// # Safety
    /// As [`Tile::finish`], for `rows` rows and a panel of `vectors` vectors, at most [`TALLEST`].
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn run(self, vectors: usize, rows: usize) {
        macro_rules! tiles {
            ($($nv:literal: $($mr:literal)*;)*) => {
                match (vectors, rows) {
                    // SAFETY: the caller's promise.
                    $($(($nv, $mr) => unsafe { self.finish::<$mr, $nv>() },)*)*
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

    /// Sums and finishes the tile.
    ///
    /// # Safety
    /// `a` must point to `run_depth` groups for each of `runs` runs of `MR` rows, `weights` have
    /// as many for the panel, which is `16 * NV` columns wide, `out` the panel's columns in `MR` rows.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn finish<const MR: usize, const NV: usize>(self) {
        let at = self.panel.column * 4;
        // SAFETY: the caller's promise; column sections are as wide as the padded panels.
        unsafe {
            let mut init: [__m512i; NV] = load(self.columns.init, at);
            if !matches!(self.finish, Finish::Requantize { .. }) {
                let factor = _mm512_set1_epi32(self.finish.factor());
                for v in &mut init {
                    *v = _mm512_mullo_epi32(*v, factor);
                }
            }
            let mut acc = self.accumulate::<MR, NV>(init);
            if !self.columns.zero_points.is_empty() {
                let zero_points: [__m512i; NV] = load(self.columns.zero_points, at);
                for (acc, sum) in acc.iter_mut().zip(self.sums) {
                    let sum = _mm512_set1_epi32(*sum);
                    for (acc, zp) in acc.iter_mut().zip(zero_points) {
                        *acc = _mm512_sub_epi32(*acc, _mm512_mullo_epi32(sum, zp));
                    }
                }
            }
            let out = self.out.as_mut_ptr();
            let scale: [__m512i; NV] = load(self.columns.scale, at);
            match self.finish {
                Finish::Requantize {
                    zero_point,
                    low,
                    high,
                } => {
                    let bounds = [zero_point, low, high];
                    let biases = self.columns.bias.get(at..).unwrap_or_default();
                    let (pitch, columns) = (self.out_pitch, self.panel.columns);
                    let of = (&scale, biases);
                    if biases.is_empty() {
                        requantize::<MR, NV, false>(&acc, of, bounds, out, pitch, columns);
                    } else {
                        requantize::<MR, NV, true>(&acc, of, bounds, out, pitch, columns);
                    }
                }
                Finish::Dequantize {
                    scale: input,
                    low,
                    high,
                    is_fused,
                    ..
                } => {
                    let bias: [__m512i; NV] = load(self.columns.bias, at);
                    let (pitch, columns) = (self.out_pitch, self.panel.columns);
                    let (of, with) = ([&scale, &bias], [input, low, high]);
                    if is_fused {
                        dequantize::<MR, NV, true>(&acc, of, with, out, pitch, columns);
                    } else {
                        dequantize::<MR, NV, false>(&acc, of, with, out, pitch, columns);
                    }
                }
            }
        }
    }

    /// The sums of the tile, on top of `init`.
    ///
    /// # Safety
    /// As [`Tile::finish`].
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    #[inline]
    unsafe fn accumulate<const MR: usize, const NV: usize>(
        &self,
        init: [__m512i; NV],
    ) -> [[__m512i; NV]; MR] {
        let mut acc = [init; MR];
        // SAFETY: every run has `run_depth` groups on both sides, by the caller's promise.
        unsafe {
            let mut b = self.weights.as_ptr();
            for run in 0..self.runs {
                let mut rows = [ptr::null(); MR];
                for (r, row) in rows.iter_mut().enumerate() {
                    *row = *self.a.as_ptr().add(run * self.a_pitch + r);
                }
                for group in 0..self.run_depth {
                    let w: [__m512i; NV] = load_at(b);
                    for (acc, row) in acc.iter_mut().zip(rows) {
                        let x = row.add(group * DEPTH).cast::<i32>().read_unaligned();
                        let x = _mm512_set1_epi32(x);
                        for (acc, w) in acc.iter_mut().zip(w) {
                            *acc = _mm512_dpbusd_epi32(*acc, x, w);
                        }
                    }
                    b = b.add(NV * 64);
                }
            }
        }
        acc
    }
}

/// `NV` vectors of a column section.
///
/// # Safety
/// `section` must have `64 * NV` bytes from `at` on.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) unsafe fn load<const NV: usize>(section: &[u8], at: usize) -> [__m512i; NV] {
    // SAFETY: the caller's promise.
    unsafe { load_at(section.as_ptr().add(at)) }
}

/// `NV` vectors.
///
/// # Safety
/// `from` must be readable for `64 * NV` bytes.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn load_at<const NV: usize>(from: *const u8) -> [__m512i; NV] {
    let mut vectors = [_mm512_setzero_si512(); NV];
    for (v, vector) in vectors.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *vector = unsafe { _mm512_loadu_si512(from.add(v * 64).cast()) };
    }
    vectors
}

/// Writes `count` columns of each row as `u8`.
///
/// # Safety
/// `out` must be writable for `count` bytes, at most `16 * NV`, in each of `MR` rows `pitch` bytes
/// apart; if `BIASED`, the biases must have `64 * NV` bytes.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
pub(super) unsafe fn requantize<const MR: usize, const NV: usize, const BIASED: bool>(
    acc: &[[__m512i; NV]; MR],
    (scale, biases): (&[__m512i; NV], &[u8]),
    [zero_point, low, high]: [u8; 3],
    out: *mut u8,
    pitch: usize,
    count: usize,
) {
    let bias = if BIASED {
        // SAFETY: the caller's promise.
        unsafe { load(biases, 0) }
    } else {
        [_mm512_setzero_si512(); NV]
    };
    let most = _mm512_set1_ps(ceiling(zero_point));
    let zero_point = _mm512_set1_epi16(i16::from(zero_point));
    let (low, high) = (_mm512_set1_epi8(low as i8), _mm512_set1_epi8(high as i8));
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    let mask = u64::MAX >> (64 - count.clamp(1, 64));
    for (row, acc) in acc.iter().enumerate() {
        let mut four = [_mm512_setzero_si512(); 4];
        for (((rounded, acc), scale), bias) in four.iter_mut().zip(acc).zip(scale).zip(&bias) {
            let mut x = _mm512_cvtepi32_ps(*acc);
            if BIASED {
                x = _mm512_add_ps(x, _mm512_castsi512_ps(*bias));
            }
            let x = _mm512_mul_ps(x, _mm512_castsi512_ps(*scale));
            *rounded = _mm512_cvtps_epi32(_mm512_min_ps(x, most));
        }
        // both packs work on 128-bit quarters: doubleword `4 * i + j` comes out as columns
        // `4 * i..4 * i + 4` of vector `j`
        let ab = _mm512_adds_epi16(_mm512_packs_epi32(four[0], four[1]), zero_point);
        let cd = _mm512_adds_epi16(_mm512_packs_epi32(four[2], four[3]), zero_point);
        let abcd = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(ab, cd));
        let abcd = _mm512_min_epu8(_mm512_max_epu8(abcd, low), high);
        // SAFETY: the caller's promise; masked bytes are not touched.
        unsafe {
            let to = out.add(row * pitch);
            if count == 64 {
                _mm512_storeu_si512(to.cast(), abcd);
            } else {
                _mm512_mask_storeu_epi8(to.cast(), mask, abcd);
            }
        }
    }
}

/// Writes `count` columns of each row as `f32`: in two roundings behind the scale, or in one if `FUSED`.
///
/// # Safety
/// `out` must be writable for `4 * count` bytes, at most `64 * NV`, in each of `MR` rows `pitch`
/// bytes apart.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) unsafe fn dequantize<const MR: usize, const NV: usize, const FUSED: bool>(
    acc: &[[__m512i; NV]; MR],
    [scale, bias]: [&[__m512i; NV]; 2],
    [input, low, high]: [f32; 3],
    out: *mut u8,
    pitch: usize,
    count: usize,
) {
    let (low, high) = (_mm512_set1_ps(low), _mm512_set1_ps(high));
    for v in 0..NV {
        let scale = _mm512_mul_ps(_mm512_set1_ps(input), _mm512_castsi512_ps(scale[v]));
        let bias = _mm512_castsi512_ps(bias[v]);
        let live = count.saturating_sub(v * STEP).min(STEP);
        let mask = ((1u32 << live) - 1) as u16;
        for (row, acc) in acc.iter().enumerate() {
            let x = _mm512_cvtepi32_ps(acc[v]);
            let y = if FUSED {
                _mm512_fmadd_ps(x, scale, bias)
            } else {
                _mm512_add_ps(_mm512_mul_ps(x, scale), bias)
            };
            // both give their second operand where one is NaN
            let y = _mm512_min_ps(high, _mm512_max_ps(low, y));
            // SAFETY: the caller's promise; masked lanes are not touched.
            unsafe { _mm512_mask_storeu_ps(out.add(row * pitch + v * 64).cast(), mask, y) };
        }
    }
}
