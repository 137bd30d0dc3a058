//! The functions in f32. Exponentials are evaluated in f64 and rounded once, so that no platform's
//! library decides a bit.

use qconfig_core::kernel::Unary;

/// The value of a function in f32, in the steps that torch's float operators take; NaN gives NaN.
pub fn unary(function: Unary, x: f32) -> f32 {
    match function {
        Unary::Hardswish => x * relu6(x + 3.0) / 6.0,
        Unary::Hardsigmoid => relu6(x + 3.0) / 6.0,
        Unary::Sigmoid => 1.0 / (1.0 + libm::exp(-f64::from(x)) as f32),
        Unary::Tanh => libm::tanh(f64::from(x)) as f32,
        Unary::Elu { alpha } if x <= 0.0 => libm::expm1(f64::from(x)) as f32 * alpha,
        Unary::LeakyRelu { negative_slope } if x <= 0.0 => x * negative_slope,
        Unary::Elu { .. } | Unary::LeakyRelu { .. } => x,
        Unary::Gelu { tanh } => {
            let x = f64::from(x);
            let twice = if tanh {
                const SQRT_2_OVER_PI: f64 =
                    core::f64::consts::FRAC_2_SQRT_PI * core::f64::consts::FRAC_1_SQRT_2;
                1.0 + libm::tanh(SQRT_2_OVER_PI * (x + 0.044_715 * x * x * x))
            } else {
                1.0 + libm::erf(x * core::f64::consts::FRAC_1_SQRT_2)
            };
            (0.5 * x * twice) as f32
        }
        Unary::FloorDivide { divisor } => floor_divide(x, divisor as f32),
        Unary::AddScalar { other } => x + other as f32,
        Unary::MulScalar { other } => x * other as f32,
        // a function added to the vocabulary and not here
        _ => f32::NAN,
    }
}

/// `min(max(x, 0), 6)`.
fn relu6(x: f32) -> f32 {
    x.clamp(0.0, 6.0)
}

/// Python's `//` on floats, in torch's steps (`c10::div_floor_floating`).
fn floor_divide(a: f32, b: f32) -> f32 {
    let remainder = libm::fmodf(a, b);
    let mut quotient = (a - remainder) / b;
    if remainder != 0.0 && (b < 0.0) != (remainder < 0.0) {
        quotient -= 1.0;
    }
    if quotient == 0.0 {
        return libm::copysignf(0.0, a / b);
    }
    let floor = libm::floorf(quotient);
    if quotient - floor > 0.5 {
        floor + 1.0
    } else {
        floor
    }
}
