use core::arch::x86_64::*;

use super::{Fixed, Form, Params, reference};
use crate::affine::Stored;
use crate::vector::{Narrow, load, store, widen};

/// 32 elements at a time; the last block overlaps the one before, which writes the same bytes twice.
#[target_feature(enable = "avx2")]
pub(super) fn add(params: &Params, a: &[u8], b: &[u8], output: &mut [u8]) {
    let narrow = Narrow::new(params.zero_point, params.low, params.high);
    match params.form {
        Form::HalfUp(fixed) => {
            let multipliers = Multipliers::new(&fixed);
            let shift = _mm_cvtsi32_si128(fixed.shift as i32);
            blocks(params, a, b, output, |a, b| {
                let mut sums = multipliers.sums(a, b);
                for sum in &mut sums {
                    *sum = _mm256_sra_epi32(*sum, shift);
                }
                narrow.pack(sums)
            });
        }
        Form::HalfAway(fixed) => {
            let multipliers = Multipliers::new(&fixed);
            let shift = _mm_cvtsi32_si128(fixed.shift as i32 - 1);
            blocks(params, a, b, output, |a, b| {
                let mut sums = multipliers.sums(a, b);
                for sum in &mut sums {
                    // (sum + half - (sum < 0)) >> shift, in an order that cannot overflow
                    let down = _mm256_add_epi32(*sum, _mm256_srai_epi32::<31>(*sum));
                    let halves = _mm256_sra_epi32(down, shift);
                    let up = _mm256_sub_epi32(halves, _mm256_set1_epi32(-1));
                    *sum = _mm256_srai_epi32::<1>(up);
                }
                narrow.pack(sums)
            });
        }
        Form::Float([from_a, from_b], scale) => {
            let inverse = _mm256_set1_ps(1.0 / scale);
            blocks(params, a, b, output, |a, b| {
                let (a, mut b) = (widen(a), widen(b));
                for (a, b) in a.into_iter().zip(&mut b) {
                    let sum = _mm256_add_ps(real(from_a, a), real(from_b, *b));
                    let scaled = _mm256_mul_ps(sum, inverse);
                    // infinities of opposite signs: NaN, which becomes the zero point
                    let ordered =
                        _mm256_and_ps(scaled, _mm256_cmp_ps::<_CMP_ORD_Q>(scaled, scaled));
                    *b = narrow.round(ordered);
                }
                narrow.bytes(b)
            });
        }
    }
}

/// The real values of eight stored ones.
#[inline]
#[target_feature(enable = "avx2")]
fn real(from: Stored, q: __m256i) -> __m256 {
    let centred = _mm256_sub_epi32(q, _mm256_set1_epi32(from.zero_point));
    _mm256_mul_ps(_mm256_set1_ps(from.scale), _mm256_cvtepi32_ps(centred))
}

/// Applies `block` to all of three slices of the same length.
#[inline]
#[target_feature(enable = "avx2")]
fn blocks(
    params: &Params,
    a: &[u8],
    b: &[u8],
    output: &mut [u8],
    block: impl Fn(__m256i, __m256i) -> __m256i,
) {
    let (Some(last_a), Some(last_b), Some(_)) =
        (a.last_chunk(), b.last_chunk(), output.last_chunk::<32>())
    else {
        return reference::add(params, a, b, output);
    };
    let pairs = a.as_chunks::<32>().0.iter().zip(b.as_chunks().0);
    for ((a, b), y) in pairs.zip(output.as_chunks_mut::<32>().0) {
        store(y, block(load(a), load(b)));
    }
    if let Some(y) = output.last_chunk_mut() {
        store(y, block(load(last_a), load(last_b)));
    }
}

/// [`Fixed`] for `vpmaddwd`: two multiply-adds give eight sums.
struct Multipliers {
    high: __m256i,
    low: __m256i,
    bias: __m256i,
}

impl Multipliers {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(fixed: &Fixed) -> Self {
        let [high, low] = fixed.pairs();
        Self {
            high: _mm256_set1_epi32(high),
            low: _mm256_set1_epi32(low),
            bias: _mm256_set1_epi32(fixed.bias),
        }
    }

    /// The 32 sums of 32 pairs, as [`Narrow::pack`] takes them.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn sums(&self, a: __m256i, b: __m256i) -> [__m256i; 4] {
        let zero = _mm256_setzero_si256();
        let (ab, cd) = (_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b));
        let mut sums = [
            _mm256_unpacklo_epi8(ab, zero),
            _mm256_unpackhi_epi8(ab, zero),
            _mm256_unpacklo_epi8(cd, zero),
            _mm256_unpackhi_epi8(cd, zero),
        ];
        for sum in &mut sums {
            let high = _mm256_madd_epi16(_mm256_slli_epi16::<7>(*sum), self.high);
            let low = _mm256_madd_epi16(*sum, self.low);
            *sum = _mm256_add_epi32(_mm256_add_epi32(high, low), self.bias);
        }
        sums
    }
}
