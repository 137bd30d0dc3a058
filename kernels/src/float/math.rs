//! Functions of one float in separately rounded steps without branches, so that a loop over them becomes
//! vectors of any width with the same bits.
//!
//! `e^x = 2^k (1 + p)` with `k = rne(x / ln 2)` and `p = e^r - 1` for `r = x - k ln 2`: Cephes' polynomial
//! (`expf`).

/// `e^r = 1 + r + r^2 q(r)` for `|r| <= ln 2 / 2`: the coefficients of `q`, highest first.
const POLYNOMIAL: [f32; 6] = [
    1.987_569_1e-4,
    1.398_199_9e-3,
    8.333_452e-3,
    4.166_579_6e-2,
    0.166_666_66,
    0.5,
];
/// `ln 2` in two parts; the first has so few bits that its products with `k` are exact.
const LN2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// Added and subtracted, it rounds to an integer; its last bits are then that integer.
const ROUND: f32 = 12_582_912.0;

/// The larger one; NaN stays where it is `x`.
#[inline(always)]
fn least(x: f32, bound: f32) -> f32 {
    if x < bound { bound } else { x }
}

/// The smaller one; NaN stays where it is `x`.
#[inline(always)]
fn most(x: f32, bound: f32) -> f32 {
    if x > bound { bound } else { x }
}

/// `2^k` of an integer from -126 to 127.
#[inline(always)]
fn power(k: i32) -> f32 {
    f32::from_bits((k.wrapping_add(127) as u32) << 23)
}

/// `k` and `p`, for `|x|` up to about 150.
#[inline(always)]
fn parts(x: f32) -> (i32, f32) {
    let rounded = x * core::f32::consts::LOG2_E + ROUND;
    let k = rounded - ROUND;
    let r = x - k * LN2[0];
    let r = r - k * LN2[1];
    let [c0, c1, c2, c3, c4, c5] = POLYNOMIAL;
    let q = ((((c0 * r + c1) * r + c2) * r + c3) * r + c4) * r + c5;
    let p = q * (r * r) + r;
    let k = (rounded.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    (k, p)
}

/// `e^x`: infinite from 88.8 on, 0 below -104.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let (k, p) = parts(most(least(x, -105.0), 89.0));
    // in two steps: 2^k itself may be too large or too small
    let half = k >> 1;
    (1.0 + p) * power(half) * power(k.wrapping_sub(half))
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    let e = exp(-x.abs());
    let above = if x < 0.0 { e } else { 1.0 };
    above / (1.0 + e)
}

/// Beyond, `tanh` is 1 in `f32`.
const TANH_END: f32 = 9.1;

/// The hyperbolic tangent: `-m / (2 + m)` with `m = e^(-2 |x|) - 1`.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    let (k, p) = parts(-2.0 * most(x.abs(), TANH_END));
    let scale = power(k);
    let m = p * scale + (scale - 1.0);
    (-m / (2.0 + m)).abs().copysign(x)
}

/// The error function: Eigen's rational approximation, odd over even (`generic_fast_erf_float`).
#[inline(always)]
pub(super) fn erf(x: f32) -> f32 {
    let x = most(least(x, -4.0), 4.0);
    let y = x * x;
    let odd = -2.726_142_4e-10 * y + 2.770_681_3e-8;
    let odd = odd * y - 2.101_024e-6;
    let odd = odd * y - 5.692_506_4e-5;
    let odd = odd * y - 7.349_906_4e-4;
    let odd = odd * y - 2.954_6e-3;
    let odd = odd * y - 1.609_603_3e-2;
    let even = -1.456_607_2e-5 * y - 2.133_740_6e-4;
    let even = even * y - 1.682_827e-3;
    let even = even * y - 7.373_329e-3;
    let even = even * y - 1.426_474e-2;
    x * odd / even
}

/// `x P(X <= x)` of the normal distribution.
#[inline(always)]
pub(super) fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * core::f32::consts::FRAC_1_SQRT_2))
}

/// torch's `approximate="tanh"`.
#[inline(always)]
pub(super) fn gelu_tanh(x: f32) -> f32 {
    const SQRT_2_OVER_PI: f32 =
        core::f32::consts::FRAC_2_SQRT_PI * core::f32::consts::FRAC_1_SQRT_2;
    0.5 * x * (1.0 + tanh(SQRT_2_OVER_PI * (x + 0.044_715 * x * x * x)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest error relative to the real value, or to `floor` where that is larger.
    fn worst(from: f32, to: f32, f: fn(f32) -> f32, right: fn(f64) -> f64, floor: f64) -> f64 {
        let mut worst = 0.0f64;
        for step in 0..400_000 {
            let x = from + (to - from) * (step as f32 / 400_000.0);
            let right = right(f64::from(x));
            let error = (f64::from(f(x)) - right).abs() / right.abs().max(floor);
            worst = worst.max(error);
        }
        worst
    }

    #[test]
    fn near_the_real_values() {
        // in units of 2^-24, half the last place of 1
        let unit = libm::exp2(-24.0);
        let logistic = |x: f64| 1.0 / (1.0 + libm::exp(-x));
        let normal = |x: f64| 0.5 * x * libm::erfc(-x * core::f64::consts::FRAC_1_SQRT_2);
        for (name, error, most) in [
            ("exp", worst(-87.0, 88.7, exp, libm::exp, 0.0), 4.0),
            ("sigmoid", worst(-87.0, 30.0, sigmoid, logistic, 0.0), 6.0),
            ("tanh", worst(-10.0, 10.0, tanh, libm::tanh, 0.0), 8.0),
            ("erf", worst(-5.0, 5.0, erf, libm::erf, 0.0), 16.0),
            // far to the left a difference of nearly equal numbers
            ("gelu", worst(-6.0, 6.0, gelu, normal, 1.0), 24.0),
        ] {
            println!("{name}: {} units", error / unit);
            assert!(error <= most * unit, "{name}: {} units", error / unit);
        }
    }

    #[test]
    fn the_ends() {
        assert_eq!((exp(0.0), exp(f32::INFINITY)), (1.0, f32::INFINITY));
        assert_eq!((exp(f32::NEG_INFINITY), exp(-104.5)), (0.0, 0.0));
        assert_eq!(exp(89.0), f32::INFINITY);
        assert!(exp(-100.0) > 0.0, "not a normal number, and not 0");
        assert_eq!(sigmoid(f32::INFINITY), 1.0);
        assert_eq!(sigmoid(f32::NEG_INFINITY), 0.0);
        assert_eq!(tanh(f32::INFINITY), 1.0);
        assert_eq!(tanh(f32::NEG_INFINITY), -1.0);
        assert_eq!(tanh(-0.0).to_bits(), 1 << 31);
        for f in [exp, sigmoid, tanh, erf, gelu, gelu_tanh] {
            assert!(f(f32::NAN).is_nan());
        }
    }
}
