//! Up to 64 columns of a bag at a time, their sums in registers; rows that come later are asked for ahead.

use core::arch::x86_64::*;
use core::ops::Range;

use qconfig_core::kernel::BagMode;

use super::{Job, reference};

/// Columns of a vector.
const LANES: usize = 8;
/// Indices ahead of which a row is asked for.
const AHEAD: usize = 24;
/// Bytes of a cache line.
const LINE: usize = 64;

/// As the reference.
///
/// # Safety
/// The CPU must have AVX2, FMA and F16C; the bags must have been checked.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn run(job: &Job<'_>, bags: Range<usize>, output: &mut [u8]) {
    let columns = job.shape.columns;
    let out = output.as_chunks_mut::<4>().0;
    if !bags.is_empty() {
        // the first ones at once; each row then asks for the one so many behind it
        let first = job.bag(bags.start).start;
        for at in first..(first + AHEAD).min(job.shape.indices) {
            ask_for(job, at);
        }
    }
    for (bag, out) in bags.zip(out.chunks_exact_mut(columns)) {
        let mut first = 0;
        while first < columns {
            let left = columns - first;
            if left < LANES && columns >= LANES && (left.is_multiple_of(2) || !job.rows.nibbles) {
                // the last eight, some of them again
                first = columns - LANES;
            }
            let vectors = ((columns - first) / LANES).min(8);
            // SAFETY: the caller's promise; so many columns are there.
            unsafe {
                match vectors {
                    0 => {
                        reference::one(job, bag, first, &mut out[first..]);
                        break;
                    }
                    1 => block::<1>(job, bag, first, out),
                    2 => block::<2>(job, bag, first, out),
                    3 => block::<3>(job, bag, first, out),
                    4 => block::<4>(job, bag, first, out),
                    5 => block::<5>(job, bag, first, out),
                    6 => block::<6>(job, bag, first, out),
                    7 => block::<7>(job, bag, first, out),
                    _ => block::<8>(job, bag, first, out),
                }
            }
            first += vectors * LANES;
        }
    }
}

/// `8 * NV` columns of one bag.
///
/// # Safety
/// As [`run`]; the table has the columns from `first` on, which is even.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn block<const NV: usize>(job: &Job<'_>, bag: usize, first: usize, out: &mut [[u8; 4]]) {
    // SAFETY: the caller's promise.
    let (acc, count) = unsafe {
        match job.rows.nibbles {
            true => reduce::<NV, true>(job, bag, first),
            false => reduce::<NV, false>(job, bag, first),
        }
    };
    let mean = job.shape.mode == Some(BagMode::Mean) && count > 0;
    let divisor = _mm256_set1_ps(count as f32);
    let out = out[first..].as_chunks_mut::<LANES>().0;
    for (acc, out) in acc.into_iter().zip(out) {
        let acc = if mean {
            _mm256_div_ps(acc, divisor)
        } else {
            acc
        };
        // SAFETY: eight cells of four bytes.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr().cast(), acc) };
    }
}

/// The sums or maxima of a bag's columns, and how many rows they are of.
///
/// # Safety
/// As [`block`]; the table has rows of four bits where `NIBBLES`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn reduce<const NV: usize, const NIBBLES: bool>(
    job: &Job<'_>,
    bag: usize,
    first: usize,
) -> ([__m256; NV], usize) {
    let (rows, shape) = (&job.rows, job.shape);
    let max = shape.mode == Some(BagMode::Max);
    let mut acc = [_mm256_setzero_ps(); NV];
    let mut count = 0;
    for at in job.bag(bag) {
        if first == 0 && at + AHEAD < shape.indices {
            ask_for(job, at + AHEAD);
        }
        let index = job.index(at) as usize;
        if job.is_padding(index) {
            continue;
        }
        let mut q = [_mm256_setzero_ps(); NV];
        let (mut scale, mut bias);
        // SAFETY: the index was checked, so the row is in the table: its columns, then scale and bias.
        unsafe {
            let row = rows.table.as_ptr().add(index * rows.pitch);
            if NIBBLES {
                nibbles(row.add(first / 2), &mut q);
                let ends = row.add(rows.pitch - 4).cast::<i32>().read_unaligned();
                let ends = _mm_cvtph_ps(_mm_cvtsi32_si128(ends));
                scale = _mm256_broadcastss_ps(ends);
                bias = _mm256_broadcastss_ps(_mm_movehdup_ps(ends));
            } else {
                bytes(row.add(first), &mut q);
                let ends = row.add(rows.columns).cast::<f32>();
                scale = _mm256_set1_ps(ends.read_unaligned());
                bias = _mm256_set1_ps(ends.add(1).read_unaligned());
            }
        }
        if shape.has_weights {
            let weight = _mm256_set1_ps(job.weight(at));
            scale = _mm256_mul_ps(weight, scale);
            bias = _mm256_mul_ps(weight, bias);
        }
        if !max {
            for (acc, q) in acc.iter_mut().zip(q) {
                *acc = _mm256_fmadd_ps(scale, q, _mm256_add_ps(*acc, bias));
            }
        } else {
            let bias = _mm256_add_ps(_mm256_setzero_ps(), bias);
            for (acc, q) in acc.iter_mut().zip(q) {
                let value = _mm256_fmadd_ps(scale, q, bias);
                // the second operand where neither is greater
                *acc = if count == 0 {
                    value
                } else {
                    _mm256_max_ps(value, *acc)
                };
            }
        }
        count += 1;
    }
    (acc, count)
}

/// Asks for the lines of a row that this or a later bag reads. An index that was not checked yet is
/// followed only inside the table.
#[inline(always)]
fn ask_for(job: &Job<'_>, at: usize) {
    let rows = &job.rows;
    let index = job.index(at) as u64;
    if index >= job.shape.rows as u64 {
        return;
    }
    let row = rows
        .table
        .as_ptr()
        .wrapping_add(index as usize * rows.pitch);
    let mut line = 0;
    while line < rows.pitch {
        // SAFETY: SSE is part of x86-64, and a prefetch is a hint that reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(row.wrapping_add(line).cast()) };
        line += LINE;
    }
}

/// Eight-bit columns.
///
/// # Safety
/// `8 * NV` bytes at `from` are readable.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn bytes<const NV: usize>(from: *const u8, q: &mut [__m256; NV]) {
    for (v, q) in q.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        let eight = unsafe { _mm_loadl_epi64(from.add(v * LANES).cast()) };
        *q = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(eight));
    }
}

/// Four-bit columns, the even one in the low half of a byte.
///
/// # Safety
/// `4 * NV` bytes at `from` are readable.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn nibbles<const NV: usize>(from: *const u8, q: &mut [__m256; NV]) {
    let shifts = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
    let low = _mm256_set1_epi32(15);
    for (v, q) in q.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        let eight = unsafe { from.add(v * LANES / 2).cast::<i32>().read_unaligned() };
        let spread = _mm256_srlv_epi32(_mm256_set1_epi32(eight), shifts);
        *q = _mm256_cvtepi32_ps(_mm256_and_si256(spread, low));
    }
}
