//! Functions of one value, as a table of 256 bytes that is made when the plan is.
//!
//! With `x = scale * (q - zero_point)` in f32, each entry is `quantize(f(x))` as
//! [`Quantize`](crate::Quantize) computes it, with four exceptions, where torch's engine rounds otherwise:
//! - hardswish adds the zero point before it rounds: `rne((1 / so) * f(x) + zo)` (QNNPACK);
//! - tanh too, with `f` in f64: `rne(f32((1 / so) * tanh(x) + zo))` (QNNPACK);
//! - `x + number` and `x * number` into the parameters that [`scalar_qparams`] gives keep the bytes, or
//!   requantize them, as torch's operators on a tensor and a number do.
//!
//! With FBGEMM's numerics ([`fbgemm::Q8Lut`](crate::fbgemm::Q8Lut)) hardswish and tanh are no exceptions.
//!
//! QNNPACK takes only 1/256 as the output scale of sigmoid and hardsigmoid and 1/128 as tanh's; here any
//! will do.

mod function;
mod scalar;

use qconfig_core::DType;
use qconfig_core::kernel::{
    BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Signature, Sizes, Split,
    Unary,
};

pub use self::function::{binary, padded_position, unary};
pub use self::scalar::scalar_qparams;
use crate::affine::{Numerics, Stored, bounds, quantize, round_ties_even, stored};
use crate::blob::Tag;
use crate::dequantize::real;
use crate::{lut, units};

/// Hardswish, hardsigmoid, sigmoid, tanh, ELU, leaky ReLU, GELU, floor division by a number, and sums and
/// products with a number, of `quint8` or `qint8` tensors; any quantization parameters in and out, an
/// activation behind. See the module for how each is rounded.
#[derive(Clone, Copy, Debug)]
pub struct Q8Lut;

/// Whose tables.
#[derive(Clone, Copy)]
pub(crate) struct Family {
    pub(crate) tag: Tag,
    numerics: Numerics,
}

/// Of [`Q8Lut`].
pub(crate) const QNNPACK: Family = Family {
    tag: Tag {
        word: *b"lut1",
        kernel: "q8_lut",
    },
    numerics: Numerics::Qnnpack,
};

/// Of [`fbgemm::Q8Lut`](crate::fbgemm::Q8Lut).
pub(crate) const FBGEMM: Family = Family {
    tag: Tag {
        word: *b"ltf1",
        kernel: "fbgemm_q8_lut",
    },
    numerics: Numerics::Fbgemm,
};

impl KernelFamily for Q8Lut {
    const KERNEL: &'static Kernel = &Kernel {
        name: QNNPACK.tag.kernel,
        signature: Signature::activations(
            &[DType::quint8, DType::qint8],
            &[DType::quint8, DType::qint8],
        ),
        sizes: |spec| QNNPACK.sizes(spec),
        pack: |spec, blob| QNNPACK.pack(spec, blob),
        split: |blob, inputs| QNNPACK.split(blob, inputs),
        run: |call| QNNPACK.run(call),
        variant: |_, isa| lut::variant(isa),
    };
}

/// `rne(x) + zero_point` where the zero point has been added already.
fn with_zero_point(x: f32) -> u8 {
    round_ties_even(x.clamp(0.0, 255.0)) as u8
}

/// The stored value of the function at a stored value.
fn entry(numerics: Numerics, function: Unary, q: u8, from: Stored, to: Stored) -> u8 {
    let x = real(from, q);
    let (inverse, zero_point) = (1.0 / to.scale, to.zero_point as f32);
    match function {
        _ if numerics == Numerics::Fbgemm => quantize(unary(function, x), to),
        // far out 0 * infinity may come up, where the scales are extreme: the quantize form is then right
        Unary::Hardswish if inverse.is_finite() && x.is_finite() => {
            with_zero_point(inverse * unary(function, x) + zero_point)
        }
        Unary::Tanh => {
            let y = f64::from(inverse) * libm::tanh(f64::from(x)) + f64::from(zero_point);
            with_zero_point(y as f32)
        }
        _ => quantize(unary(function, x), to),
    }
}

fn plan(numerics: Numerics, spec: &NodeSpec<'_>) -> Result<(u32, lut::Table), Refusal> {
    let NodeOp::Unary(function) = spec.op else {
        return Err(Refusal::Operator(
            "this kernel takes functions of one value",
        ));
    };
    let is_finite = match function {
        Unary::Elu { alpha: p } | Unary::LeakyRelu { negative_slope: p } => p.is_finite(),
        Unary::AddScalar { other } | Unary::MulScalar { other } => other.is_finite(),
        Unary::FloorDivide { divisor } => divisor.is_finite() && divisor as f32 != 0.0,
        _ => true,
    };
    if !is_finite {
        return Err(Refusal::Operator(
            "a parameter of the function is NaN, infinite, or a divisor of 0",
        ));
    }
    let [input] = units::arity(spec)?;
    let (from, to) = (stored("input", input)?, stored("output", &spec.output)?);
    let elements = units::same_shape(input, &spec.output)?;
    let (low, high) = bounds(spec.activation, to);
    // what torch makes of a tensor and a number
    let in_steps = match function {
        Unary::AddScalar { other } if input.dtype == spec.output.dtype => input
            .qparams
            .filter(|qparams| {
                scalar_qparams(function, input.dtype, *qparams) == spec.output.qparams
            })
            .map(|qparams| (other, qparams)),
        _ => None,
    };
    let flip = if input.dtype == DType::qint8 { 128 } else { 0 };
    let mut table = [0; 256];
    for (q, y) in (0..=255).zip(&mut table) {
        let sum = in_steps.and_then(|(other, qparams)| {
            scalar::add_in_steps(i32::from(q) - flip, other, input.dtype, qparams)
        });
        let value = match sum {
            Some(sum) => (sum + flip) as u8,
            None => entry(numerics, function, q, from, to),
        };
        *y = value.max(low).min(high);
    }
    Ok((elements, table))
}

impl Family {
    /// Whether a blob is this kernel's: those that hand numbers over ask.
    pub(crate) fn owns(self, blob: &[u8]) -> bool {
        blob.starts_with(&self.tag.word)
    }

    /// As [`Kernel::sizes`].
    pub(crate) fn sizes(self, spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
        plan(self.numerics, spec)?;
        Ok(Sizes {
            blob: lut::BLOB,
            scratch: 0,
        })
    }

    /// As [`Kernel::pack`].
    pub(crate) fn pack(self, spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
        let (elements, table) = plan(self.numerics, spec)?;
        lut::write(self.tag, blob, elements, &table)
    }

    /// As [`Kernel::split`].
    pub(crate) fn split(self, blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
        lut::split(self.tag, blob, inputs)
    }

    /// As [`Kernel::run`].
    pub(crate) fn run(self, call: Call<'_>) -> Result<(), BlobError> {
        lut::run(self.tag, call)
    }
}
