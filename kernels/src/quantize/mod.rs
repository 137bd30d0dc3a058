//! `float32` to `quint8` or `qint8`: `clamp(rne(x * (1 / scale)) + zero_point)`.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "aarch64")]
mod neon;
mod reference;

use qconfig_core::kernel::{
    Activation, BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Signature, Sizes,
    Split,
};
use qconfig_core::{DType, Isa};

use crate::affine::{Stored, stored};
use crate::blob::{HEADER, Tag, exact};
use crate::units;

/// Quantizes `float32` per tensor, as torch's `quantize_per_tensor` (FBGEMM's form, which multiplies by
/// the reciprocal). NaN becomes the zero point, infinities the ends of the range.
#[derive(Clone, Copy, Debug)]
pub struct Quantize;

const NAME: &str = "quantize";
const TAG: Tag = Tag {
    word: *b"qnt1",
    kernel: NAME,
};

impl KernelFamily for Quantize {
    const KERNEL: &'static Kernel = &Kernel {
        name: NAME,
        signature: Signature::activations(&[DType::float32], &[DType::quint8, DType::qint8]),
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
    to: Stored,
}

fn plan(spec: &NodeSpec<'_>) -> Result<(u32, Stored), Refusal> {
    if spec.op != NodeOp::Quantize || spec.activation != Activation::None {
        return Err(Refusal::Operator(
            "this kernel quantizes and does nothing else",
        ));
    }
    let [input] = units::arity(spec)?;
    if input.dtype != DType::float32 {
        return Err(Refusal::DType {
            place: "input",
            dtype: input.dtype,
        });
    }
    Ok((
        units::same_shape(input, &spec.output)?,
        stored("output", &spec.output)?,
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
    let (elements, to) = plan(spec)?;
    units::blob_length(blob, HEADER)?;
    let mut words = [0; 15];
    words[..3].copy_from_slice(&[elements, to.scale.to_bits(), to.zero_point as u32]);
    TAG.write(blob, &words);
    Ok(())
}

impl Header {
    fn read(blob: &[u8]) -> Result<Self, BlobError> {
        exact("the blob", blob.len(), HEADER)?;
        let [elements, scale, zero_point, ..] = TAG.read(blob)?;
        let to = Stored {
            scale: f32::from_bits(scale),
            zero_point: zero_point as i32,
        };
        if !(to.scale.is_normal() && to.scale > 0.0) || zero_point > 255 {
            return Err(BlobError::Header(NAME));
        }
        Ok(Self {
            elements: elements as usize,
            to,
        })
    }

    fn split(&self, inputs: &[usize]) -> Result<Split, BlobError> {
        let [input] = units::lengths(inputs)?;
        exact(
            "the input",
            input,
            self.elements
                .checked_mul(4)
                .ok_or(BlobError::Header(NAME))?,
        )?;
        Ok(units::split(self.elements, 1, 1 << 16))
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
    let input = units::slice(input, part.start * 4..part.end * 4)?;
    quantize(call.isa, header.to, input, call.output);
    Ok(())
}

/// Quantizes native-endian `f32` bytes, one output byte each.
pub(crate) fn quantize(isa: Isa, to: Stored, input: &[u8], output: &mut [u8]) {
    match isa.level() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an `Isa` of such a level proves that the CPU has AVX2.
        level if level.has_avx2() => unsafe { avx2::quantize(to, input, output) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: an `Isa` of such a level proves that the CPU has NEON.
        level if level.has_neon() => unsafe { neon::quantize(to, input, output) },
        _ => reference::quantize(to, input, output),
    }
}

fn variant(_: &[u8], isa: Isa) -> &'static str {
    match isa.level() {
        level if level.has_avx2() => "x32__avx2",
        level if level.has_neon() => "x16__neon",
        _ => "x1__scalar",
    }
}
