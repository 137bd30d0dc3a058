use core::arch::x86_64::*;

use super::{Params, reference};
use crate::vector::{Narrow, load, load_f32, store, widen};

/// 32 elements at a time; the last block overlaps the one before, which writes the same bytes twice.
#[target_feature(enable = "avx2")]
pub(super) fn prelu(params: &Params, slopes: &[[u8; 4]], input: &[u8], output: &mut [u8]) {
    let (Some(last_slopes), Some(last), Some(_)) = (
        slopes.as_flattened().last_chunk(),
        input.last_chunk(),
        output.last_chunk::<32>(),
    ) else {
        return reference::prelu(params, slopes, input, output);
    };
    let kernel = Kernel::new(params);
    let slopes = slopes.as_flattened().as_chunks::<128>().0.iter();
    let blocks = input.as_chunks().0.iter().zip(output.as_chunks_mut().0);
    for (slopes, (x, y)) in slopes.zip(blocks) {
        kernel.block(slopes, x, y);
    }
    if let Some(y) = output.last_chunk_mut() {
        kernel.block(last_slopes, last, y);
    }
}

struct Kernel {
    zero_point: __m256i,
    scale: __m256,
    inverse: __m256,
    narrow: Narrow,
}

impl Kernel {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(params: &Params) -> Self {
        let output = params.output;
        Self {
            zero_point: _mm256_set1_epi32(params.from.zero_point),
            scale: _mm256_set1_ps(params.from.scale),
            inverse: _mm256_set1_ps(1.0 / params.scale),
            narrow: Narrow::new(output.zero_point, output.low, output.high),
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn block(&self, slopes: &[u8; 128], x: &[u8; 32], y: &mut [u8; 32]) {
        let mut values = widen(load(x));
        for (value, slopes) in values.iter_mut().zip(slopes.as_chunks().0) {
            let centred = _mm256_cvtepi32_ps(_mm256_sub_epi32(*value, self.zero_point));
            let x = _mm256_mul_ps(self.scale, centred);
            let below = _mm256_mul_ps(x, load_f32(slopes));
            let is_above = _mm256_cmp_ps::<_CMP_GT_OQ>(x, _mm256_setzero_ps());
            let scaled = _mm256_mul_ps(_mm256_blendv_ps(below, x, is_above), self.inverse);
            // NaN, of an infinite value and a slope of 0, becomes the zero point
            let ordered = _mm256_and_ps(scaled, _mm256_cmp_ps::<_CMP_ORD_Q>(scaled, scaled));
            *value = self.narrow.round(ordered);
        }
        store(y, self.narrow.bytes(values));
    }
}
