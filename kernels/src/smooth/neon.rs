use core::arch::aarch64::*;

use super::{LN2, LOG2_E, POLYNOMIAL, ROUND, SIGMOID_END, TANH_END};

/// `2^k` and `p`, as the scalar `exp`.
#[inline]
#[target_feature(enable = "neon")]
fn exp(x: float32x4_t) -> (float32x4_t, float32x4_t) {
    let round = vdupq_n_f32(ROUND);
    let rounded = vfmaq_f32(round, x, vdupq_n_f32(LOG2_E));
    let k = vsubq_f32(rounded, round);
    let r = vfmaq_f32(x, k, vdupq_n_f32(-LN2[0]));
    let r = vfmaq_f32(r, k, vdupq_n_f32(-LN2[1]));
    let [first, rest @ ..] = POLYNOMIAL;
    let mut q = vdupq_n_f32(first);
    for c in rest {
        q = vfmaq_f32(vdupq_n_f32(c), q, r);
    }
    let p = vfmaq_f32(r, q, vmulq_f32(r, r));
    let power = vaddq_s32(vreinterpretq_s32_f32(rounded), vdupq_n_s32(127));
    (vreinterpretq_f32_s32(vshlq_n_s32::<23>(power)), p)
}

/// `-min(|x|, end)`; NaN stays.
#[inline]
#[target_feature(enable = "neon")]
fn below_zero(x: float32x4_t, end: f32) -> float32x4_t {
    let (x, end) = (vabsq_f32(x), vdupq_n_f32(end));
    vnegq_f32(vbslq_f32(vcltq_f32(end, x), end, x))
}

/// All bits of a lane where the sign bit of `x` is set.
#[inline]
#[target_feature(enable = "neon")]
fn negative(x: float32x4_t) -> uint32x4_t {
    vreinterpretq_u32_s32(vshrq_n_s32::<31>(vreinterpretq_s32_f32(x)))
}

/// `1 / (1 + e^-x)`.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn sigmoid(x: float32x4_t) -> float32x4_t {
    let one = vdupq_n_f32(1.0);
    let (scale, p) = exp(below_zero(x, SIGMOID_END));
    let e = vfmaq_f32(scale, p, scale);
    vdivq_f32(vbslq_f32(negative(x), e, one), vaddq_f32(one, e))
}

/// The hyperbolic tangent.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn tanh(x: float32x4_t) -> float32x4_t {
    let (one, two) = (vdupq_n_f32(1.0), vdupq_n_f32(2.0));
    let (scale, p) = exp(vmulq_f32(two, below_zero(x, TANH_END)));
    let m = vfmaq_f32(vsubq_f32(scale, one), p, scale);
    let y = vdivq_f32(m, vaddq_f32(two, m));
    // the sign of `x`
    vbslq_f32(vdupq_n_u32(1 << 31), x, y)
}

/// Both of eight values, for tests.
#[cfg(test)]
#[target_feature(enable = "neon")]
pub(super) fn both(x: &[f32; 8]) -> ([f32; 8], [f32; 8]) {
    let (mut s, mut t) = ([0.0; 8], [0.0; 8]);
    for at in [0, 4] {
        // SAFETY: four values from `at` on are in each array.
        unsafe {
            let x = vld1q_f32(x.as_ptr().add(at));
            vst1q_f32(s.as_mut_ptr().add(at), sigmoid(x));
            vst1q_f32(t.as_mut_ptr().add(at), tanh(x));
        }
    }
    (s, t)
}
