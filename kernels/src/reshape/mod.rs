//! Another shape of the same bytes: flatten, reshape, view, squeeze, unsqueeze, identity, and dropout at
//! inference.
//!
//! A plan lets both tensors share memory and calls no kernel; this one, a copy, is what the table binds
//! and what runs where memory cannot be shared.

use qconfig_core::kernel::{
    Activation, BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Signature, Sizes,
    Split,
};
use qconfig_core::{DType, Isa};

use crate::blob::{HEADER, Tag, exact};
use crate::units::{self, word};

/// `[..]` to `[..]`, as many elements of the same dtype and quantization parameters.
#[derive(Clone, Copy, Debug)]
pub struct Reshape;

const NAME: &str = "reshape";
const TAG: Tag = Tag {
    word: *b"rsh1",
    kernel: NAME,
};
const DTYPES: &[DType] = &[DType::quint8, DType::qint8, DType::float32, DType::float16];

impl KernelFamily for Reshape {
    const KERNEL: &'static Kernel = &Kernel {
        name: NAME,
        signature: Signature::activations(DTYPES, DTYPES),
        sizes,
        pack,
        split,
        run,
        variant,
    };
}

fn bytes(spec: &NodeSpec<'_>) -> Result<u32, Refusal> {
    if spec.op != NodeOp::Reshape || spec.activation != Activation::None {
        return Err(Refusal::Operator(
            "this kernel changes the shape and nothing else",
        ));
    }
    let [input] = units::arity(spec)?;
    if input.dtype != spec.output.dtype || input.qparams != spec.output.qparams {
        return Err(Refusal::Operator(
            "a reshape keeps dtype and quantization parameters",
        ));
    }
    match (input.bytes(), spec.output.bytes()) {
        (Some(from), Some(to)) if from == to => word(from),
        _ => Err(Refusal::Shape("a reshape keeps the number of elements")),
    }
}

fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    bytes(spec)?;
    Ok(Sizes {
        blob: HEADER,
        scratch: 0,
    })
}

fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let mut words = [0; 15];
    words[0] = bytes(spec)?;
    units::blob_length(blob, HEADER)?;
    TAG.write(blob, &words);
    Ok(())
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    let bytes = TAG.read(blob)?[0] as usize;
    let [input] = units::lengths(inputs)?;
    exact("the input", input, bytes)?;
    // memory bandwidth: another thread pays from about a megabyte on
    Ok(units::split(bytes, 1, 1 << 20))
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    let input = units::input(call.inputs, 0)?;
    let split = split(call.blob, &[input.len()])?;
    let range = units::part(&split, &call.units, call.output.len())?;
    call.output.copy_from_slice(units::slice(input, range)?);
    Ok(())
}

fn variant(_: &[u8], _: Isa) -> &'static str {
    "copy"
}
