//! Functions of one value.

use super::types::{made, narrow, wide};
use super::{Call, Operator, Problem, filled, misfit};
use crate::array::{Array, Data, ElementType, Number};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("Abs", |call| signed(call, i64::saturating_abs, f64::abs)),
    ("Acos", |call| float(call, libm::acos)),
    ("Acosh", |call| float(call, libm::acosh)),
    ("Asin", |call| float(call, libm::asin)),
    ("Asinh", |call| float(call, libm::asinh)),
    ("Atan", |call| float(call, libm::atan)),
    ("Atanh", |call| float(call, libm::atanh)),
    ("BitwiseNot", bitwise_not),
    ("Ceil", |call| float(call, f64::ceil)),
    ("Celu", celu),
    ("Clip", clip),
    ("Cos", |call| float(call, libm::cos)),
    ("Cosh", |call| float(call, libm::cosh)),
    ("Dropout", dropout),
    ("Elu", elu),
    ("Erf", |call| float(call, libm::erf)),
    ("Exp", |call| float(call, libm::exp)),
    ("Floor", |call| float(call, f64::floor)),
    ("Gelu", gelu),
    ("HardSigmoid", hard_sigmoid),
    ("HardSwish", |call| {
        float(call, |x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0))
    }),
    ("IsInf", is_inf),
    ("IsNaN", is_nan),
    ("LeakyRelu", leaky_relu),
    ("Log", |call| float(call, libm::log)),
    ("Mish", |call| float(call, |x| x * libm::tanh(softplus(x)))),
    ("Neg", |call| signed(call, i64::wrapping_neg, |x| -x)),
    ("Not", not),
    ("Reciprocal", |call| float(call, |x| 1.0 / x)),
    ("Relu", |call| {
        // a NaN stays one
        signed(call, |x| x.max(0), |x| if x < 0.0 { 0.0 } else { x })
    }),
    ("Round", |call| float(call, libm::rint)),
    ("Selu", selu),
    ("Shrink", shrink),
    ("Sigmoid", |call| float(call, sigmoid)),
    ("Sign", |call| {
        signed(call, i64::signum, |x| {
            if x == 0.0 || x.is_nan() {
                x
            } else {
                x.signum()
            }
        })
    }),
    ("Sin", |call| float(call, libm::sin)),
    ("Sinh", |call| float(call, libm::sinh)),
    ("Softplus", |call| float(call, softplus)),
    ("Softsign", |call| float(call, |x| x / (1.0 + x.abs()))),
    ("Sqrt", |call| float(call, f64::sqrt)),
    ("Swish", |call| {
        let alpha = f64::from(call.attributes().float("alpha", 1.0)?);
        float(call, move |x| x * sigmoid(alpha * x))
    }),
    ("Tan", |call| float(call, libm::tan)),
    ("Tanh", |call| float(call, libm::tanh)),
    ("ThresholdedRelu", thresholded_relu),
];

/// A function of floats.
pub(super) fn float(call: Call<'_>, f: impl Fn(f64) -> f64) -> Result<Vec<Array>, Problem> {
    fn mapped<T: Number>(values: &[T], f: impl Fn(f64) -> f64) -> Vec<T> {
        values.iter().map(|x| T::from_f64(f(x.to_f64()))).collect()
    }
    let shape = call.input(0)?.shape().to_vec();
    Ok(vec![
        on_floats!(call, 0, values => filled(shape, mapped(values, f)))?,
    ])
}

/// A function of numbers, one way for integers and one for floats.
fn signed(
    call: Call<'_>,
    integers: fn(i64) -> i64,
    floats: fn(f64) -> f64,
) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    if input.element_type().is_float() {
        return float(call, floats);
    }
    macro_rules! mapped {
        ($($variant:ident as $type:ty),*) => {
            match input.data() {
                $(Data::$variant(values) => {
                    Data::$variant(values.iter().map(|x| integers(i64::from(*x)) as $type).collect())
                })*
                // none of the functions changes a number that has no sign
                Data::UInt64(values) if integers(2) == 2 => Data::UInt64(values.clone()),
                Data::UInt64(values) => Data::UInt64(values.iter().map(|x| u64::from(*x != 0)).collect()),
                other => return Err(Problem::Type(0, other.element_type())),
            }
        };
    }
    if matches!(input.data(), Data::UInt64(_)) && integers(2) < 0 {
        return Err(Problem::Type(0, ElementType::UInt64));
    }
    let data = mapped!(
        Int8 as i8,
        Int16 as i16,
        Int32 as i32,
        Int64 as i64,
        UInt8 as u8,
        UInt16 as u16,
        UInt32 as u32
    );
    Ok(vec![made(input.shape().to_vec(), data)?])
}

/// `1 / (1 + e^-x)`.
pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

/// `log(1 + e^x)`, without overflow.
pub(super) fn softplus(x: f64) -> f64 {
    x.max(0.0) + libm::log1p(libm::exp(-x.abs()))
}

/// `x` times the normal distribution's integral up to it, or its approximation by a hyperbolic tangent.
pub(super) fn gelu_of(x: f64, approximate: bool) -> f64 {
    if approximate {
        let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
        0.5 * x * (1.0 + libm::tanh(inner))
    } else {
        0.5 * x * (1.0 + libm::erf(x / std::f64::consts::SQRT_2))
    }
}

fn gelu(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let approximate = match call.attributes().string("approximate", "none")? {
        "none" => false,
        "tanh" => true,
        _ => return Err(call.attributes().unsupported("approximate").into()),
    };
    float(call, |x| gelu_of(x, approximate))
}

fn celu(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let alpha = f64::from(call.attributes().float("alpha", 1.0)?);
    float(call, |x| {
        x.max(0.0) + (alpha * libm::expm1(x / alpha)).min(0.0)
    })
}

fn elu(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let alpha = f64::from(call.attributes().float("alpha", 1.0)?);
    float(call, |x| if x < 0.0 { alpha * libm::expm1(x) } else { x })
}

fn selu(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let alpha = f64::from(call.attributes().float("alpha", 1.673_263_2)?);
    let gamma = f64::from(call.attributes().float("gamma", 1.050_701)?);
    float(call, |x| {
        gamma * if x > 0.0 { x } else { alpha * libm::expm1(x) }
    })
}

fn hard_sigmoid(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let alpha = f64::from(call.attributes().float("alpha", 0.2)?);
    let beta = f64::from(call.attributes().float("beta", 0.5)?);
    float(call, |x| (alpha * x + beta).clamp(0.0, 1.0))
}

fn leaky_relu(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let alpha = f64::from(call.attributes().float("alpha", 0.01)?);
    float(call, |x| if x < 0.0 { alpha * x } else { x })
}

fn thresholded_relu(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let alpha = f64::from(call.attributes().float("alpha", 1.0)?);
    float(call, |x| if x > alpha { x } else { 0.0 })
}

fn shrink(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let lambd = f64::from(call.attributes().float("lambd", 0.5)?);
    let bias = f64::from(call.attributes().float("bias", 0.0)?);
    float(call, |x| {
        if x < -lambd {
            x + bias
        } else if x > lambd {
            x - bias
        } else {
            0.0
        }
    })
}

/// Both bounds are inputs since version 11, attributes before.
fn clip(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    fn clipped<T: Number>(
        call: Call<'_>,
        values: &[T],
        shape: Vec<usize>,
    ) -> Result<Vec<Array>, Problem> {
        let bound = |at: usize, name: &str| {
            if call.opset < 11 {
                let value = call.attributes().opt_float(name)?;
                return Ok(value.map(|x| T::from_f64(f64::from(*x))));
            }
            match call.optional(at) {
                None => Ok(None),
                Some(_) => match call.values::<T>(at)? {
                    [one] => Ok(Some(*one)),
                    _ => misfit(format!("input {at} must be a single number")),
                },
            }
        };
        let (low, high) = (bound(1, "min")?, bound(2, "max")?);
        let cut = |x: &T| {
            let x = low.map_or(*x, |low| if *x < low { low } else { *x });
            high.map_or(x, |high| if x > high { high } else { x })
        };
        Ok(vec![filled(shape, values.iter().map(cut).collect())?])
    }
    let shape = call.input(0)?.shape().to_vec();
    on_numbers!(call, 0, values => clipped(call, values, shape))
}

/// As at inference: nothing is dropped.
fn dropout(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let training = match call.optional(2) {
        Some(_) => call.values::<bool>(2)? == [true],
        None => false,
    };
    let ratio = match call.optional(1) {
        Some(ratio) => wide(ratio).first().copied().unwrap_or(0.0),
        None => f64::from(call.attributes().float("ratio", 0.5)?),
    };
    if training && ratio != 0.0 {
        return Err(Problem::Unsupported("dropping at random".into()));
    }
    let input = call.input(0)?;
    let mask = filled(input.shape().to_vec(), vec![true; input.len()])?;
    Ok(vec![input.clone(), mask])
}

fn is_nan(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let found = call.floats(0)?.iter().map(|x| x.is_nan()).collect();
    Ok(vec![filled(call.input(0)?.shape().to_vec(), found)?])
}

fn is_inf(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let negative = call.attributes().flag("detect_negative", true)?;
    let positive = call.attributes().flag("detect_positive", true)?;
    let inf = |x: &f64| x.is_infinite() && if *x > 0.0 { positive } else { negative };
    let found = call.floats(0)?.iter().map(inf).collect();
    Ok(vec![filled(call.input(0)?.shape().to_vec(), found)?])
}

fn not(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let values = call.values::<bool>(0)?.iter().map(|x| !x).collect();
    Ok(vec![filled(call.input(0)?.shape().to_vec(), values)?])
}

fn bitwise_not(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    macro_rules! inverted {
        ($($variant:ident),*) => {
            match input.data() {
                $(Data::$variant(values) => Data::$variant(values.iter().map(|x| !x).collect()),)*
                other => return Err(Problem::Type(0, other.element_type())),
            }
        };
    }
    let data = inverted!(Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64);
    Ok(vec![made(input.shape().to_vec(), data)?])
}

/// [`float`] for a function with a parameter a value; `narrow` rounds.
pub(super) fn like(array: &Array, values: Vec<f64>) -> Result<Array, Problem> {
    narrow(array.shape().to_vec(), values, array.element_type())
}
