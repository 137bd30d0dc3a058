// Kernels small enough to see through: the contract without the speed.

use qconfig_core::DType;
use qconfig_core::kernel::{
    BlobError, Call, Kernel, NodeOp, NodeSpec, Refusal, Signature, Sizes, Split,
};

/// The operator that toy steps carry; the kernels do not look at it.
pub(crate) const OP: NodeOp = NodeOp::Clamp;

/// `y = x + 1`.
pub(crate) static ADD_ONE: Kernel = kernel::<1>("toy_add_one", |call| {
    run::<1>(call, |inputs, at| inputs[0][at].wrapping_add(1))
});

/// `y = x`.
pub(crate) static COPY: Kernel = kernel::<1>("toy_copy", |call| {
    run::<1>(call, |inputs, at| inputs[0][at])
});

/// `y = 3 a + b`.
pub(crate) static SUM: Kernel = kernel::<2>("toy_sum", |call| {
    run::<2>(call, |inputs, at| {
        inputs[0][at].wrapping_mul(3).wrapping_add(inputs[1][at])
    })
});

pub(crate) fn find(name: &str) -> Option<&'static Kernel> {
    [&ADD_ONE, &COPY, &SUM]
        .into_iter()
        .find(|kernel| kernel.name == name)
}

const UNIT: usize = 4;
const MAGIC: u32 = 0x70_79_74;

/// A kernel of `N` inputs. Blob: magic, `N`, length (little-endian), as many bytes as the length.
const fn kernel<const N: usize>(
    name: &'static str,
    run: fn(Call<'_>) -> Result<(), BlobError>,
) -> Kernel {
    Kernel {
        name,
        signature: Signature {
            input: &[DType::uint8],
            output: &[DType::uint8],
            weight: &[],
            bias: &[],
            is_dynamic: false,
            weight_range: None,
            scale_min: None,
        },
        sizes: sizes::<N>,
        pack: pack::<N>,
        split: split::<N>,
        run,
        variant: |_, _| "toy__scalar",
    }
}

fn sizes<const N: usize>(node: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    let bytes = node.output.bytes().unwrap_or(0);
    if node.inputs.len() != N {
        return Err(Refusal::Operator("another number of inputs"));
    }
    if node.inputs.iter().any(|input| input.bytes() != Some(bytes)) {
        return Err(Refusal::Shape("input and output differ"));
    }
    Ok(Sizes {
        blob: 16 + bytes,
        scratch: UNIT,
    })
}

fn pack<const N: usize>(node: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let bytes = node.output.bytes().unwrap_or(0);
    blob[..4].copy_from_slice(&MAGIC.to_le_bytes());
    blob[4..8].copy_from_slice(&(N as u32).to_le_bytes());
    blob[8..16].copy_from_slice(&(bytes as u64).to_le_bytes());
    blob[16..].fill(0xaa);
    Ok(())
}

fn split<const N: usize>(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    let damaged = BlobError::Header("toy");
    let head: [u8; 16] = *blob.first_chunk().ok_or(damaged)?;
    let (magic, rest) = head.split_at(4);
    let (count, len) = rest.split_at(4);
    if magic != MAGIC.to_le_bytes() || count != (N as u32).to_le_bytes() || inputs.len() != N {
        return Err(damaged);
    }
    let mut bytes = [0; 8];
    bytes.copy_from_slice(len);
    let bytes = usize::try_from(u64::from_le_bytes(bytes)).map_err(|_| damaged)?;
    if bytes.checked_add(16) != Some(blob.len()) {
        return Err(damaged);
    }
    for found in inputs {
        if *found != bytes {
            return Err(BlobError::Length {
                what: "input",
                expected: bytes,
                found: *found,
            });
        }
    }
    Ok(Split {
        units: bytes.div_ceil(UNIT),
        unit_bytes: UNIT,
        output_bytes: bytes,
        grain: 3,
    })
}

fn run<const N: usize>(
    call: Call<'_>,
    value: impl Fn(&[&[u8]], usize) -> u8,
) -> Result<(), BlobError> {
    let mut lengths = [0; N];
    if call.inputs.len() != N {
        return Err(BlobError::Header("toy"));
    }
    for (length, input) in lengths.iter_mut().zip(call.inputs) {
        *length = input.len();
    }
    let range = split::<N>(call.blob, &lengths)?.bytes(&call.units);
    for (what, expected, found) in [
        ("output", range.len(), call.output.len()),
        ("scratch", UNIT, call.scratch.len()),
    ] {
        if found < expected {
            return Err(BlobError::Length {
                what,
                expected,
                found,
            });
        }
    }
    call.scratch.fill(0x55);
    for (at, output) in range.zip(call.output) {
        *output = value(call.inputs, at);
    }
    Ok(())
}
