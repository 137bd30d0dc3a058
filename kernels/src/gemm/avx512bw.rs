//! AVX-512 without a dot-product instruction, exact: as AVX2, on vectors twice as wide.
//!
//! Rows are widened to 16 bits once per block, weights as they are loaded, eight columns to a vector.
//! `vpmaddwd` gives each column two sums of two products; they meet at the end. Tiles are up to twelve
//! rows by sixteen columns.

use core::arch::x86_64::*;

use super::avx2::widen;
use super::avx512vnni::{dequantize, load, requantize};
use super::finish::Finish;
use super::packed::Columns;
use super::panels::{DEPTH, Panel, STEP};
use super::{BLOCK, Job, Rows, Scratch};

/// The tallest tile: 24 accumulators, beside two vectors of weights and a broadcast.
const TALLEST: usize = 12;

/// Computes the job's part.
///
/// # Safety
/// The CPU must have AVX2 and AVX-512 F, BW, VL and DQ. `output` must have the bytes of the job's part,
/// `row` and `block` those of the plan, whose `k` must be the job's.
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512dq")]
pub(super) unsafe fn run<R: Rows>(
    job: &Job<'_, R>,
    output: &mut [u8],
    row: &mut [u8],
    block: &mut [u8],
    plan: &Scratch,
) {
    let packed = job.packed;
    let asymmetric = !packed.columns(0).zero_points.is_empty();
    let mut sums = [0i32; BLOCK];
    let mut start = job.part.rows.start;
    while start < job.part.rows.end {
        let rows = (job.part.rows.end - start).min(plan.block);
        for group in 0..packed.geometry.groups {
            for (r, wide) in block.chunks_exact_mut(plan.pitch).take(rows).enumerate() {
                let a = job.rows.row(start + r, group, packed.panels.k, row);
                if asymmetric {
                    sums[r] = a.iter().map(|x| i32::from(*x)).sum();
                }
                widen(a, wide);
            }
            for panel in job.panels().map(|index| packed.panels.panel(index)) {
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
                        weights: &packed.group(group)[panel.start..],
                        panel,
                        columns: packed.columns(group),
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
    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512dq")]
    unsafe fn run(self, rows: usize) {
        macro_rules! tiles {
            ($($mr:literal)*) => {
                match rows {
                    // SAFETY: the caller's promise.
                    $($mr => unsafe { self.slices::<$mr>() },)*
                    _ => {}
                }
            };
        }
        tiles! { 1 2 3 4 5 6 7 8 9 10 11 12 }
    }

    /// All columns, sixteen at a time.
    ///
    /// # Safety
    /// `a` must have `depth` groups in each of `MR` rows, `weights` as many for the panel's width, `out`
    /// the panel's columns in `MR` rows.
    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512dq")]
    unsafe fn slices<const MR: usize>(self) {
        for column in (0..self.panel.columns).step_by(STEP) {
            let at = (self.panel.column + column) * 4;
            let count = (self.panel.columns - column).min(STEP);
            // SAFETY: the caller's promise; column sections are as wide as the padded panels, which are
            // multiples of 16.
            unsafe {
                let [mut init]: [__m512i; 1] = load(self.columns.init, at);
                if !matches!(self.finish, Finish::Requantize { .. }) {
                    init = _mm512_mullo_epi32(init, _mm512_set1_epi32(self.finish.factor()));
                }
                let mut acc = self.sums::<MR>(column);
                for [acc] in &mut acc {
                    *acc = _mm512_add_epi32(*acc, init);
                }
                if !self.columns.zero_points.is_empty() {
                    let [zero_points]: [__m512i; 1] = load(self.columns.zero_points, at);
                    for ([acc], sum) in acc.iter_mut().zip(self.sums) {
                        let product = _mm512_mullo_epi32(_mm512_set1_epi32(*sum), zero_points);
                        *acc = _mm512_sub_epi32(*acc, product);
                    }
                }
                let out = self.out.as_mut_ptr().add(column * self.finish.element());
                let scale: [__m512i; 1] = load(self.columns.scale, at);
                match self.finish {
                    Finish::Requantize {
                        zero_point,
                        low,
                        high,
                    } => {
                        let bounds = [zero_point, low, high];
                        let biases = self.columns.bias.get(at..).unwrap_or_default();
                        let (pitch, of) = (self.out_pitch, (&scale, biases));
                        if biases.is_empty() {
                            requantize::<MR, 1, false>(&acc, of, bounds, out, pitch, count);
                        } else {
                            requantize::<MR, 1, true>(&acc, of, bounds, out, pitch, count);
                        }
                    }
                    Finish::Dequantize {
                        scale: input,
                        low,
                        high,
                        is_fused,
                        ..
                    } => {
                        let bias: [__m512i; 1] = load(self.columns.bias, at);
                        let (of, with) = ([&scale, &bias], [input, low, high]);
                        let pitch = self.out_pitch;
                        if is_fused {
                            dequantize::<MR, 1, true>(&acc, of, with, out, pitch, count);
                        } else {
                            dequantize::<MR, 1, false>(&acc, of, with, out, pitch, count);
                        }
                    }
                }
            }
        }
    }

    /// The sums of `MR` rows and sixteen columns.
    ///
    /// # Safety
    /// As [`Tile::slices`]; `column` is a multiple of 16 below the panel's width.
    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512dq")]
    #[inline]
    unsafe fn sums<const MR: usize>(&self, column: usize) -> [[__m512i; 1]; MR] {
        // of eight columns each, the sums of steps 0 and 1 beside those of steps 2 and 3
        let mut halves = [[_mm512_setzero_si512(); 2]; MR];
        let mut b = self.weights.as_ptr().wrapping_add(column * DEPTH);
        let mut a = self.a.as_ptr();
        for _ in 0..self.depth {
            let mut w = [_mm512_setzero_si512(); 2];
            for (i, w) in w.iter_mut().enumerate() {
                // SAFETY: `depth` steps of both sides are there, by the caller's promise.
                *w = unsafe { _mm512_cvtepi8_epi16(_mm256_loadu_si256(b.add(i * 32).cast())) };
            }
            for (r, halves) in halves.iter_mut().enumerate() {
                // SAFETY: as above.
                let x = unsafe { a.add(r * self.pitch).cast::<i64>().read_unaligned() };
                let x = _mm512_set1_epi64(x);
                for (acc, w) in halves.iter_mut().zip(w) {
                    *acc = _mm512_add_epi32(*acc, _mm512_madd_epi16(x, w));
                }
            }
            // one past the last is never read
            a = a.wrapping_add(2 * DEPTH);
            b = b.wrapping_add(self.panel.width * DEPTH);
        }
        let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
        let odd = _mm512_or_si512(even, _mm512_set1_epi32(1));
        let mut sums = [[_mm512_setzero_si512()]; MR];
        for ([sum], [low, high]) in sums.iter_mut().zip(halves) {
            *sum = _mm512_add_epi32(
                _mm512_permutex2var_epi32(low, even, high),
                _mm512_permutex2var_epi32(low, odd, high),
            );
        }
        sums
    }
}
