//! AVX2 with AVX-VNNI: `vpdpbusd` on 256-bit vectors sums four products of `u8 * i8` exactly.
//!
//! Tiles are up to six rows by sixteen columns; one row takes a whole panel.

use core::arch::x86_64::*;
use core::ptr;

use super::avx2::{dequantize, load, requantize_rows};
use super::finish::Finish;
use super::packed::Columns;
use super::panels::{DEPTH, Panel};
use super::pointers::Pointers;
use super::{Job, PANEL, Rows, Scratch};
use crate::vector::Narrow;

/// Columns of a vector.
const LANES: usize = 8;
/// The tallest tile.
const TALLEST: usize = 6;

/// Computes the job's part.
///
/// # Safety
/// The CPU must have AVX2, FMA, F16C and AVX-VNNI. `output` must have the bytes of the job's part, `row`
/// and `block` those of the plan, whose `k` must be the job's.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
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
                let mut from = 0;
                // tiles of nearly the same height
                let tiles = rows.div_ceil(TALLEST);
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
    /// `a` must point to `run_depth` groups for each of `runs` runs of `rows` rows, at most [`TALLEST`],
    /// `weights` have as many for the panel, `out` the panel's columns in `rows` rows.
    #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
    unsafe fn run(mut self, rows: usize) {
        // SAFETY: the caller's promise; the panel's width is a multiple of 16.
        unsafe {
            match rows {
                1 if self.panel.width == PANEL => self.slices::<1, 8>(),
                1 => self.slices::<1, 2>(),
                2 => self.slices::<2, 2>(),
                3 => self.slices::<3, 2>(),
                4 => self.slices::<4, 2>(),
                5 => self.slices::<5, 2>(),
                _ => self.slices::<6, 2>(),
            }
        }
    }

    /// All columns, `8 * NV` at a time.
    ///
    /// # Safety
    /// As [`Tile::run`] for `MR` rows; the panel's width is a multiple of `8 * NV`, and `NV` is even.
    #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
    unsafe fn slices<const MR: usize, const NV: usize>(&mut self) {
        for column in (0..self.panel.columns).step_by(LANES * NV) {
            // SAFETY: the caller's promise.
            let acc = unsafe { self.accumulate::<MR, NV>(column) };
            for pair in 0..NV / 2 {
                let column = column + pair * 2 * LANES;
                if column < self.panel.columns {
                    let acc = acc.map(|row| [row[2 * pair], row[2 * pair + 1]]);
                    // SAFETY: as above; the panel is 16 columns wide from `column` on.
                    unsafe { self.finish(column, acc) };
                }
            }
        }
    }

    /// The sums of `MR` rows and `8 * NV` columns.
    ///
    /// # Safety
    /// As [`Tile::slices`]; `column` is a multiple of `8 * NV` below the panel's width.
    #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
    #[inline]
    unsafe fn accumulate<const MR: usize, const NV: usize>(
        &self,
        column: usize,
    ) -> [[__m256i; NV]; MR] {
        let mut acc = [[_mm256_setzero_si256(); NV]; MR];
        let mut b = self.weights.as_ptr().wrapping_add(column * DEPTH);
        for run in 0..self.runs {
            let mut rows = [ptr::null(); MR];
            rows.copy_from_slice(&self.a[run * self.a_pitch..][..MR]);
            for group in 0..self.run_depth {
                // SAFETY: every run has `run_depth` groups on both sides, by the caller's promise.
                let w: [__m256i; NV] = unsafe { load_at(b) };
                for (acc, row) in acc.iter_mut().zip(rows) {
                    // SAFETY: as above.
                    let x = unsafe { row.add(group * DEPTH).cast::<i32>().read_unaligned() };
                    let x = _mm256_set1_epi32(x);
                    for (acc, w) in acc.iter_mut().zip(w) {
                        *acc = _mm256_dpbusd_avx_epi32(*acc, x, w);
                    }
                }
                // one past the last is never read
                b = b.wrapping_add(self.panel.width * DEPTH);
            }
        }
        acc
    }

    /// From sums to the output, sixteen columns from `column` on.
    ///
    /// # Safety
    /// `out` must have the panel's columns in `MR` rows; the panel is 16 columns wide from `column` on.
    #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
    #[inline]
    unsafe fn finish<const MR: usize>(&mut self, column: usize, mut acc: [[__m256i; 2]; MR]) {
        let at = (self.panel.column + column) * 4;
        let count = (self.panel.columns - column).min(2 * LANES);
        // SAFETY: the caller's promise; column sections are as wide as the padded panels.
        unsafe {
            let mut init: [__m256i; 2] = load(self.columns.init, at);
            if !matches!(self.finish, Finish::Requantize { .. }) {
                let factor = _mm256_set1_epi32(self.finish.factor());
                for v in &mut init {
                    *v = _mm256_mullo_epi32(*v, factor);
                }
            }
            for acc in &mut acc {
                for (acc, init) in acc.iter_mut().zip(init) {
                    *acc = _mm256_add_epi32(*acc, init);
                }
            }
            if !self.columns.zero_points.is_empty() {
                let zero_points: [__m256i; 2] = load(self.columns.zero_points, at);
                for (acc, sum) in acc.iter_mut().zip(self.sums) {
                    let sum = _mm256_set1_epi32(*sum);
                    for (acc, zp) in acc.iter_mut().zip(zero_points) {
                        *acc = _mm256_sub_epi32(*acc, _mm256_mullo_epi32(sum, zp));
                    }
                }
            }
            let out = self.out.as_mut_ptr().add(column * self.finish.element());
            let scale: [__m256i; 2] = load(self.columns.scale, at);
            match self.finish {
                Finish::Requantize {
                    zero_point,
                    low,
                    high,
                } => {
                    let narrow = Narrow::new(zero_point, low, high);
                    let biases = self.columns.bias.get(at..).unwrap_or_default();
                    let (pitch, of) = (self.out_pitch, (&scale, biases));
                    if biases.is_empty() {
                        requantize_rows::<MR, 2, false>(&acc, of, &narrow, out, pitch, count);
                    } else {
                        requantize_rows::<MR, 2, true>(&acc, of, &narrow, out, pitch, count);
                    }
                }
                Finish::Dequantize {
                    scale: input,
                    low,
                    high,
                    is_fused,
                    ..
                } => {
                    let bias: [__m256i; 2] = load(self.columns.bias, at);
                    let (pitch, with) = (self.out_pitch, [input, low, high]);
                    if is_fused {
                        dequantize::<MR, 2, true>(&acc, [&scale, &bias], with, out, pitch, count);
                    } else {
                        dequantize::<MR, 2, false>(&acc, [&scale, &bias], with, out, pitch, count);
                    }
                }
            }
        }
    }
}

/// `NV` vectors.
///
/// # Safety
/// `from` must be readable for `32 * NV` bytes.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn load_at<const NV: usize>(from: *const u8) -> [__m256i; NV] {
    let mut vectors = [_mm256_setzero_si256(); NV];
    for (v, vector) in vectors.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *vector = unsafe { _mm256_loadu_si256(from.add(v * 32).cast()) };
    }
    vectors
}
