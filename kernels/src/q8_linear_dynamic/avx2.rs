use core::arch::x86_64::*;

use super::reference;
use crate::vector::load_f32;

/// 32 values at a time; what does not count becomes zero.
#[target_feature(enable = "avx2")]
pub(super) fn range(input: &[u8]) -> (f32, f32) {
    let (blocks, rest) = input.as_chunks::<128>();
    let mut least = [_mm256_setzero_ps(); 4];
    let mut greatest = least;
    let magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(i32::MAX));
    let infinity = _mm256_set1_ps(f32::INFINITY);
    for block in blocks {
        for (i, x) in block.as_chunks().0.iter().enumerate() {
            let x = load_f32(x);
            let finite = _mm256_cmp_ps::<_CMP_LT_OQ>(_mm256_and_ps(x, magnitude), infinity);
            let x = _mm256_and_ps(x, finite);
            least[i] = _mm256_min_ps(least[i], x);
            greatest[i] = _mm256_max_ps(greatest[i], x);
        }
    }
    let (mut low, mut high) = reference::range(rest);
    for i in 0..4 {
        let mut lanes = [[0u8; 32]; 2];
        crate::vector::store(&mut lanes[0], _mm256_castps_si256(least[i]));
        crate::vector::store(&mut lanes[1], _mm256_castps_si256(greatest[i]));
        let (a, b) = reference::range(lanes.as_flattened());
        low = low.min(a);
        high = high.max(b);
    }
    (low, high)
}
