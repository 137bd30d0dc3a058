//! `sigmoid` and `tanh` of `f32`, the same bits on every instruction set.
//!
//! Both are made of `e^x = 2^k (1 + p)` with `k = rne(x / ln 2)` and `p = e^r - 1` for
//! `r = x - k ln 2`: Cephes' polynomial (`expf`) in fused multiply-adds, each rounded once, so that a
//! vector lane does what the scalar code does.
//!
//! - `sigmoid(x) = n / (1 + e^-|x|)`, `n` being 1 or, below zero, `e^-|x|`. At most 2.5 units in the last
//!   place from the real value down to -87; below, the answer is that of -87: `1.6e-38`.
//! - `tanh(x) = -m / (2 + m)` with `m = e^(-2 |x|) - 1`, the sign put back. At most 2.5 units in the last
//!   place everywhere.
//!
//! NaN gives a NaN.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;

/// `e^r = 1 + r + r^2 q(r)` for `|r| <= ln 2 / 2`: the coefficients of `q`, highest first.
const POLYNOMIAL: [f32; 6] = [
    1.987_569_1e-4,
    1.398_199_9e-3,
    8.333_452e-3,
    4.166_579_6e-2,
    0.166_666_66,
    0.5,
];
const LOG2_E: f32 = core::f32::consts::LOG2_E;
/// `ln 2` in two parts; the first has so few bits that its products with `k` are exact.
const LN2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// Added and subtracted, it rounds to an integer; its last bits are then that integer.
const ROUND: f32 = 12_582_912.0;
/// Beyond, `e^-x` is no longer a normal number.
const SIGMOID_END: f32 = 87.0;
/// Beyond, `tanh` is 1 in `f32`.
const TANH_END: f32 = 9.1;

/// `2^k` and `p`, for `-87 <= x <= 0`.
fn exp(x: f32) -> (f32, f32) {
    let rounded = libm::fmaf(x, LOG2_E, ROUND);
    let k = rounded - ROUND;
    let r = libm::fmaf(k, -LN2[0], x);
    let r = libm::fmaf(k, -LN2[1], r);
    let [first, rest @ ..] = POLYNOMIAL;
    let q = rest.iter().fold(first, |q, c| libm::fmaf(q, r, *c));
    let p = libm::fmaf(q, r * r, r);
    (f32::from_bits(rounded.to_bits().wrapping_add(127) << 23), p)
}

/// The smaller one; NaN stays.
fn most(x: f32, end: f32) -> f32 {
    if end < x { end } else { x }
}

/// `1 / (1 + e^-x)`.
pub(crate) fn sigmoid(x: f32) -> f32 {
    let (scale, p) = exp(-most(x.abs(), SIGMOID_END));
    let e = libm::fmaf(p, scale, scale);
    (if x.is_sign_negative() { e } else { 1.0 }) / (1.0 + e)
}

/// The hyperbolic tangent.
pub(crate) fn tanh(x: f32) -> f32 {
    let (scale, p) = exp(-2.0 * most(x.abs(), TANH_END));
    let m = libm::fmaf(p, scale, scale - 1.0);
    (-m / (2.0 + m)).abs().copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every exponent, both signs, so many mantissas of each.
    fn everywhere(mantissas: u32, mut visit: impl FnMut(f32)) {
        for high in 0..512u32 {
            for step in 0..mantissas {
                let mantissa = (step.wrapping_mul(0x9E37_79B1) >> 9) & 0x7F_FFFF;
                let mantissa = match step {
                    0 => 0,
                    1 => 0x7F_FFFF,
                    _ => mantissa,
                };
                visit(f32::from_bits(high << 23 | mantissa));
            }
        }
    }

    /// The distance in units of the last place of what is right.
    fn ulps(found: f32, right: f64) -> f64 {
        let exponent = libm::ilogb(right.abs().max(f64::from(f32::MIN_POSITIVE)));
        (f64::from(found) - right).abs() / libm::exp2(f64::from(exponent - 23))
    }

    #[test]
    fn near_the_real_value_at_every_exponent() {
        let (mut worst_sigmoid, mut worst_tanh) = ((0.0, 0.0), (0.0, 0.0));
        // the exponents where the curves bend are sampled more closely
        let mut visit = |x: f32| {
            if x.is_nan() {
                assert!(sigmoid(x).is_nan() && tanh(x).is_nan());
                return;
            }
            let wide = f64::from(x);
            let error = ulps(tanh(x), libm::tanh(wide));
            if error > worst_tanh.0 {
                worst_tanh = (error, x);
            }
            let right = 1.0 / (1.0 + libm::exp(-wide));
            if x >= -SIGMOID_END {
                let error = ulps(sigmoid(x), right);
                if error > worst_sigmoid.0 {
                    worst_sigmoid = (error, x);
                }
            } else {
                assert_eq!(sigmoid(x), sigmoid(-SIGMOID_END));
                assert!((f64::from(sigmoid(x)) - right).abs() < 1.7e-38);
            }
        };
        everywhere(200, &mut visit);
        for step in 0..400_000 {
            visit((step - 200_000) as f32 * (1.0 / 2_048.0 + 1e-7));
        }
        println!("sigmoid {worst_sigmoid:?}, tanh {worst_tanh:?} (units in the last place, at)");
        assert!(worst_sigmoid.0 <= 2.5, "{worst_sigmoid:?}");
        assert!(worst_tanh.0 <= 2.5, "{worst_tanh:?}");
    }

    #[test]
    fn the_ends() {
        assert_eq!(sigmoid(0.0), 0.5);
        assert_eq!(sigmoid(-0.0), 0.5);
        assert_eq!(sigmoid(f32::INFINITY), 1.0);
        assert!(sigmoid(f32::NEG_INFINITY) < 1.7e-38);
        assert_eq!(tanh(0.0).to_bits(), 0);
        assert_eq!(tanh(-0.0).to_bits(), 1 << 31);
        assert_eq!(tanh(f32::INFINITY), 1.0);
        assert_eq!(tanh(f32::NEG_INFINITY), -1.0);
        let least = f32::from_bits(1);
        assert_eq!((tanh(least), tanh(-least)), (least, -least));
    }

    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[test]
    fn vectors_have_the_same_bits() {
        use qconfig_core::{Isa, IsaLevel};
        #[cfg(target_arch = "x86_64")]
        use {IsaLevel::Avx2 as LEVEL, avx2::both};
        #[cfg(target_arch = "aarch64")]
        use {IsaLevel::Neon as LEVEL, neon::both};
        if Isa::require(LEVEL).is_err() {
            println!("not run: {LEVEL} (this CPU lacks it)");
            return;
        }
        let mut lanes = Vec::new();
        everywhere(64, |x| lanes.push(x));
        for chunk in lanes.as_chunks::<8>().0 {
            // SAFETY: the CPU has what the level asks for.
            let (s, t) = unsafe { both(chunk) };
            for (i, x) in chunk.iter().enumerate() {
                if x.is_nan() {
                    assert!(s[i].is_nan() && t[i].is_nan());
                } else {
                    assert_eq!(s[i].to_bits(), sigmoid(*x).to_bits(), "sigmoid({x:e})");
                    assert_eq!(t[i].to_bits(), tanh(*x).to_bits(), "tanh({x:e})");
                }
            }
        }
    }
}
