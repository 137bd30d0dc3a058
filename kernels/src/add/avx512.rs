use core::arch::x86_64::*;

use super::{Fixed, Form, Params, avx2};

/// 64 elements at a time where the fixed-point form has no ties; the rest is AVX2's.
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vnni")]
pub(super) fn add(params: &Params, a: &[u8], b: &[u8], output: &mut [u8]) {
    let (Form::HalfUp(fixed), Some(last_a), Some(last_b), Some(_)) = (
        params.form,
        a.last_chunk(),
        b.last_chunk(),
        output.last_chunk::<64>(),
    ) else {
        return avx2::add(params, a, b, output);
    };
    let kernel = Kernel::new(params, &fixed);
    let pairs = a.as_chunks::<64>().0.iter().zip(b.as_chunks().0);
    for ((a, b), y) in pairs.zip(output.as_chunks_mut::<64>().0) {
        kernel.block(a, b, y);
    }
    // overlaps the block before, which writes the same bytes twice
    if let Some(y) = output.last_chunk_mut() {
        kernel.block(last_a, last_b, y);
    }
}

struct Kernel {
    high: __m512i,
    low: __m512i,
    bias: __m512i,
    shift: __m128i,
    zero_point: __m512i,
    bounds: [__m512i; 2],
}

impl Kernel {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn new(params: &Params, fixed: &Fixed) -> Self {
        let [high, low] = fixed.pairs();
        Self {
            high: _mm512_set1_epi32(high),
            low: _mm512_set1_epi32(low),
            bias: _mm512_set1_epi32(fixed.bias),
            shift: _mm_cvtsi32_si128(fixed.shift as i32),
            zero_point: _mm512_set1_epi16(i16::from(params.zero_point)),
            bounds: [
                _mm512_set1_epi8(params.low as i8),
                _mm512_set1_epi8(params.high as i8),
            ],
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn block(&self, a: &[u8; 64], b: &[u8; 64], y: &mut [u8; 64]) {
        // SAFETY: the arrays have 64 readable bytes and the loads ask for no alignment.
        let (a, b) = unsafe {
            (
                _mm512_loadu_si512(a.as_ptr().cast()),
                _mm512_loadu_si512(b.as_ptr().cast()),
            )
        };
        let zero = _mm512_setzero_si512();
        let (ab, cd) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
        let mut sums = [
            _mm512_unpacklo_epi8(ab, zero),
            _mm512_unpackhi_epi8(ab, zero),
            _mm512_unpacklo_epi8(cd, zero),
            _mm512_unpackhi_epi8(cd, zero),
        ];
        for sum in &mut sums {
            // the multiply-adds go straight into the bias
            let high = _mm512_dpwssd_epi32(self.bias, _mm512_slli_epi16::<7>(*sum), self.high);
            *sum = _mm512_sra_epi32(_mm512_dpwssd_epi32(high, *sum, self.low), self.shift);
        }
        // the packs undo the unpacks, lane by lane
        let [s0, s1, s2, s3] = sums;
        let ab = _mm512_adds_epi16(_mm512_packs_epi32(s0, s1), self.zero_point);
        let cd = _mm512_adds_epi16(_mm512_packs_epi32(s2, s3), self.zero_point);
        let bytes = _mm512_packus_epi16(ab, cd);
        let bytes = _mm512_min_epu8(_mm512_max_epu8(bytes, self.bounds[0]), self.bounds[1]);
        // SAFETY: the array has 64 writable bytes and the store asks for no alignment.
        unsafe { _mm512_storeu_si512(y.as_mut_ptr().cast(), bytes) }
    }
}
