use core::arch::x86_64::*;

use super::reference;
use crate::affine::Stored;
use crate::vector::{Narrow, load_f32, store};

/// 32 elements at a time; the last block overlaps the one before, which writes the same bytes twice.
#[target_feature(enable = "avx2")]
pub(super) fn quantize(to: Stored, input: &[u8], output: &mut [u8]) {
    let (Some(last), Some(_)) = (input.last_chunk::<128>(), output.last_chunk::<32>()) else {
        return reference::quantize(to, input, output);
    };
    let narrow = Narrow::new(to.zero_point as u8, 0, 255);
    let inverse = _mm256_set1_ps(1.0 / to.scale);
    for (x, y) in input.as_chunks().0.iter().zip(output.as_chunks_mut().0) {
        block(&narrow, inverse, x, y);
    }
    if let Some(y) = output.last_chunk_mut() {
        block(&narrow, inverse, last, y);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn block(narrow: &Narrow, inverse: __m256, x: &[u8; 128], y: &mut [u8; 32]) {
    let mut v = [_mm256_setzero_si256(); 4];
    for (x, v) in x.as_chunks().0.iter().zip(&mut v) {
        let scaled = _mm256_mul_ps(load_f32(x), inverse);
        // NaN becomes 0, which the zero point is then added to
        let ordered = _mm256_and_ps(scaled, _mm256_cmp_ps::<_CMP_ORD_Q>(scaled, scaled));
        *v = narrow.round(ordered);
    }
    store(y, narrow.bytes(v));
}
