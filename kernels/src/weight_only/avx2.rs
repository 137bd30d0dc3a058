//! Tiles of up to six rows by sixteen columns; one row takes four slices at once, so that eight chains run beside
//! each other.

use core::arch::x86_64::*;

use super::{Job, SLICE, STEPS, TALLEST};

const LANES: usize = 8;

/// Computes the job.
///
/// # Safety
/// The CPU must have AVX2 and FMA; the blob's sections must have the lengths that its shape says, `x` as many
/// prepared rows as the job has, and `output` its rows of the slices' columns.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn run(job: &Job<'_>, output: &mut [u8]) {
    // SAFETY: the caller's promise.
    unsafe {
        if job.packed.shape.is_nibbles {
            all::<true>(job, output);
        } else {
            all::<false>(job, output);
        }
    }
}

/// # Safety
/// As [`run`]; `NIBBLES` must be what the shape says.
#[target_feature(enable = "avx2,fma")]
unsafe fn all<const NIBBLES: bool>(job: &Job<'_>, output: &mut [u8]) {
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
    let sums = x.wrapping_add(shape.steps());
    let weight = job.packed.weight[slice * bytes..].as_ptr();
    let scales: *const f32 = job.packed.scales[slice * blocks * SLICE * 4..]
        .as_ptr()
        .cast();
    let zero_points = job.packed.zero_points.as_ptr();
    let mut total: Sums<MR, NS> = [[[_mm256_setzero_ps(); 2]; NS]; MR];
    for block in 0..blocks {
        let steps = shape.block_steps(block);
        let mut zeros = [[_mm256_set1_epi32(i32::from(shape.zero_point.unwrap_or(0))); 2]; NS];
        if shape.zero_point.is_none() {
            for (s, zeros) in zeros.iter_mut().enumerate() {
                for (v, zeros) in zeros.iter_mut().enumerate() {
                    let at = ((slice + s) * blocks + block) * SLICE + v * LANES;
                    // SAFETY: there are sixteen zero points for each block of each slice.
                    *zeros = unsafe {
                        _mm256_cvtepu8_epi32(_mm_loadl_epi64(zero_points.add(at).cast()))
                    };
                }
            }
        }
        // SAFETY: the steps lie in the rows and in each slice.
        let mut acc: Sums<MR, NS> = unsafe {
            let x = x.add(steps.start);
            if NIBBLES {
                let from = weight.add(steps.start / STEPS * SLICE * 4);
                nibbles(x, pitch, from, bytes, steps.len() / STEPS)
            } else {
                let from = weight.add(steps.start * SLICE);
                whole_bytes(x, pitch, from, bytes, steps.len(), &zeros)
            }
        };
        if NIBBLES {
            for (r, acc) in acc.iter_mut().enumerate() {
                // SAFETY: behind its steps a row has a sum for each block.
                let all = unsafe { _mm256_set1_ps(sums.add(r * pitch + block).read_unaligned()) };
                for (acc, zeros) in acc.iter_mut().zip(&zeros) {
                    for (acc, zeros) in acc.iter_mut().zip(zeros) {
                        *acc = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(*zeros), all, *acc);
                    }
                }
            }
        }
        for s in 0..NS {
            for v in 0..2 {
                let at = (s * blocks + block) * SLICE + v * LANES;
                // SAFETY: there are sixteen scales for each block of each slice.
                let scale = unsafe { _mm256_loadu_ps(scales.add(at)) };
                for (total, acc) in total.iter_mut().zip(&acc) {
                    total[s][v] = _mm256_fmadd_ps(scale, acc[s][v], total[s][v]);
                }
            }
        }
    }
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
            let mask = _mm256_set1_epi32(0xF << (4 * step));
            for s in 0..NS {
                // SAFETY: the caller's promise.
                let w = unsafe {
                    let from: *const __m256i = weight.add(s * bytes).cast();
                    [_mm256_loadu_si256(from), _mm256_loadu_si256(from.add(1))]
                };
                let w = w.map(|w| {
                    let field = match step {
                        // the sign's place
                        7 => _mm256_srli_epi32::<28>(w),
                        _ => _mm256_and_si256(w, mask),
                    };
                    _mm256_cvtepi32_ps(field)
                });
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
