//! Functions of one value, and the activations alone.

use qconfig_core::DType;
use qconfig_core::kernel::{
    Activation, BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Signature, Sizes,
    Split, Unary,
};

use super::loops::{Cells, Loop, cells, cells_mut, clamp, get, variant, vectorized};
use super::math;
use crate::blob::{HEADER, Tag, exact};
use crate::q8_linear_dynamic::{float_bounds, floats};
use crate::units;

/// A function of each element ([`NodeOp::Unary`]), or the activation alone ([`NodeOp::Clamp`]), of `float32`
/// tensors; an activation behind.
///
/// Exponentials, sigmoids, hyperbolic tangents, error functions and what is made of them are polynomials in
/// `f32`, a few units in the last place from the real value; the other transcendental functions are evaluated
/// in `f64` and rounded once ([`unary`](crate::unary)).
#[derive(Clone, Copy, Debug)]
pub struct F32Unary;

const NAME: &str = "f32_unary";
const TAG: Tag = Tag {
    word: *b"fun1",
    kernel: NAME,
};

impl KernelFamily for F32Unary {
    const KERNEL: &'static Kernel = &Kernel {
        name: NAME,
        signature: Signature::activations(&[DType::float32], &[DType::float32]),
        sizes,
        pack,
        split,
        run,
        variant,
    };
}

/// Words: elements, function, its parameter (`f64`), bounds.
struct Header {
    elements: usize,
    function: Option<Unary>,
    low: f32,
    high: f32,
}

/// The functions by number, from 1 on.
const FUNCTIONS: &[Unary] = &[
    Unary::Hardswish,
    Unary::Hardsigmoid,
    Unary::Sigmoid,
    Unary::Tanh,
    Unary::Elu { alpha: 0.0 },
    Unary::LeakyRelu {
        negative_slope: 0.0,
    },
    Unary::Gelu { tanh: false },
    Unary::FloorDivide { divisor: 0.0 },
    Unary::AddScalar { other: 0.0 },
    Unary::MulScalar { other: 0.0 },
    Unary::PowScalar { exponent: 0.0 },
    Unary::Silu,
    Unary::Mish,
    Unary::Softplus { beta: 0.0 },
    Unary::Softsign,
    Unary::Exp,
    Unary::Log,
    Unary::Sqrt,
    Unary::Rsqrt,
    Unary::Reciprocal,
    Unary::Neg,
    Unary::Abs,
    Unary::Sign,
    Unary::Erf,
    Unary::Floor,
    Unary::Ceil,
    Unary::Round,
    Unary::Sin,
    Unary::Cos,
    Unary::Tan,
    Unary::Asin,
    Unary::Acos,
    Unary::Atan,
    Unary::Sinh,
    Unary::Cosh,
    Unary::Asinh,
    Unary::Acosh,
    Unary::Atanh,
];

/// The parameter of a function, where it has one.
fn parameter(function: Unary) -> f64 {
    match function {
        Unary::Elu { alpha: p }
        | Unary::LeakyRelu { negative_slope: p }
        | Unary::Softplus { beta: p } => f64::from(p),
        Unary::FloorDivide { divisor: p }
        | Unary::AddScalar { other: p }
        | Unary::MulScalar { other: p }
        | Unary::PowScalar { exponent: p } => p,
        Unary::Gelu { tanh } => f64::from(u8::from(tanh)),
        _ => 0.0,
    }
}

/// The function with another parameter.
fn with(function: Unary, p: f64) -> Unary {
    match function {
        Unary::Elu { .. } => Unary::Elu { alpha: p as f32 },
        Unary::LeakyRelu { .. } => Unary::LeakyRelu {
            negative_slope: p as f32,
        },
        Unary::Softplus { .. } => Unary::Softplus { beta: p as f32 },
        Unary::FloorDivide { .. } => Unary::FloorDivide { divisor: p },
        Unary::AddScalar { .. } => Unary::AddScalar { other: p },
        Unary::MulScalar { .. } => Unary::MulScalar { other: p },
        Unary::PowScalar { .. } => Unary::PowScalar { exponent: p },
        Unary::Gelu { .. } => Unary::Gelu { tanh: p != 0.0 },
        other => other,
    }
}

fn plan(spec: &NodeSpec<'_>) -> Result<[u32; 6], Refusal> {
    let [input] = units::arity(spec)?;
    floats(spec)?;
    let function = match spec.op {
        NodeOp::Unary(function) => Some(function),
        NodeOp::Clamp if spec.activation != Activation::None => None,
        _ => {
            return Err(Refusal::Operator(
                "this kernel takes functions of one value",
            ));
        }
    };
    let parameter = function.map_or(0.0, parameter);
    if !parameter.is_finite() {
        return Err(Refusal::Operator(
            "a parameter of the function is NaN or infinite",
        ));
    }
    let number = match function {
        None => 0,
        Some(function) => {
            let same = |known: &Unary| with(*known, parameter) == function;
            let at = FUNCTIONS.iter().position(same);
            at.ok_or(Refusal::Operator(
                "a function that this kernel does not know",
            ))? + 1
        }
    };
    let (low, high) = float_bounds(spec.activation);
    let bits = parameter.to_bits();
    Ok([
        units::same_shape(input, &spec.output)?,
        number as u32,
        bits as u32,
        (bits >> 32) as u32,
        low.to_bits(),
        high.to_bits(),
    ])
}

fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    plan(spec)?;
    Ok(Sizes {
        blob: HEADER,
        scratch: 0,
    })
}

fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let mut words = [0; 15];
    words[..6].copy_from_slice(&plan(spec)?);
    units::blob_length(blob, HEADER)?;
    TAG.write(blob, &words);
    Ok(())
}

fn read(blob: &[u8]) -> Result<Header, BlobError> {
    exact("the blob", blob.len(), HEADER)?;
    let [elements, number, first, second, low, high, ..] = TAG.read(blob)?;
    let parameter = f64::from_bits(u64::from(first) | u64::from(second) << 32);
    let function = match (number as usize).checked_sub(1) {
        None => None,
        Some(at) => {
            let known = FUNCTIONS.get(at).ok_or(BlobError::Header(NAME))?;
            Some(with(*known, parameter))
        }
    };
    Ok(Header {
        elements: elements as usize,
        function,
        low: f32::from_bits(low),
        high: f32::from_bits(high),
    })
}

impl Header {
    fn split(&self, inputs: &[usize]) -> Result<Split, BlobError> {
        let [input] = units::lengths(inputs)?;
        exact("the input", input, self.elements.saturating_mul(4))?;
        // from plain arithmetic, bound by memory, to functions of hundreds of cycles
        let grain = match self.function {
            None
            | Some(
                Unary::Hardswish
                | Unary::Hardsigmoid
                | Unary::LeakyRelu { .. }
                | Unary::AddScalar { .. }
                | Unary::MulScalar { .. }
                | Unary::Neg
                | Unary::Abs,
            ) => 1 << 16,
            _ => 1 << 13,
        };
        Ok(units::split(self.elements, 4, grain))
    }
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    read(blob)?.split(inputs)
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    let header = read(call.blob)?;
    let input = units::input(call.inputs, 0)?;
    let split = header.split(&[input.len()])?;
    let part = units::part(&split, &call.units, call.output.len())?;
    let work = Map {
        header: &header,
        input: cells(units::slice(input, part)?),
        output: cells_mut(call.output),
    };
    vectorized(call.isa, work);
    Ok(())
}

struct Map<'a> {
    header: &'a Header,
    input: &'a Cells,
    output: &'a mut Cells,
}

impl Map<'_> {
    #[inline(always)]
    fn each(self, f: impl Fn(f32) -> f32) {
        let (low, high) = (self.header.low, self.header.high);
        for (x, y) in self.input.iter().zip(self.output) {
            *y = clamp(f(get(x)), low, high).to_ne_bytes();
        }
    }
}

/// `min(max(x + 3, 0), 6)`.
#[inline(always)]
fn relu6(x: f32) -> f32 {
    clamp(x + 3.0, 0.0, 6.0)
}

impl Loop for Map<'_> {
    #[inline(always)]
    fn run(self) {
        let Some(function) = self.header.function else {
            return self.each(|x| x);
        };
        match function {
            Unary::Hardswish => self.each(|x| x * relu6(x) / 6.0),
            Unary::Hardsigmoid => self.each(|x| relu6(x) / 6.0),
            Unary::Sigmoid => self.each(math::sigmoid),
            Unary::Tanh => self.each(math::tanh),
            Unary::Silu => self.each(|x| x * math::sigmoid(x)),
            Unary::Exp => self.each(math::exp),
            Unary::Erf => self.each(math::erf),
            Unary::Gelu { tanh: false } => self.each(math::gelu),
            Unary::Gelu { tanh: true } => self.each(math::gelu_tanh),
            Unary::LeakyRelu { negative_slope } => {
                self.each(|x| if x <= 0.0 { x * negative_slope } else { x });
            }
            Unary::AddScalar { other } => {
                let other = other as f32;
                self.each(|x| x + other);
            }
            Unary::MulScalar { other } => {
                let other = other as f32;
                self.each(|x| x * other);
            }
            Unary::PowScalar { exponent: 2.0 } => self.each(|x| x * x),
            Unary::Reciprocal => self.each(|x| 1.0 / x),
            Unary::Neg => self.each(|x| -x),
            Unary::Abs => self.each(f32::abs),
            other => self.each(|x| crate::unary(other, x)),
        }
    }
}
