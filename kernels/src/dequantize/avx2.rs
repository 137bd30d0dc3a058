use core::arch::x86_64::*;

use super::reference;
use crate::affine::Stored;
use crate::vector::{load, store, widen};

/// 32 elements at a time; the last block overlaps the one before, which writes the same bytes twice.
#[target_feature(enable = "avx2")]
pub(super) fn dequantize(from: Stored, input: &[u8], output: &mut [u8]) {
    let (Some(last), Some(_)) = (input.last_chunk::<32>(), output.last_chunk::<128>()) else {
        return reference::dequantize(from, input, output);
    };
    let zero_point = _mm256_set1_epi32(from.zero_point);
    let scale = _mm256_set1_ps(from.scale);
    for (q, x) in input.as_chunks().0.iter().zip(output.as_chunks_mut().0) {
        block(zero_point, scale, q, x);
    }
    if let Some(x) = output.last_chunk_mut() {
        block(zero_point, scale, last, x);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn block(zero_point: __m256i, scale: __m256, q: &[u8; 32], x: &mut [u8; 128]) {
    for (q, x) in widen(load(q)).into_iter().zip(x.as_chunks_mut().0) {
        let real = _mm256_mul_ps(scale, _mm256_cvtepi32_ps(_mm256_sub_epi32(q, zero_point)));
        store(x, _mm256_castps_si256(real));
    }
}
