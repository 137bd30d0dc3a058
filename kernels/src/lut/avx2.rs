use core::arch::x86_64::*;

use super::{Table, reference};
use crate::vector::{load, store};

/// 64 bytes at a time; the last block overlaps the one before, which writes the same bytes twice.
#[target_feature(enable = "avx2")]
pub(super) fn apply(table: &Table, input: &[u8], output: &mut [u8]) {
    let (Some(last), Some(_)) = (input.last_chunk::<64>(), output.last_chunk::<64>()) else {
        return reference::apply(table, input, output);
    };
    let rows = differences(table);
    for (x, y) in input.as_chunks().0.iter().zip(output.as_chunks_mut().0) {
        block(&rows, x, y);
    }
    if let Some(y) = output.last_chunk_mut() {
        block(&rows, last, y);
    }
}

/// The sixteen rows of the table as differences (xor) that add up to the right row.
///
/// `vpshufb` yields 0 where bit 7 of the index is set. An index that goes down by 16 a step is looked
/// up in the rows from the first whose step leaves it below 128 on, to the last before it passes
/// below zero: rows `0..=i` of an index in row `i < 8`, rows `i - 7..=i` of the others.
#[target_feature(enable = "avx2")]
fn differences(table: &Table) -> [__m256i; 16] {
    let mut rows = [_mm256_setzero_si256(); 16];
    for (to, from) in rows.iter_mut().zip(table.as_chunks::<16>().0) {
        // SAFETY: the array has 16 readable bytes and the load asks for no alignment.
        *to = _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(from.as_ptr().cast()) });
    }
    let mut steps = rows;
    for i in 1..16 {
        steps[i] = _mm256_xor_si256(rows[i], rows[i - 1]);
        if i >= 8 {
            // the window of eight has dropped this one
            steps[i] = _mm256_xor_si256(steps[i], steps[i - 8]);
        }
    }
    steps
}

#[inline]
#[target_feature(enable = "avx2")]
fn block(steps: &[__m256i; 16], x: &[u8; 64], y: &mut [u8; 64]) {
    let sixteen = _mm256_set1_epi8(16);
    let mut index = [_mm256_setzero_si256(); 2];
    for (index, x) in index.iter_mut().zip(x.as_chunks().0) {
        *index = load(x);
    }
    let mut value = [_mm256_setzero_si256(); 2];
    for (i, step) in steps.iter().enumerate() {
        for (index, value) in index.iter_mut().zip(&mut value) {
            *value = _mm256_xor_si256(*value, _mm256_shuffle_epi8(*step, *index));
            // the first eight steps bring 128.. into range and wrap; then what is below zero stays there
            *index = if i < 8 {
                _mm256_sub_epi8(*index, sixteen)
            } else {
                _mm256_subs_epi8(*index, sixteen)
            };
        }
    }
    for (value, y) in value.into_iter().zip(y.as_chunks_mut().0) {
        store(y, value);
    }
}
