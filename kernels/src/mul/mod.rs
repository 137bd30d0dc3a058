//! `a * b` of quantized tensors, with an activation.
//!
//! `clamp(rne(f32((a - za) * (b - zb)) * multiplier) + zo)`, the product exact. For `quint8` the multiplier
//! is ATen's, `(sa * sb) * (1 / so)`, for `qint8` XNNPACK's, `(sa * sb) / so`, step by step in f32.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "aarch64")]
mod neon;
mod reference;

use qconfig_core::kernel::{
    BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Signature, Sizes, Split,
    Unary,
};
use qconfig_core::{DType, Isa};

use crate::affine::stored;
use crate::blob::{HEADER, Tag, exact};
use crate::broadcast::{Broadcast, SECTION};
use crate::output::Output;
use crate::{lut, q8_lut, units};

/// Multiplies two quantized tensors of the same dtype, whose shapes broadcast to the output's as numpy's
/// do; or a tensor and a number, by [`Q8Lut`](crate::Q8Lut). See the module for the formula.
#[derive(Clone, Copy, Debug)]
pub struct Q8Mul;

const NAME: &str = "q8_mul";
const TAG: Tag = Tag {
    word: *b"mul1",
    kernel: NAME,
};
/// Header, then how the operands broadcast.
const BLOB: usize = HEADER + SECTION;

impl KernelFamily for Q8Mul {
    const KERNEL: &'static Kernel = &Kernel {
        name: NAME,
        signature: Signature::activations(
            &[DType::quint8, DType::qint8],
            &[DType::quint8, DType::qint8],
        ),
        sizes,
        pack,
        split,
        run,
        variant,
    };
}

#[derive(Clone, Copy, PartialEq, Debug)]
struct Params {
    /// Finite, not negative.
    multiplier: f32,
    zero_points: [u8; 2],
    output: Output,
}

struct Header {
    shape: Broadcast,
    params: Params,
}

fn plan(spec: &NodeSpec<'_>) -> Result<Header, Refusal> {
    if spec.op != NodeOp::Mul {
        return Err(Refusal::Operator(
            "this kernel multiplies and does nothing else",
        ));
    }
    let inputs @ [a, b] = units::arity(spec)?;
    for input in inputs {
        if input.dtype != spec.output.dtype {
            return Err(Refusal::DType {
                place: "input",
                dtype: input.dtype,
            });
        }
    }
    let (za, zb, to) = (
        stored("input", a)?,
        stored("input", b)?,
        stored("output", &spec.output)?,
    );
    let product = za.scale * zb.scale;
    let multiplier = match a.dtype {
        DType::quint8 => product * (1.0 / to.scale),
        _ => product / to.scale,
    };
    if !multiplier.is_finite() {
        return Err(Refusal::Scale {
            what: "the scale of the product by the output's",
            value: multiplier,
            low: 0.0,
            high: f32::INFINITY,
        });
    }
    Ok(Header {
        shape: Broadcast::new(inputs, &spec.output)?,
        params: Params {
            multiplier,
            zero_points: [za.zero_point as u8, zb.zero_point as u8],
            output: Output::new(spec.activation, to),
        },
    })
}

/// Whether a node multiplies by a number: the table's kernel takes over, by its tag in the blob.
fn is_scalar(spec: &NodeSpec<'_>) -> bool {
    matches!(spec.op, NodeOp::Unary(Unary::MulScalar { .. }))
}

fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    if is_scalar(spec) {
        return q8_lut::QNNPACK.sizes(spec);
    }
    plan(spec)?;
    Ok(Sizes {
        blob: BLOB,
        scratch: 0,
    })
}

/// Words: multiplier, zero points of both operands and of the output, bounds.
fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    if is_scalar(spec) {
        return q8_lut::QNNPACK.pack(spec, blob);
    }
    let Header { shape, params } = plan(spec)?;
    units::blob_length(blob, BLOB)?;
    let [a, b] = params.zero_points.map(u32::from);
    let Output {
        zero_point,
        low,
        high,
    } = params.output;
    let mut words = [0; 15];
    words[..6].copy_from_slice(&[
        params.multiplier.to_bits(),
        a,
        b,
        zero_point.into(),
        low.into(),
        high.into(),
    ]);
    let (header, section) = blob.split_at_mut(HEADER);
    TAG.write(header, &words);
    shape.write(section)
}

impl Header {
    fn read(blob: &[u8]) -> Result<Self, BlobError> {
        exact("the blob", blob.len(), BLOB)?;
        let [multiplier, bytes @ ..] = TAG.read(blob)?;
        let decode = || {
            let mut stored = [0; 5];
            for (to, word) in stored.iter_mut().zip(bytes) {
                *to = u8::try_from(word).ok()?;
            }
            let [a, b, zero_point, low, high] = stored;
            let multiplier = f32::from_bits(multiplier);
            Some(Self {
                shape: Broadcast::read(blob.get(HEADER..)?)?,
                params: Params {
                    multiplier: Some(multiplier).filter(|m| m.is_finite() && *m >= 0.0)?,
                    zero_points: [a, b],
                    output: Output {
                        zero_point,
                        low,
                        high,
                    },
                },
            })
        };
        decode().ok_or(BlobError::Header(NAME))
    }

    fn split(&self, inputs: &[usize]) -> Result<Split, BlobError> {
        self.shape.check(units::lengths(inputs)?)?;
        Ok(units::split(self.shape.elements(), 1, 1 << 15))
    }
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    if q8_lut::QNNPACK.owns(blob) {
        return q8_lut::QNNPACK.split(blob, inputs);
    }
    Header::read(blob)?.split(inputs)
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    if q8_lut::QNNPACK.owns(call.blob) {
        return q8_lut::QNNPACK.run(call);
    }
    let header = Header::read(call.blob)?;
    let (a, b) = (units::input(call.inputs, 0)?, units::input(call.inputs, 1)?);
    let split = header.split(&[a.len(), b.len()])?;
    let part = units::part(&split, &call.units, call.output.len())?;
    let params = &header.params;
    let mul = |a: &[u8], b: &[u8], y: &mut [u8]| match call.isa.level() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an `Isa` of such a level proves that the CPU has AVX2.
        level if level.has_avx2() => unsafe { avx2::mul(params, a, b, y) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: an `Isa` of such a level proves that the CPU has NEON.
        level if level.has_neon() => unsafe { neon::mul(params, a, b, y) },
        _ => reference::mul(params, a, b, y),
    };
    header.shape.spans(part.start, [a, b], call.output, mul);
    Ok(())
}

fn variant(blob: &[u8], isa: Isa) -> &'static str {
    if q8_lut::QNNPACK.owns(blob) {
        return lut::variant(isa);
    }
    match isa.level() {
        level if level.has_avx2() => "x32__avx2",
        level if level.has_neon() => "x16__neon",
        _ => "x1__scalar",
    }
}
