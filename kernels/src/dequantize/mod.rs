//! `quint8` or `qint8` to `float32`: `scale * (q - zero_point)`.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "aarch64")]
mod neon;
mod reference;

pub(crate) use reference::real;

use qconfig_core::kernel::{
    Activation, BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Signature, Sizes,
    Split,
};
use qconfig_core::{DType, Isa};

use crate::affine::{Stored, stored};
use crate::blob::{HEADER, Tag, exact};
use crate::units;

/// Dequantizes per tensor in the scalar form, one rounding, wherever an element stands. (torch's vector
/// loops use `fma(scale, q, -scale * zero_point)` for all but the tail.)
#[derive(Clone, Copy, Debug)]
pub struct Dequantize;

const NAME: &str = "dequantize";
const TAG: Tag = Tag {
    word: *b"dqt1",
    kernel: NAME,
};

impl KernelFamily for Dequantize {
    const KERNEL: &'static Kernel = &Kernel {
        name: NAME,
        signature: Signature::activations(&[DType::quint8, DType::qint8], &[DType::float32]),
        sizes,
        pack,
        split,
        run,
        variant,
    };
}

/// Words: elements, bits of the scale, stored zero point.
struct Header {
    elements: usize,
    from: Stored,
}

fn plan(spec: &NodeSpec<'_>) -> Result<(u32, Stored), Refusal> {
    if spec.op != NodeOp::Dequantize || spec.activation != Activation::None {
        return Err(Refusal::Operator(
            "this kernel dequantizes and does nothing else",
        ));
    }
    let [input] = units::arity(spec)?;
    if spec.output.dtype != DType::float32 {
        return Err(Refusal::DType {
            place: "output",
            dtype: spec.output.dtype,
        });
    }
    Ok((
        units::same_shape(input, &spec.output)?,
        stored("input", input)?,
    ))
}

fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    plan(spec)?;
    Ok(Sizes {
        blob: HEADER,
        scratch: 0,
    })
}

fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let (elements, from) = plan(spec)?;
    units::blob_length(blob, HEADER)?;
    let mut words = [0; 15];
    words[..3].copy_from_slice(&[elements, from.scale.to_bits(), from.zero_point as u32]);
    TAG.write(blob, &words);
    Ok(())
}

impl Header {
    fn read(blob: &[u8]) -> Result<Self, BlobError> {
        exact("the blob", blob.len(), HEADER)?;
        let [elements, scale, zero_point, ..] = TAG.read(blob)?;
        let from = Stored {
            scale: f32::from_bits(scale),
            zero_point: zero_point as i32,
        };
        let elements = elements as usize;
        if !(from.scale.is_normal() && from.scale > 0.0)
            || zero_point > 255
            || elements.checked_mul(4).is_none()
        {
            return Err(BlobError::Header(NAME));
        }
        Ok(Self { elements, from })
    }

    fn split(&self, inputs: &[usize]) -> Result<Split, BlobError> {
        let [input] = units::lengths(inputs)?;
        exact("the input", input, self.elements)?;
        Ok(units::split(self.elements, 4, 1 << 15))
    }
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    Header::read(blob)?.split(inputs)
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    let header = Header::read(call.blob)?;
    let input = units::input(call.inputs, 0)?;
    let split = header.split(&[input.len()])?;
    let part = units::part(&split, &call.units, call.output.len())?;
    let input = units::slice(input, part.start / 4..part.end / 4)?;
    match call.isa.level() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an `Isa` of such a level proves that the CPU has AVX2.
        level if level.has_avx2() => unsafe { avx2::dequantize(header.from, input, call.output) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: an `Isa` of such a level proves that the CPU has NEON.
        level if level.has_neon() => unsafe { neon::dequantize(header.from, input, call.output) },
        _ => reference::dequantize(header.from, input, call.output),
    }
    Ok(())
}

fn variant(_: &[u8], isa: Isa) -> &'static str {
    match isa.level() {
        level if level.has_avx2() => "x32__avx2",
        level if level.has_neon() => "x16__neon",
        _ => "x1__scalar",
    }
}
