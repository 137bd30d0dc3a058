//! Integers to floats.

use qconfig_core::kernel::{
    Activation, BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Signature, Sizes,
    Split,
};
use qconfig_core::{DType, Isa};

use super::loops::cells_mut;
use crate::blob::{HEADER, Tag, exact};
use crate::units::{self, word};

/// `int32` or `int64` to `float32`, to the nearest.
#[derive(Clone, Copy, Debug)]
pub struct ToFloat;

const NAME: &str = "to_float";
const TAG: Tag = Tag {
    word: *b"fto1",
    kernel: NAME,
};

impl KernelFamily for ToFloat {
    const KERNEL: &'static Kernel = &Kernel {
        name: NAME,
        signature: Signature::activations(&[DType::int32, DType::int64], &[DType::float32]),
        sizes,
        pack,
        split,
        run,
        variant: |_: &[u8], _: Isa| "x1",
    };
}

/// Elements, and the bytes of an integer.
fn plan(spec: &NodeSpec<'_>) -> Result<[u32; 2], Refusal> {
    let [input] = units::arity(spec)?;
    if spec.op != NodeOp::ToFloat || spec.activation != Activation::None {
        return Err(Refusal::Operator("this kernel makes floats of integers"));
    }
    let element = match input.dtype {
        DType::int32 => 4,
        DType::int64 => 8,
        dtype => {
            return Err(Refusal::DType {
                place: "input",
                dtype,
            });
        }
    };
    if spec.output.dtype != DType::float32 {
        return Err(Refusal::DType {
            place: "output",
            dtype: spec.output.dtype,
        });
    }
    Ok([units::same_shape(input, &spec.output)?, element])
}

fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    let [elements, element] = plan(spec)?;
    word((elements as usize).saturating_mul(element as usize))?;
    Ok(Sizes {
        blob: HEADER,
        scratch: 0,
    })
}

fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let mut words = [0; 15];
    words[..2].copy_from_slice(&plan(spec)?);
    units::blob_length(blob, HEADER)?;
    TAG.write(blob, &words);
    Ok(())
}

fn read(blob: &[u8], inputs: &[usize]) -> Result<(Split, usize), BlobError> {
    exact("the blob", blob.len(), HEADER)?;
    let [elements, element, ..] = TAG.read(blob)?;
    let (elements, element) = (elements as usize, element as usize);
    let [input] = units::lengths(inputs)?;
    if !matches!(element, 4 | 8) {
        return Err(BlobError::Header(NAME));
    }
    exact("the input", input, elements.saturating_mul(element))?;
    Ok((units::split(elements, 4, 1 << 16), element))
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    Ok(read(blob, inputs)?.0)
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    let input = units::input(call.inputs, 0)?;
    let (split, element) = read(call.blob, &[input.len()])?;
    let part = units::part(&split, &call.units, call.output.len())?;
    let (start, end) = (part.start / 4 * element, part.end / 4 * element);
    let from = units::slice(input, start..end)?;
    let to = cells_mut(call.output).iter_mut();
    if element == 4 {
        for (y, x) in to.zip(from.as_chunks().0) {
            *y = (i32::from_ne_bytes(*x) as f32).to_ne_bytes();
        }
    } else {
        for (y, x) in to.zip(from.as_chunks().0) {
            *y = (i64::from_ne_bytes(*x) as f32).to_ne_bytes();
        }
    }
    Ok(())
}
