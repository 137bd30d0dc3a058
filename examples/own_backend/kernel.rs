//! A kernel family of one's own: addition by way of floats, in safe Rust.
//!
//! The backends that come with qconfig add in fixed point, as PyTorch's QNNPACK engine does. This one
//! rounds once, from the exact sum; a device whose vector unit works in floats would say so.

use qconfig::DType;
use qconfig::kernel::{
    Activation, BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, QParams, Refusal,
    Signature, Sizes, Split,
};

/// `quint8 + quint8 -> quint8`, each with its own scale and zero point.
pub(crate) struct FloatAdd;

impl KernelFamily for FloatAdd {
    const KERNEL: &'static Kernel = &Kernel {
        name: "float_add",
        signature: Signature {
            input: &[DType::quint8],
            output: &[DType::quint8],
            weight: &[],
            bias: &[],
            is_dynamic: false,
            weight_range: None,
            scale_min: None,
        },
        sizes,
        pack,
        split,
        run,
        variant: |_, _| "safe",
    };
}

/// Says of every blob of this kernel that it is one.
const TAG: &[u8; 4] = b"FAD1";
/// Tag, element count, and scale and zero point of both inputs and the output, little-endian.
const BLOB: usize = 4 + 4 + 3 * 8;

fn sizes(node: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    if node.op != NodeOp::Add || node.activation != Activation::None {
        return Err(Refusal::Operator("this kernel adds, without an activation"));
    }
    let ([a, b], Some(count)) = (node.inputs, node.output.elements()) else {
        return Err(Refusal::Shape("this kernel adds two tensors"));
    };
    if a.shape != node.output.shape || b.shape != node.output.shape || u32::try_from(count).is_err()
    {
        return Err(Refusal::Shape(
            "operands and result must have the same shape",
        ));
    }
    for tensor in [a, b, &node.output] {
        if tensor.dtype != DType::quint8 || tensor.qparams.is_none() {
            return Err(Refusal::DType {
                place: "operand or result",
                dtype: tensor.dtype,
            });
        }
    }
    Ok(Sizes {
        blob: BLOB,
        scratch: 0,
    })
}

fn pack(node: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    sizes(node)?;
    let count = node.output.elements().unwrap_or_default() as u32;
    let qparams = node
        .inputs
        .iter()
        .chain([&node.output])
        .filter_map(|tensor| tensor.qparams);
    let numbers =
        qparams.flat_map(|QParams { scale, zero_point }| [scale.to_bits(), zero_point as u32]);
    let words = [u32::from_le_bytes(*TAG), count].into_iter().chain(numbers);
    for (cell, word) in blob.chunks_exact_mut(4).zip(words) {
        cell.copy_from_slice(&word.to_le_bytes());
    }
    Ok(())
}

/// The blob's element count and parameters.
fn read(blob: &[u8]) -> Result<(usize, [QParams; 3]), BlobError> {
    const BAD: BlobError = BlobError::Header("float_add");
    let mut words = blob
        .chunks_exact(4)
        .map(|cell| u32::from_le_bytes([cell[0], cell[1], cell[2], cell[3]]));
    let mut next = || words.next().ok_or(BAD);
    if next()? != u32::from_le_bytes(*TAG) {
        return Err(BAD);
    }
    let count = next()? as usize;
    let mut one = || {
        Ok(QParams {
            scale: f32::from_bits(next()?),
            zero_point: next()? as i32,
        })
    };
    Ok((count, [one()?, one()?, one()?]))
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    let (count, _) = read(blob)?;
    for found in inputs {
        if *found != count {
            return Err(BlobError::Length {
                what: "an operand",
                expected: count,
                found: *found,
            });
        }
    }
    Ok(Split {
        units: count,
        unit_bytes: 1,
        output_bytes: count,
        grain: 65_536,
    })
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    let (_, [a, b, to]) = read(call.blob)?;
    let operand = |at: usize| {
        call.inputs
            .get(at)
            .and_then(|input| input.get(call.units.clone()))
    };
    let (Some(left), Some(right)) = (operand(0), operand(1)) else {
        return Err(BlobError::Length {
            what: "operands",
            expected: call.units.end,
            found: 0,
        });
    };
    for ((y, l), r) in call.output.iter_mut().zip(left).zip(right) {
        let real = |q: u8, from: QParams| from.scale * (i32::from(q) - from.zero_point) as f32;
        let sum = real(*l, a) + real(*r, b);
        *y = ((sum / to.scale).round_ties_even() + to.zero_point as f32).clamp(0.0, 255.0) as u8;
    }
    Ok(())
}
