use core::arch::x86_64::*;

use super::{Params, reference};
use crate::vector::{Narrow, load, store};

/// 32 elements at a time; the last block overlaps the one before, which writes the same bytes twice.
#[target_feature(enable = "avx2")]
pub(super) fn mul(params: &Params, a: &[u8], b: &[u8], output: &mut [u8]) {
    let (Some(last_a), Some(last_b), Some(_)) =
        (a.last_chunk(), b.last_chunk(), output.last_chunk::<32>())
    else {
        return reference::mul(params, a, b, output);
    };
    let kernel = Kernel::new(params);
    let pairs = a.as_chunks::<32>().0.iter().zip(b.as_chunks().0);
    for ((a, b), y) in pairs.zip(output.as_chunks_mut::<32>().0) {
        kernel.block(a, b, y);
    }
    if let Some(y) = output.last_chunk_mut() {
        kernel.block(last_a, last_b, y);
    }
}

struct Kernel {
    zero_points: [__m256i; 2],
    multiplier: __m256,
    narrow: Narrow,
}

impl Kernel {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(params: &Params) -> Self {
        let [a, b] = params.zero_points.map(i16::from);
        let output = params.output;
        Self {
            zero_points: [_mm256_set1_epi16(a), _mm256_set1_epi16(b)],
            multiplier: _mm256_set1_ps(params.multiplier),
            narrow: Narrow::new(output.zero_point, output.low, output.high),
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn block(&self, a: &[u8; 32], b: &[u8; 32], y: &mut [u8; 32]) {
        let zero = _mm256_setzero_si256();
        let (a, b) = (load(a), load(b));
        let [za, zb] = self.zero_points;
        let halves = [
            (_mm256_unpacklo_epi8(a, zero), _mm256_unpacklo_epi8(b, zero)),
            (_mm256_unpackhi_epi8(a, zero), _mm256_unpackhi_epi8(b, zero)),
        ];
        let [[s0, s1], [s2, s3]] = halves.map(|(a, b)| {
            let (a, b) = (_mm256_sub_epi16(a, za), _mm256_sub_epi16(b, zb));
            // the 32 bits of each product, low and high half
            let (low, high) = (_mm256_mullo_epi16(a, b), _mm256_mulhi_epi16(a, b));
            [
                _mm256_unpacklo_epi16(low, high),
                _mm256_unpackhi_epi16(low, high),
            ]
        });
        // the packs undo the unpacks, lane by lane
        let sums = [s0, s1, s2, s3].map(|product| {
            let scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(product), self.multiplier);
            self.narrow.round(scaled)
        });
        store(y, self.narrow.pack(sums));
    }
}
