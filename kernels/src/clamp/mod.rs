//! relu, relu6, hardtanh and clamp where input and output share their quantization parameters.

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

use crate::affine::{bounds, stored};
use crate::blob::{HEADER, Tag, exact};
use crate::units;

/// `min(max(q, low), high)` on stored bytes; the bounds are quantized when the plan is made, as torch
/// does.
#[derive(Clone, Copy, Debug)]
pub struct Q8Clamp;

const NAME: &str = "q8_clamp";
const TAG: Tag = Tag {
    word: *b"clp1",
    kernel: NAME,
};

impl KernelFamily for Q8Clamp {
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

/// Words: elements, lower and upper bound.
struct Header {
    elements: usize,
    low: u8,
    high: u8,
}

fn plan(spec: &NodeSpec<'_>) -> Result<[u32; 3], Refusal> {
    if spec.op != NodeOp::Clamp || spec.activation == Activation::None {
        return Err(Refusal::Operator(
            "this kernel takes a clamp with its activation",
        ));
    }
    let [input] = units::arity(spec)?;
    let to = stored("output", &spec.output)?;
    if input.dtype != spec.output.dtype || stored("input", input)? != to {
        return Err(Refusal::Operator(
            "a clamp keeps the quantization parameters of its input",
        ));
    }
    let (low, high) = bounds(spec.activation, to);
    Ok([
        units::same_shape(input, &spec.output)?,
        low.into(),
        high.into(),
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
    words[..3].copy_from_slice(&plan(spec)?);
    units::blob_length(blob, HEADER)?;
    TAG.write(blob, &words);
    Ok(())
}

impl Header {
    fn read(blob: &[u8]) -> Result<Self, BlobError> {
        exact("the blob", blob.len(), HEADER)?;
        let [elements, low, high, ..] = TAG.read(blob)?;
        match (u8::try_from(low), u8::try_from(high)) {
            (Ok(low), Ok(high)) => Ok(Self {
                elements: elements as usize,
                low,
                high,
            }),
            _ => Err(BlobError::Header(NAME)),
        }
    }

    fn split(&self, inputs: &[usize]) -> Result<Split, BlobError> {
        let [input] = units::lengths(inputs)?;
        exact("the input", input, self.elements)?;
        Ok(units::split(self.elements, 1, 1 << 17))
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
    let input = units::slice(input, part)?;
    match call.isa.level() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an `Isa` of such a level proves that the CPU has AVX2.
        level if level.has_avx2() => unsafe {
            avx2::clamp(header.low, header.high, input, call.output);
        },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: an `Isa` of such a level proves that the CPU has NEON.
        level if level.has_neon() => unsafe {
            neon::clamp(header.low, header.high, input, call.output)
        },
        _ => reference::clamp(header.low, header.high, input, call.output),
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
