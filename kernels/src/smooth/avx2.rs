use core::arch::x86_64::*;

use super::{LN2, LOG2_E, POLYNOMIAL, ROUND, SIGMOID_END, TANH_END};

/// `2^k` and `p`, as the scalar `exp`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn exp(x: __m256) -> (__m256, __m256) {
    let round = _mm256_set1_ps(ROUND);
    let rounded = _mm256_fmadd_ps(x, _mm256_set1_ps(LOG2_E), round);
    let k = _mm256_sub_ps(rounded, round);
    let r = _mm256_fmadd_ps(k, _mm256_set1_ps(-LN2[0]), x);
    let r = _mm256_fmadd_ps(k, _mm256_set1_ps(-LN2[1]), r);
    let [first, rest @ ..] = POLYNOMIAL;
    let mut q = _mm256_set1_ps(first);
    for c in rest {
        q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(c));
    }
    let p = _mm256_fmadd_ps(q, _mm256_mul_ps(r, r), r);
    let power = _mm256_add_epi32(_mm256_castps_si256(rounded), _mm256_set1_epi32(127));
    (_mm256_castsi256_ps(_mm256_slli_epi32::<23>(power)), p)
}

/// `-min(|x|, end)`; NaN stays.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn below_zero(x: __m256, end: f32) -> __m256 {
    let sign = _mm256_set1_ps(-0.0);
    // the second operand where one is NaN
    let x = _mm256_min_ps(_mm256_set1_ps(end), _mm256_andnot_ps(sign, x));
    _mm256_or_ps(x, sign)
}

/// `1 / (1 + e^-x)`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn sigmoid(x: __m256) -> __m256 {
    let one = _mm256_set1_ps(1.0);
    let (scale, p) = exp(below_zero(x, SIGMOID_END));
    let e = _mm256_fmadd_ps(p, scale, scale);
    // by the sign bit of `x`
    _mm256_div_ps(_mm256_blendv_ps(one, e, x), _mm256_add_ps(one, e))
}

/// The hyperbolic tangent.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn tanh(x: __m256) -> __m256 {
    let sign = _mm256_set1_ps(-0.0);
    let (one, two) = (_mm256_set1_ps(1.0), _mm256_set1_ps(2.0));
    let (scale, p) = exp(_mm256_mul_ps(two, below_zero(x, TANH_END)));
    let m = _mm256_fmadd_ps(p, scale, _mm256_sub_ps(scale, one));
    let y = _mm256_div_ps(m, _mm256_add_ps(two, m));
    _mm256_or_ps(_mm256_andnot_ps(sign, y), _mm256_and_ps(sign, x))
}

/// Both of eight values, for tests.
#[cfg(test)]
#[target_feature(enable = "avx2,fma")]
pub(super) fn both(x: &[f32; 8]) -> ([f32; 8], [f32; 8]) {
    // SAFETY: arrays of eight `f32` and vectors of them are the same bytes.
    let x = unsafe { core::mem::transmute::<[f32; 8], __m256>(*x) };
    let both = [sigmoid(x), tanh(x)];
    // SAFETY: as above.
    let [s, t] = unsafe { core::mem::transmute::<[__m256; 2], [[f32; 8]; 2]>(both) };
    (s, t)
}
