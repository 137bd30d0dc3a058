//! Tiles of up to six rows by sixteen columns; one row takes four slices at once, so that eight chains run beside
//! each other. Where there are many rows, blocks of a slice are made floats in the scratch memory first and serve
//! all of them.

use core::arch::x86_64::*;

use super::{BLOCK, Job, SLICE, STEPS, TALLEST, WIDE_ROWS};
use crate::float::product::avx2::six_rows;

const LANES: usize = 8;

/// Computes the job.
///
/// # Safety
/// The CPU must have AVX2 and FMA; the blob's sections must have the lengths that its shape says, `x` as many
/// prepared rows as the job has, at most [`BLOCK`], and `output` its rows of the slices' columns; `wide` has sixteen
/// floats for each step of a block, or none.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn run(job: &Job<'_>, output: &mut [u8], wide: &mut [u8]) {
    // SAFETY: the caller's promise.
    unsafe {
        if job.packed.shape.is_nibbles {
            all::<true>(job, output, wide);
        } else {
            all::<false>(job, output, wide);
        }
    }
}

/// # Safety
/// As [`run`]; `NIBBLES` must be what the shape says.
#[target_feature(enable = "avx2,fma")]
unsafe fn all<const NIBBLES: bool>(job: &Job<'_>, output: &mut [u8], wide: &mut [u8]) {
    if job.rows >= WIDE_ROWS && !wide.is_empty() {
        for slice in job.slices.clone() {
            // SAFETY: the caller's promise; there are rows for more than one tile.
            unsafe { wide_slice::<NIBBLES>(job, output, slice, wide) };
        }
        return;
    }
    // tiles of nearly the same height
    let tiles = job.rows.div_ceil(TALLEST);
    let mut slice = job.slices.start;
    while slice < job.slices.end {
        let several = job.rows == 1 && job.slices.end - slice >= 4;
        let mut from = 0;
        for tile in 0..tiles {
            let to = job.rows * (tile + 1) / tiles;
            // SAFETY: rows `from..to` are the job's, and so are the slices.
            unsafe {
                match to - from {
                    1 if several => tile_of::<NIBBLES, 1, 4>(job, output, from, slice),
                    1 => tile_of::<NIBBLES, 1, 1>(job, output, from, slice),
                    2 => tile_of::<NIBBLES, 2, 1>(job, output, from, slice),
                    3 => tile_of::<NIBBLES, 3, 1>(job, output, from, slice),
                    4 => tile_of::<NIBBLES, 4, 1>(job, output, from, slice),
                    5 => tile_of::<NIBBLES, 5, 1>(job, output, from, slice),
                    _ => tile_of::<NIBBLES, 6, 1>(job, output, from, slice),
                }
            }
            from = to;
        }
        slice += if several { 4 } else { 1 };
    }
}

/// Sums of `MR` rows and `NS` slices.
type Sums<const MR: usize, const NS: usize> = [[[__m256; 2]; NS]; MR];

/// # Safety
/// As [`run`]; the job must have rows `row..row + MR` and slices `slice..slice + NS`.
#[target_feature(enable = "avx2,fma")]
unsafe fn tile_of<const NIBBLES: bool, const MR: usize, const NS: usize>(
    job: &Job<'_>,
    output: &mut [u8],
    row: usize,
    slice: usize,
) {
    let shape = &job.packed.shape;
    let (blocks, bytes) = (shape.blocks(), shape.slice_bytes());
    let pitch = shape.prepared();
    let x: *const f32 = job.x[row * pitch * 4..].as_ptr().cast();
    let weight = job.packed.weight[slice * bytes..].as_ptr();
    let mut total: Sums<MR, NS> = [[[_mm256_setzero_ps(); 2]; NS]; MR];
    for block in 0..blocks {
        let steps = shape.block_steps(block);
        // SAFETY: the steps lie in the rows and in each slice; rows and slices are the job's.
        unsafe {
            let zeros = zero_points(job, slice, block);
            let x = x.add(steps.start);
            let acc: Sums<MR, NS> = if NIBBLES {
                let from = weight.add(steps.start / STEPS * SLICE * 4);
                nibbles(x, pitch, from, bytes, steps.len() / STEPS)
            } else {
                let from = weight.add(steps.start * SLICE);
                whole_bytes(x, pitch, from, bytes, steps.len(), &zeros)
            };
            add::<NIBBLES, MR, NS>(job, [row, slice, block], &zeros, acc, &mut total);
        }
    }
    // SAFETY: the caller's promise.
    unsafe { finish(job, output, row, slice, &total) }
}

/// A slice of as many rows as the job has.
///
/// # Safety
/// As [`run`]; there must be six rows at least, the slice must be the job's, and `wide` must not be empty.
#[target_feature(enable = "avx2,fma")]
unsafe fn wide_slice<const NIBBLES: bool>(
    job: &Job<'_>,
    output: &mut [u8],
    slice: usize,
    wide: &mut [u8],
) {
    let shape = &job.packed.shape;
    let pitch = shape.prepared();
    let weight = &job.packed.weight[slice * shape.slice_bytes()..];
    let mut totals: [Sums<TALLEST, 1>; BLOCK / TALLEST] =
        [[[[_mm256_setzero_ps(); 2]; 1]; TALLEST]; BLOCK / TALLEST];
    let tiles = job.rows.div_ceil(TALLEST).min(totals.len());
    // the last tile may compute rows of the one before again
    let first = |tile: usize| (tile * TALLEST).min(job.rows - TALLEST);
    let most = (wide.len() / (SLICE * 4) / shape.block).max(1);
    let blocks = shape.blocks();
    for block in (0..blocks).step_by(most) {
        let some = block..(block + most).min(blocks);
        let start = shape.block_steps(block).start;
        for block in some.clone() {
            let steps = shape.block_steps(block);
            let to = wide[(steps.start - start) * SLICE * 4..]
                .as_mut_ptr()
                .cast();
            // SAFETY: the block's steps lie in the slice, and its floats in `wide`.
            unsafe {
                if NIBBLES {
                    let from = weight[steps.start / STEPS * SLICE * 4..].as_ptr();
                    widen_nibbles(from, steps.len() / STEPS, to);
                } else {
                    let zeros: Zeros<1> = zero_points(job, slice, block);
                    let from = weight[steps.start * SLICE..].as_ptr();
                    widen_bytes(from, steps.len(), &zeros, to);
                }
            }
        }
        for (tile, total) in totals.iter_mut().enumerate().take(tiles) {
            let row = first(tile);
            for block in some.clone() {
                let steps = shape.block_steps(block);
                let x = job.x[(row * pitch + steps.start) * 4..].as_ptr();
                let from = wide[(steps.start - start) * SLICE * 4..].as_ptr();
                // SAFETY: the block's floats are in `wide`, and the rows of each tile in `x`.
                unsafe {
                    let zeros: Zeros<1> = zero_points(job, slice, block);
                    let acc = six_rows(x, pitch * 4, from, steps.len());
                    let acc = acc.map(|row| [row]);
                    add::<NIBBLES, TALLEST, 1>(job, [row, slice, block], &zeros, acc, total);
                }
            }
        }
    }
    for (tile, total) in totals.iter().enumerate().take(tiles) {
        // SAFETY: the caller's promise.
        unsafe { finish(job, output, first(tile), slice, total) }
    }
}

/// Makes weights in 4 bits floats, each as large as its place in the word makes it.
///
/// # Safety
/// `from` must have as many words of sixteen columns, `to` sixteen floats for each step.
#[target_feature(enable = "avx2")]
unsafe fn widen_nibbles(from: *const u8, words: usize, to: *mut f32) {
    for word in 0..words {
        for v in 0..2 {
            // SAFETY: the caller's promise.
            let w = unsafe { _mm256_loadu_si256(from.add(word * SLICE * 4 + v * 32).cast()) };
            for step in 0..STEPS {
                let field = field(w, step);
                // SAFETY: the caller's promise.
                unsafe {
                    let to = to.add((word * STEPS + step) * SLICE + v * LANES);
                    _mm256_storeu_ps(to, _mm256_cvtepi32_ps(field));
                }
            }
        }
    }
}

/// Makes weights in 8 bits floats.
///
/// # Safety
/// `from` must have sixteen bytes for each step, `to` sixteen floats.
#[target_feature(enable = "avx2")]
unsafe fn widen_bytes(from: *const u8, steps: usize, zeros: &Zeros<1>, to: *mut f32) {
    for step in 0..steps {
        for (v, zeros) in zeros[0].iter().enumerate() {
            let at = step * SLICE + v * LANES;
            // SAFETY: the caller's promise.
            unsafe {
                let q = _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.add(at).cast()));
                let w = _mm256_cvtepi32_ps(_mm256_sub_epi32(q, *zeros));
                _mm256_storeu_ps(to.add(at), w);
            }
        }
    }
}

/// Zero points of the columns of `NS` slices.
type Zeros<const NS: usize> = [[__m256i; 2]; NS];

/// # Safety
/// The job must have the slices `slice..slice + NS` and the block.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn zero_points<const NS: usize>(job: &Job<'_>, slice: usize, block: usize) -> Zeros<NS> {
    let shape = &job.packed.shape;
    let mut zeros = [[_mm256_set1_epi32(i32::from(shape.zero_point.unwrap_or(0))); 2]; NS];
    if shape.zero_point.is_none() {
        let from = job.packed.zero_points.as_ptr();
        for (s, zeros) in zeros.iter_mut().enumerate() {
            for (v, zeros) in zeros.iter_mut().enumerate() {
                let at = ((slice + s) * shape.blocks() + block) * SLICE + v * LANES;
                // SAFETY: there are sixteen zero points for each block of each slice.
                *zeros = unsafe { _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.add(at).cast())) };
            }
        }
    }
    zeros
}

/// Adds a block's sums, times its scales.
///
/// # Safety
/// The job must have rows `row..row + MR`, slices `slice..slice + NS` and the block.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn add<const NIBBLES: bool, const MR: usize, const NS: usize>(
    job: &Job<'_>,
    [row, slice, block]: [usize; 3],
    zeros: &Zeros<NS>,
    mut acc: Sums<MR, NS>,
    total: &mut Sums<MR, NS>,
) {
    let shape = &job.packed.shape;
    if NIBBLES {
        let sums: *const f32 = job.x.as_ptr().cast();
        for (r, acc) in acc.iter_mut().enumerate() {
            let at = (row + r) * shape.prepared() + shape.steps() + block;
            // SAFETY: behind its steps a row has a sum for each block.
            let all = unsafe { _mm256_set1_ps(sums.add(at).read_unaligned()) };
            for (acc, zeros) in acc.iter_mut().zip(zeros) {
                for (acc, zeros) in acc.iter_mut().zip(zeros) {
                    *acc = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(*zeros), all, *acc);
                }
            }
        }
    }
    let scales: *const f32 = job.packed.scales.as_ptr().cast();
    for s in 0..NS {
        for v in 0..2 {
            let at = ((slice + s) * shape.blocks() + block) * SLICE + v * LANES;
            // SAFETY: there are sixteen scales for each block of each slice.
            let scale = unsafe { _mm256_loadu_ps(scales.add(at)) };
            for (total, acc) in total.iter_mut().zip(&acc) {
                total[s][v] = _mm256_fmadd_ps(scale, acc[s][v], total[s][v]);
            }
        }
    }
}

/// Adds the bias, clamps and writes.
///
/// # Safety
/// The job must have rows `row..row + MR` and slices `slice..slice + NS`, `output` its rows.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn finish<const MR: usize, const NS: usize>(
    job: &Job<'_>,
    output: &mut [u8],
    row: usize,
    slice: usize,
    total: &Sums<MR, NS>,
) {
    let shape = &job.packed.shape;
    let (low, high) = (_mm256_set1_ps(shape.low), _mm256_set1_ps(shape.high));
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    for s in 0..NS {
        let bias = job.packed.bias[(slice + s) * SLICE * 4..].as_ptr();
        let count = job.count(slice + s);
        for v in 0..2 {
            // SAFETY: there are sixteen biases for each slice.
            let bias = unsafe { _mm256_loadu_ps(bias.cast::<f32>().add(v * LANES)) };
            let live = count.saturating_sub(v * LANES).min(LANES);
            let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(live as i32), lanes);
            for (r, total) in total.iter().enumerate() {
                let y = _mm256_add_ps(total[s][v], bias);
                // both give their second operand where one is NaN
                let y = _mm256_min_ps(high, _mm256_max_ps(low, y));
                let to = output.as_mut_ptr();
                let to = to.wrapping_add(job.output(row + r, slice + s) + v * LANES * 4);
                // SAFETY: `live` columns from here on are the output's; masked lanes are not touched.
                unsafe { _mm256_maskstore_ps(to.cast(), mask, y) };
            }
        }
    }
}

/// The weights of a step in their places; of the last one, which holds the sign, at the bottom.
#[target_feature(enable = "avx2")]
#[inline]
fn field(word: __m256i, step: usize) -> __m256i {
    match step {
        7 => _mm256_srli_epi32::<28>(word),
        _ => _mm256_and_si256(word, _mm256_set1_epi32(0xF << (4 * step))),
    }
}

/// A block's sums of weights in 4 bits: each word is masked, not shifted, as the inputs were divided by what the
/// weight's place in it is worth.
///
/// # Safety
/// `x` must have `8 * words` floats in each of `MR` rows `pitch` floats apart, `weight` as many words of sixteen
/// columns in each of `NS` slices `bytes` apart.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn nibbles<const MR: usize, const NS: usize>(
    x: *const f32,
    pitch: usize,
    weight: *const u8,
    bytes: usize,
    words: usize,
) -> Sums<MR, NS> {
    let mut acc = [[[_mm256_setzero_ps(); 2]; NS]; MR];
    let (mut x, mut weight) = (x, weight);
    for _ in 0..words {
        for step in 0..STEPS {
            for s in 0..NS {
                // SAFETY: the caller's promise.
                let w = unsafe {
                    let from: *const __m256i = weight.add(s * bytes).cast();
                    [_mm256_loadu_si256(from), _mm256_loadu_si256(from.add(1))]
                };
                let w = w.map(|w| _mm256_cvtepi32_ps(field(w, step)));
                for (r, acc) in acc.iter_mut().enumerate() {
                    // SAFETY: the caller's promise.
                    let x = unsafe { _mm256_set1_ps(x.add(r * pitch + step).read_unaligned()) };
                    for (acc, w) in acc[s].iter_mut().zip(w) {
                        *acc = _mm256_fmadd_ps(x, w, *acc);
                    }
                }
            }
        }
        // past the last they are not read
        x = x.wrapping_add(STEPS);
        weight = weight.wrapping_add(SLICE * 4);
    }
    acc
}

/// A block's sums of weights in 8 bits.
///
/// # Safety
/// `x` must have `steps` floats in each of `MR` rows `pitch` floats apart, `weight` as many times sixteen bytes in
/// each of `NS` slices `bytes` apart.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn whole_bytes<const MR: usize, const NS: usize>(
    x: *const f32,
    pitch: usize,
    weight: *const u8,
    bytes: usize,
    steps: usize,
    zeros: &[[__m256i; 2]; NS],
) -> Sums<MR, NS> {
    let mut acc = [[[_mm256_setzero_ps(); 2]; NS]; MR];
    let (mut x, mut weight) = (x, weight);
    for _ in 0..steps {
        for (s, zeros) in zeros.iter().enumerate() {
            let mut w = [_mm256_setzero_ps(); 2];
            for (v, w) in w.iter_mut().enumerate() {
                // SAFETY: the caller's promise.
                let q = unsafe { _mm_loadl_epi64(weight.add(s * bytes + v * LANES).cast()) };
                *w = _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_cvtepu8_epi32(q), zeros[v]));
            }
            for (r, acc) in acc.iter_mut().enumerate() {
                // SAFETY: the caller's promise.
                let x = unsafe { _mm256_set1_ps(x.add(r * pitch).read_unaligned()) };
                for (acc, w) in acc[s].iter_mut().zip(w) {
                    *acc = _mm256_fmadd_ps(x, w, *acc);
                }
            }
        }
        x = x.wrapping_add(1);
        weight = weight.wrapping_add(SLICE);
    }
    acc
}
