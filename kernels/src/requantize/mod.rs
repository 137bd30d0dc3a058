//! Quantized to quantized with other parameters: `quantize(dequantize(q))`, as a table of 256 values.

use qconfig_core::kernel::{
    BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Signature, Sizes, Split,
    TensorSpec,
};
use qconfig_core::{DType, Isa};

use crate::affine::{bounds, quantize, stored};
use crate::blob::Tag;
use crate::dequantize::real;
use crate::{lut, units};

/// Changes scale, zero point or dtype (`quint8`, `qint8`) of a quantized tensor.
#[derive(Clone, Copy, Debug)]
pub struct Requantize;

const NAME: &str = "requantize";
const TAG: Tag = Tag {
    word: *b"rqt1",
    kernel: NAME,
};

impl KernelFamily for Requantize {
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

/// The stored output of each stored input.
pub(crate) fn table(
    input: &TensorSpec<'_>,
    output: &TensorSpec<'_>,
) -> Result<lut::Table, Refusal> {
    let (from, to) = (stored("input", input)?, stored("output", output)?);
    let mut table = [0; 256];
    for (q, y) in (0..=255).zip(&mut table) {
        *y = quantize(real(from, q), to);
    }
    Ok(table)
}

fn plan(spec: &NodeSpec<'_>) -> Result<(u32, lut::Table), Refusal> {
    if spec.op != NodeOp::Requantize {
        return Err(Refusal::Operator(
            "this kernel requantizes and does nothing else",
        ));
    }
    let [input] = units::arity(spec)?;
    let mut table = table(input, &spec.output)?;
    let (low, high) = bounds(spec.activation, stored("output", &spec.output)?);
    for y in &mut table {
        *y = (*y).max(low).min(high);
    }
    Ok((units::same_shape(input, &spec.output)?, table))
}

fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    plan(spec)?;
    Ok(Sizes {
        blob: lut::BLOB,
        scratch: 0,
    })
}

fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let (elements, table) = plan(spec)?;
    lut::write(TAG, blob, elements, &table)
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    lut::split(TAG, blob, inputs)
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    lut::run(TAG, call)
}

fn variant(_: &[u8], isa: Isa) -> &'static str {
    lut::variant(isa)
}
