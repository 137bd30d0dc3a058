//! The functions in f32. Exponentials are evaluated in f64 and rounded once, so that no platform's
//! library decides a bit.

use qconfig_core::kernel::{Binary, Padding, Unary};

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
        Unary::Reciprocal => 1.0 / x,
        Unary::Neg => -x,
        Unary::Abs => x.abs(),
        Unary::Softsign => x / (1.0 + x.abs()),
        Unary::Sqrt => libm::sqrtf(x),
        Unary::Floor => libm::floorf(x),
        Unary::Ceil => libm::ceilf(x),
        Unary::Round => libm::rintf(x),
        Unary::Sign if x == 0.0 => x,
        Unary::Sign if x.is_nan() => x,
        Unary::Sign => 1.0f32.copysign(x),
        _ => wide(function, f64::from(x)) as f32,
    }
}

/// The others, rounded once.
fn wide(function: Unary, x: f64) -> f64 {
    match function {
        Unary::PowScalar { exponent } => libm::pow(x, exponent),
        Unary::Silu => x / (1.0 + libm::exp(-x)),
        Unary::Mish => x * libm::tanh(softplus(x)),
        Unary::Softplus { beta } => softplus(x * f64::from(beta)) / f64::from(beta),
        Unary::Exp => libm::exp(x),
        Unary::Log => libm::log(x),
        Unary::Rsqrt => 1.0 / libm::sqrt(x),
        Unary::Erf => libm::erf(x),
        Unary::Sin => libm::sin(x),
        Unary::Cos => libm::cos(x),
        Unary::Tan => libm::tan(x),
        Unary::Asin => libm::asin(x),
        Unary::Acos => libm::acos(x),
        Unary::Atan => libm::atan(x),
        Unary::Sinh => libm::sinh(x),
        Unary::Cosh => libm::cosh(x),
        Unary::Asinh => libm::asinh(x),
        Unary::Acosh => libm::acosh(x),
        Unary::Atanh => libm::atanh(x),
        // a function added to the vocabulary and not here
        _ => f64::NAN,
    }
}

/// `log(1 + exp(x))`; where `exp` would overflow it is `x`.
fn softplus(x: f64) -> f64 {
    if x > 40.0 {
        x
    } else {
        libm::log1p(libm::exp(x))
    }
}

/// The value of a function of two values in f32; powers in f64, rounded once.
pub fn binary(function: Binary, a: f32, b: f32) -> f32 {
    let truth = |holds: bool| if holds { 1.0 } else { 0.0 };
    match function {
        Binary::Sub => a - b,
        Binary::Div => a / b,
        Binary::Pow => libm::pow(f64::from(a), f64::from(b)) as f32,
        Binary::Minimum if a.is_nan() || a < b => a,
        Binary::Maximum if a.is_nan() || a > b => a,
        Binary::Minimum | Binary::Maximum => b,
        Binary::Less => truth(a < b),
        Binary::LessEqual => truth(a <= b),
        Binary::Greater => truth(a > b),
        Binary::GreaterEqual => truth(a >= b),
        Binary::Equal => truth(a == b),
        // a function added to the vocabulary and not here
        _ => f32::NAN,
    }
}

/// Where an output position of a padded axis is in the input, `size` long, `before` positions in; `None`
/// where nothing of it is.
pub fn padded_position(padding: Padding, at: usize, before: usize, size: usize) -> Option<usize> {
    let last = size.checked_sub(1)?;
    let inside = at.checked_sub(before);
    match (padding, inside) {
        (_, Some(at)) if at < size => Some(at),
        (Padding::Edge, None) => Some(0),
        (Padding::Edge, _) => Some(last),
        (Padding::Reflect, None) => Some((before - at).min(last)),
        (Padding::Reflect, Some(at)) => Some((2 * last).saturating_sub(at)),
        (Padding::Wrap, None) => Some(last - (before - at - 1) % size),
        (Padding::Wrap, Some(at)) => Some(at % size),
        _ => None,
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
