//! Many rows: both sides widened to 16 bits once, then tiles of 6 x 16.
//!
//! A slice of 16 columns is widened in the scratch memory to `[k / 2][16][2]`, what `vpmaddwd` takes
//! against two broadcast taps of a row, and serves all rows of the block. The inner loop is left with a
//! multiply and an add for each vector, two weight loads and a broadcast a row.

use core::arch::x86_64::*;

use super::super::finish::Finish;
use super::super::panels::{DEPTH, Panel};
use super::super::{Job, Scratch};
use super::{LANES, dequantize, load, load_biases, narrow, real};
use crate::vector::Narrow;

/// Columns of a slice.
pub(super) const SLICE: usize = 2 * LANES;
/// The tallest tile.
const TALLEST: usize = 6;
/// Bytes of a widened slice of one group of four taps.
const STEP_BYTES: usize = Scratch::SLICE_STEP;

/// A slice of 16 columns, as some form has it in scratch memory.
pub(super) trait Sums: Copy {
    /// The sums of `MR` rows, `pitch` bytes apart, and `NV` vectors of eight columns of the slice, which begin
    /// with `init`.
    ///
    /// # Safety
    /// The CPU must have AVX2. `a` must have the slice's taps in each of `MR` rows, at most [`TALLEST`].
    unsafe fn sums<const MR: usize, const NV: usize>(
        &self,
        a: *const u8,
        pitch: usize,
        init: [__m256i; NV],
    ) -> [[__m256i; NV]; MR];
}

/// A widened slice.
#[derive(Clone, Copy)]
struct Widened<'a> {
    slice: &'a [u8],
    depth: usize,
}

impl Sums for Widened<'_> {
    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn sums<const MR: usize, const NV: usize>(
        &self,
        a: *const u8,
        pitch: usize,
        init: [__m256i; NV],
    ) -> [[__m256i; NV]; MR] {
        // SAFETY: the caller's promise; the slice was widened to `depth` steps.
        unsafe { sums(a, pitch, self.slice.as_ptr(), self.depth, init) }
    }
}

/// The rows of a block.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    /// Bytes of the first and all that follow.
    pub(super) a: &'a [u8],
    /// Bytes from row to row.
    pub(super) pitch: usize,
    /// The sum of each where weights have zero points, else 0.
    pub(super) sums: &'a [i32],
    /// Whether they lie in bytes, as [`narrow`] takes them; else they were widened.
    pub(super) is_narrow: bool,
}

/// A block of rows times all of a job's panels in one group.
///
/// # Safety
/// The CPU must have AVX2, FMA and F16C. Each row of the block must have the taps of the job, up to whole
/// steps; if they were not widened, no pair of weights may saturate (`Packed::is_narrow`). `slice` must have
/// `STEP_BYTES` for each step, `output` the bytes of the job's part, in which the block begins with row `start`.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn group<R>(
    job: &Job<'_, R>,
    group: usize,
    start: usize,
    block: Block<'_>,
    slice: &mut [u8],
    output: &mut [u8],
) {
    let packed = job.packed;
    let (columns, weights) = (packed.columns(group), packed.group(group));
    let depth = packed.panels.depth();
    let element = job.finish.element();
    let pitch = packed.geometry.out_channels * element;
    for panel in job.panels().map(|index| packed.panels.panel(index)) {
        for column in (0..panel.columns).step_by(SLICE) {
            let from = &weights[panel.start + column * DEPTH..];
            let at = (panel.column + column) * 4;
            // SAFETY: column sections are as wide as the padded panels.
            let mut init: [__m256i; 2] = unsafe { load(columns.init, at) };
            // SAFETY: as above.
            let scale: [__m256i; 2] = unsafe { load(columns.scale, at) };
            if !matches!(job.finish, Finish::Requantize { .. }) {
                let factor = _mm256_set1_epi32(job.finish.factor());
                for v in &mut init {
                    *v = _mm256_mullo_epi32(*v, factor);
                }
            }
            let zero_points = if columns.zero_points.is_empty() {
                None
            } else {
                // SAFETY: as above.
                Some(unsafe { load(columns.zero_points, at) })
            };
            let call = Slice {
                init,
                scale,
                biases: columns.bias.get(at..).unwrap_or_default(),
                zero_points,
                finish: job.finish,
                count: (panel.columns - column).min(SLICE),
                pitch,
            };
            let out = job.output(start, group, panel.column + column) * element;
            let output = &mut output[out..];
            // SAFETY: the panel has 16 columns from `column` on, as its width is a multiple of that; the
            // block is as the caller promises, and its outputs lie in `output`.
            unsafe {
                if block.is_narrow {
                    let slice = narrow::slice(from, &panel, depth, slice);
                    call.block(slice, block, output);
                } else {
                    widen_slice(from, &panel, depth, slice);
                    call.block(Widened { slice, depth }, block, output);
                }
            }
        }
    }
}

/// Widens 16 columns of a panel: from `[k / 4][width][4]` bytes to `[k / 2][16][2]` words.
///
/// # Safety
/// `from` must have 64 bytes at each of `depth` steps of the panel's width, `to` 128 for each.
#[target_feature(enable = "avx2")]
unsafe fn widen_slice(from: &[u8], panel: &Panel, depth: usize, to: &mut [u8]) {
    let (mut from, mut to) = (from.as_ptr(), to.as_mut_ptr());
    for _ in 0..depth {
        for half in 0..2 {
            // SAFETY: the caller's promise.
            unsafe {
                let four = |at: usize| {
                    _mm256_cvtepi8_epi16(_mm_loadu_si128(from.add(half * 32 + at).cast()))
                };
                let [first, second] = pairs(four(0), four(16));
                _mm256_storeu_si256(to.add(half * 32).cast(), first);
                _mm256_storeu_si256(to.add(64 + half * 32).cast(), second);
            }
        }
        from = from.wrapping_add(panel.width * DEPTH);
        to = to.wrapping_add(STEP_BYTES);
    }
}

/// The first and the second pair of taps of eight columns, from the four taps of columns `0 1 | 2 3` and
/// `4 5 | 6 7`.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn pairs(low: __m256i, high: __m256i) -> [__m256i; 2] {
    let (low, high) = (_mm256_castsi256_ps(low), _mm256_castsi256_ps(high));
    let first = _mm256_shuffle_ps::<0b10_00_10_00>(low, high);
    let second = _mm256_shuffle_ps::<0b11_01_11_01>(low, high);
    [first, second].map(|pairs| {
        // the shuffles work within 128-bit lanes
        _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_castps_si256(pairs))
    })
}

/// Two taps of each row times 16 columns: `$at` bytes into the row, `$b` into the weights.
macro_rules! pair {
    ($at:literal, $b:literal, $($row:literal $low:ident $high:ident),+) => {
        concat!(
            "vmovdqu {w}, ymmword ptr [{b} + ", $b, "]\n",
            "vmovdqu {v}, ymmword ptr [{b} + ", $b, " + 32]\n",
            $(
                "vpbroadcastd {x}, dword ptr [", $row, " + ", $at, "]\n",
                "vpmaddwd {t}, {x}, {w}\n",
                "vpmaddwd {x}, {x}, {v}\n",
                "vpaddd {", stringify!($low), "}, {", stringify!($low), "}, {t}\n",
                "vpaddd {", stringify!($high), "}, {", stringify!($high), "}, {x}\n",
            )+
        )
    };
}

/// The loop of [`sums`] for a tall tile, in just the sixteen registers there are: a compiler that moves
/// loads ahead spills two of the sums.
macro_rules! tall {
    ($a:ident, $pitch:ident, $b:ident, $depth:ident, $acc:ident,
     $($index:literal $row:literal $low:ident $high:ident),+) => {
        core::arch::asm!(
            "2:",
            pair!("0", "0", $($row $low $high),+),
            pair!("4", "64", $($row $low $high),+),
            "add {a}, 8",
            "add {d}, 8",
            "sub {b}, -128",
            "dec {n}",
            "jnz 2b",
            a = inout(reg) $a => _,
            d = inout(reg) $a.wrapping_add(3 * $pitch) => _,
            p = in(reg) $pitch,
            b = inout(reg) $b => _,
            n = inout(reg) $depth => _,
            w = out(ymm_reg) _,
            v = out(ymm_reg) _,
            x = out(ymm_reg) _,
            t = out(ymm_reg) _,
            $(
                $low = inout(ymm_reg) $acc[$index][0],
                $high = inout(ymm_reg) $acc[$index][1],
            )+
            options(readonly, nostack),
        )
    };
}

/// The sums of `MR` widened rows, `pitch` bytes apart, and `NV` vectors of eight columns of a slice.
///
/// # Safety
/// `a` must have `8 * depth` readable bytes in each of `MR` rows, `b` `128 * depth`.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) unsafe fn sums<const MR: usize, const NV: usize>(
    a: *const u8,
    pitch: usize,
    b: *const u8,
    depth: usize,
    init: [__m256i; NV],
) -> [[__m256i; NV]; MR] {
    let mut acc = [init; MR];
    if depth == 0 {
        return acc;
    }
    // SAFETY: the caller's promise: `depth` steps of both sides are there.
    unsafe {
        if MR == 6 && NV == 2 {
            tall!(
                a, pitch, b, depth, acc,
                0 "{a}" a0 b0, 1 "{a} + {p}" a1 b1, 2 "{a} + 2*{p}" a2 b2,
                3 "{d}" a3 b3, 4 "{d} + {p}" a4 b4, 5 "{d} + 2*{p}" a5 b5
            );
            return acc;
        }
        if MR == 5 && NV == 2 {
            tall!(
                a, pitch, b, depth, acc,
                0 "{a}" a0 b0, 1 "{a} + {p}" a1 b1, 2 "{a} + 2*{p}" a2 b2,
                3 "{d}" a3 b3, 4 "{d} + {p}" a4 b4
            );
            return acc;
        }
    }
    let (mut a, mut b) = (a, b);
    for _ in 0..depth {
        for pair in 0..2 {
            let mut w = [_mm256_setzero_si256(); NV];
            for (v, w) in w.iter_mut().enumerate() {
                // SAFETY: the caller's promise.
                *w = unsafe { _mm256_loadu_si256(b.add(pair * 64 + v * 32).cast()) };
            }
            for (r, acc) in acc.iter_mut().enumerate() {
                // SAFETY: as above.
                let x = unsafe { a.add(r * pitch + pair * 4).cast::<i32>().read_unaligned() };
                let x = _mm256_set1_epi32(x);
                for (acc, w) in acc.iter_mut().zip(w) {
                    *acc = _mm256_add_epi32(*acc, _mm256_madd_epi16(x, w));
                }
            }
        }
        // one past the last is never read
        a = a.wrapping_add(2 * DEPTH);
        b = b.wrapping_add(STEP_BYTES);
    }
    acc
}

/// What the columns of a slice begin and end with.
struct Slice<'a> {
    init: [__m256i; 2],
    scale: [__m256i; 2],
    /// Of the slice's columns, if any.
    biases: &'a [u8],
    zero_points: Option<[__m256i; 2]>,
    finish: Finish,
    /// Columns that exist.
    count: usize,
    pitch: usize,
}

impl Slice<'_> {
    /// # Safety
    /// Each row of the block must have the slice's taps, and `output` the slice's columns in each row.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn block<S: Sums>(&self, slice: S, block: Block<'_>, output: &mut [u8]) {
        let rows = block.sums.len();
        // tiles of nearly the same height
        let tiles = rows.div_ceil(TALLEST);
        let mut from = 0;
        for tile in 0..tiles {
            let to = rows * (tile + 1) / tiles;
            let a = &block.a[from * block.pitch..];
            let out = &mut output[from * self.pitch..];
            // SAFETY: the caller's promise for rows `from..to`.
            unsafe { self.rows(slice, a, block.pitch, &block.sums[from..to], out) };
            from = to;
        }
    }

    /// # Safety
    /// `a` must have the slice's taps in a row for each of `sums`, at most [`TALLEST`], `a_pitch` bytes
    /// apart; `out` the slice's columns in each row.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn rows<S: Sums>(
        &self,
        slice: S,
        a: &[u8],
        a_pitch: usize,
        sums: &[i32],
        out: &mut [u8],
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            match (sums.len(), self.count > LANES) {
                (1, _) => self.tile::<S, 1, 2>(slice, a, a_pitch, sums, out),
                (2, _) => self.tile::<S, 2, 2>(slice, a, a_pitch, sums, out),
                (3, _) => self.tile::<S, 3, 2>(slice, a, a_pitch, sums, out),
                (4, _) => self.tile::<S, 4, 2>(slice, a, a_pitch, sums, out),
                (5, true) => self.tile::<S, 5, 2>(slice, a, a_pitch, sums, out),
                (5, false) => self.tile::<S, 5, 1>(slice, a, a_pitch, sums, out),
                (_, true) => self.tile::<S, 6, 2>(slice, a, a_pitch, sums, out),
                (_, false) => self.tile::<S, 6, 1>(slice, a, a_pitch, sums, out),
            }
        }
    }

    /// # Safety
    /// As [`Slice::rows`] for `MR` rows; `NV` vectors hold the slice's columns.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn tile<S: Sums, const MR: usize, const NV: usize>(
        &self,
        slice: S,
        a: &[u8],
        a_pitch: usize,
        row_sums: &[i32],
        out: &mut [u8],
    ) {
        let of = |vectors: &[__m256i; 2]| core::array::from_fn(|v| vectors[v]);
        // SAFETY: the caller's promise.
        let mut acc = unsafe { slice.sums::<MR, NV>(a.as_ptr(), a_pitch, of(&self.init)) };
        if let Some(zero_points) = &self.zero_points {
            for (acc, sum) in acc.iter_mut().zip(row_sums) {
                let sum = _mm256_set1_epi32(*sum);
                for (acc, zp) in acc.iter_mut().zip(zero_points) {
                    *acc = _mm256_sub_epi32(*acc, _mm256_mullo_epi32(sum, *zp));
                }
            }
        }
        let (scale, out) = (of(&self.scale), out.as_mut_ptr());
        // SAFETY: as above.
        unsafe {
            match self.finish {
                Finish::Requantize {
                    zero_point,
                    low,
                    high,
                } => {
                    let narrow = Narrow::new(zero_point, low, high);
                    let (pitch, count, of) = (self.pitch, self.count, (&scale, self.biases));
                    if self.biases.is_empty() {
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
                    let bias: [__m256i; NV] = load(self.biases, 0);
                    let (pitch, count, with) = (self.pitch, self.count, [input, low, high]);
                    if is_fused {
                        dequantize::<MR, NV, true>(&acc, [&scale, &bias], with, out, pitch, count);
                    } else {
                        dequantize::<MR, NV, false>(&acc, [&scale, &bias], with, out, pitch, count);
                    }
                }
            }
        }
    }
}

/// Writes `count` columns of each row as `u8`, two rows at a time.
///
/// # Safety
/// `out` must be writable for `count` bytes, at most `8 * NV`, in each of `MR` rows `pitch` bytes apart; if
/// `BIASED`, the biases must have `32 * NV` bytes.
#[target_feature(enable = "avx2")]
#[inline]
pub(in crate::gemm) unsafe fn requantize<const MR: usize, const NV: usize, const BIASED: bool>(
    acc: &[[__m256i; NV]; MR],
    (scale, biases): (&[__m256i; NV], &[u8]),
    narrow: &Narrow,
    out: *mut u8,
    pitch: usize,
    count: usize,
) {
    // SAFETY: the caller's promise.
    let bias = unsafe { load_biases::<NV, BIASED>(biases) };
    let pair = |row: usize| {
        let rounded = |row: usize, v: usize| {
            let x = real::<BIASED>(acc[row][v], bias[v]);
            narrow.round(_mm256_mul_ps(x, _mm256_castsi256_ps(scale[v])))
        };
        let (other, last) = ((row + 1).min(MR - 1), NV - 1);
        let bytes = narrow.bytes([
            rounded(row, 0),
            rounded(row, last),
            rounded(other, 0),
            rounded(other, last),
        ]);
        [
            _mm256_castsi256_si128(bytes),
            _mm256_extracti128_si256::<1>(bytes),
        ]
    };
    if count == NV * LANES {
        for row in (0..MR).step_by(2) {
            for (next, bytes) in pair(row).into_iter().enumerate() {
                if row + next < MR {
                    // SAFETY: the caller's promise.
                    unsafe { put::<NV>(bytes, out.add((row + next) * pitch)) };
                }
            }
        }
    } else {
        // copied when no register is needed any more: a copy of any length is a call
        let mut all = [[0u8; 16]; TALLEST + 1];
        for row in (0..MR).step_by(2) {
            for (next, bytes) in pair(row).into_iter().enumerate() {
                // SAFETY: the row has 16 bytes.
                unsafe { put::<2>(bytes, all[row + next].as_mut_ptr()) };
            }
        }
        for (row, bytes) in all.iter().enumerate().take(MR) {
            // SAFETY: the caller's promise.
            unsafe {
                out.add(row * pitch)
                    .copy_from_nonoverlapping(bytes.as_ptr(), count);
            }
        }
    }
}

/// Writes the first `8 * NV` bytes.
///
/// # Safety
/// `to` must be writable for as many.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) unsafe fn put<const NV: usize>(bytes: __m128i, to: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe {
        if NV == 1 {
            _mm_storel_epi64(to.cast(), bytes);
        } else {
            _mm_storeu_si128(to.cast(), bytes);
        }
    }
}
