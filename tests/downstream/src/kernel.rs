//! The kernel: a table of all 256 answers, made when the plan is.

use qconfig::DType;
use qconfig::kernel::{
    BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Signature, Sizes, Split,
};

/// `quint8 -> quint8`
pub struct SquaredRelu;

impl KernelFamily for SquaredRelu {
    const KERNEL: &'static Kernel = &Kernel {
        name: "chip_squared_relu",
        signature: Signature::activations(&[DType::quint8], &[DType::quint8]),
        sizes,
        pack,
        split,
        run,
        variant: |_, _| "table",
    };
}

/// Tag and element count, then the table.
const HEADER: usize = 8;
const TAG: &[u8; 4] = b"SQR1";
const BAD: BlobError = BlobError::Header("chip_squared_relu");

fn sizes(node: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    let is_ours = matches!(node.op, NodeOp::Own { name } if name == "squared_relu");
    if !is_ours || node.inputs.len() != 1 {
        return Err(Refusal::Operator("this kernel squares what is positive"));
    }
    Ok(Sizes {
        blob: HEADER + 256,
        scratch: 0,
    })
}

fn pack(node: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    sizes(node)?;
    let count = node
        .output
        .elements()
        .and_then(|count| u32::try_from(count).ok());
    let (Some(count), Some(from), Some(to)) = (count, node.inputs[0].qparams, node.output.qparams)
    else {
        return Err(Refusal::Shape("the tensor is not quantized, or too large"));
    };
    blob[..4].copy_from_slice(TAG);
    blob[4..HEADER].copy_from_slice(&count.to_le_bytes());
    for (q, y) in blob[HEADER..].iter_mut().enumerate() {
        let x = (from.scale * (q as i32 - from.zero_point) as f32).max(0.0);
        let steps = (x * x / to.scale).round_ties_even() as i32;
        *y = steps.saturating_add(to.zero_point).clamp(0, 255) as u8;
    }
    Ok(())
}

fn count(blob: &[u8]) -> Result<usize, BlobError> {
    match blob.split_first_chunk::<4>() {
        Some((TAG, rest)) if rest.len() == 4 + 256 => {
            let count = rest.first_chunk().copied().ok_or(BAD)?;
            Ok(u32::from_le_bytes(count) as usize)
        }
        _ => Err(BAD),
    }
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    let count = count(blob)?;
    if inputs != [count] {
        return Err(BAD);
    }
    Ok(Split {
        units: count,
        unit_bytes: 1,
        output_bytes: count,
        grain: 65_536,
    })
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    count(call.blob)?;
    let input = call
        .inputs
        .first()
        .and_then(|input| input.get(call.units.clone()));
    let (Some(input), Some(table)) = (input, call.blob.get(HEADER..)) else {
        return Err(BAD);
    };
    for (y, q) in call.output.iter_mut().zip(input) {
        *y = table[usize::from(*q)];
    }
    Ok(())
}
