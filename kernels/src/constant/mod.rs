//! Tensors that a plan holds: operands that are always the same.

use qconfig_core::kernel::{
    Activation, BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Signature, Sizes,
    Split, WeightData,
};
use qconfig_core::{DType, Isa};

use crate::affine::{quantize, stored};
use crate::blob::{HEADER, Tag, exact};
use crate::units::{self, word};

/// Writes a tensor ([`NodeOp::Constant`]): the values of its weight in storage order, as they are for a
/// `float32` output, quantized when the plan is made for `quint8` and `qint8`.
#[derive(Clone, Copy, Debug)]
pub struct Constant;

const NAME: &str = "constant";
const TAG: Tag = Tag {
    word: *b"con1",
    kernel: NAME,
};

impl KernelFamily for Constant {
    const KERNEL: &'static Kernel = &Kernel {
        name: NAME,
        signature: Signature::activations(&[], &[DType::float32, DType::quint8, DType::qint8]),
        sizes,
        pack,
        split,
        run,
        variant,
    };
}

/// The values, and the bytes of each in the output.
fn plan<'a>(spec: &NodeSpec<'a>) -> Result<(&'a [f32], usize), Refusal> {
    if spec.op != NodeOp::Constant || spec.activation != Activation::None || !spec.inputs.is_empty()
    {
        return Err(Refusal::Operator("this kernel writes a constant"));
    }
    let Some(WeightData::F32(values)) = spec.weight.map(|weight| weight.data) else {
        return Err(Refusal::Shape("a constant has its values as floats"));
    };
    let element = match spec.output.dtype {
        DType::float32 => 4,
        _ => stored("output", &spec.output).map(|_| 1)?,
    };
    if spec.output.elements() != Some(values.len()) {
        return Err(Refusal::Shape("a constant has one value for each element"));
    }
    word(values.len().saturating_mul(element))?;
    Ok((values, element))
}

fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    let (values, element) = plan(spec)?;
    Ok(Sizes {
        blob: HEADER + values.len() * element,
        scratch: 0,
    })
}

/// Words: bytes of the output, bytes of an element. Section: the output, little-endian.
fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let (values, element) = plan(spec)?;
    units::blob_length(blob, sizes(spec)?.blob)?;
    let (header, section) = blob.split_at_mut(HEADER);
    let mut words = [0; 15];
    words[..2].copy_from_slice(&[word(section.len())?, word(element)?]);
    TAG.write(header, &words);
    if element == 4 {
        for (cell, value) in section.as_chunks_mut().0.iter_mut().zip(values) {
            *cell = value.to_le_bytes();
        }
    } else {
        let to = stored("output", &spec.output)?;
        for (cell, value) in section.iter_mut().zip(values) {
            *cell = quantize(*value, to);
        }
    }
    Ok(())
}

/// The output's bytes, and those of an element.
fn read(blob: &[u8]) -> Result<(&[u8], usize), BlobError> {
    let [bytes, element, ..] = TAG.read(blob)?;
    let section = blob.get(HEADER..).unwrap_or_default();
    exact("the constant", section.len(), bytes as usize)?;
    match element {
        1 | 4 if section.len().is_multiple_of(element as usize) => Ok((section, element as usize)),
        _ => Err(BlobError::Header(NAME)),
    }
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    let (section, element) = read(blob)?;
    let [] = units::lengths(inputs)?;
    // memory bandwidth: another thread pays from about a megabyte on
    Ok(units::split(
        section.len() / element,
        element,
        (1 << 20) / element,
    ))
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    let (section, element) = read(call.blob)?;
    exact("the list of inputs", call.inputs.len(), 0)?;
    let split = split(call.blob, &[])?;
    let part = units::part(&split, &call.units, call.output.len())?;
    let from = units::slice(section, part)?;
    if element == 4 {
        let cells = call.output.as_chunks_mut().0.iter_mut();
        for (cell, value) in cells.zip(from.as_chunks().0) {
            *cell = u32::from_le_bytes(*value).to_ne_bytes();
        }
    } else {
        call.output.copy_from_slice(from);
    }
    Ok(())
}

fn variant(_: &[u8], _: Isa) -> &'static str {
    "copy"
}
