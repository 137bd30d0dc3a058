use qconfig_core::kernel::{
    BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Sizes, Split,
};

#[cfg(target_arch = "x86_64")]
use super::avx2;
#[cfg(target_arch = "aarch64")]
use super::neon;
use super::windows::{Tags, Windows};
use super::{SIGNATURE, reference, variant};
use crate::affine::{bounds, stored};
use crate::blob::Tag;
use crate::units;

/// Maximum over a window of one to three dimensions; padding never wins, dilation is honoured. Input and output share their
/// quantization parameters. A window without any cell of the input has the lowest value.
#[derive(Clone, Copy, Debug)]
pub struct Q8MaxPool;

const NAME: &str = "q8_max_pool";
const TAGS: Tags = Tags {
    plane: Tag {
        word: *b"mxp1",
        kernel: NAME,
    },
    volume: Tag {
        word: *b"mx31",
        kernel: NAME,
    },
};

impl KernelFamily for Q8MaxPool {
    const KERNEL: &'static Kernel = &Kernel {
        name: NAME,
        signature: SIGNATURE,
        sizes,
        pack,
        split,
        run,
        variant,
    };
}

/// Words: windows, then the bounds.
struct Header {
    windows: Windows,
    low: u8,
    high: u8,
}

fn plan(spec: &NodeSpec<'_>) -> Result<Header, Refusal> {
    let [input] = units::arity(spec)?;
    let windows = match spec.op {
        NodeOp::MaxPool { window } => Windows::over_images(window, input, &spec.output)?,
        NodeOp::MaxPool3d { window } => Windows::over_volumes(window, input, &spec.output)?,
        _ => {
            return Err(Refusal::Operator(
                "this kernel takes the maximum over a window",
            ));
        }
    };
    let to = stored("output", &spec.output)?;
    if input.dtype != spec.output.dtype || stored("input", input)? != to {
        return Err(Refusal::Operator(
            "a max pool keeps the quantization parameters of its input",
        ));
    }
    let (low, high) = bounds(spec.activation, to);
    Ok(Header { windows, low, high })
}

fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    Ok(Sizes {
        blob: plan(spec)?.windows.blob_len(),
        scratch: 0,
    })
}

fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let Header { windows, low, high } = plan(spec)?;
    windows.write(TAGS, &[u32::from_le_bytes([low, high, 0, 0])], blob)
}

fn read(blob: &[u8], inputs: &[usize]) -> Result<Header, BlobError> {
    let (windows, [bounds, ..]) = Windows::read(TAGS, blob, inputs)?;
    let [low, high, ..] = bounds.to_le_bytes();
    Ok(Header { windows, low, high })
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    Ok(super::split(&read(blob, inputs)?.windows))
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    let input = units::input(call.inputs, 0)?;
    let Header { windows, low, high } = read(call.blob, &[input.len()])?;
    units::part(&super::split(&windows), &call.units, call.output.len())?;
    windows.each(call.units, call.output, |_, cells, output| {
        match call.isa.level() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an `Isa` of such a level proves that the CPU has AVX2.
            level if level.has_avx2() => unsafe { avx2::max(input, cells, output) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: an `Isa` of such a level proves that the CPU has NEON.
            level if level.has_neon() => unsafe { neon::max(input, cells, output) },
            _ => reference::max(input, cells, output),
        }
        if (low, high) != (0, 255) {
            for y in output {
                *y = (*y).max(low).min(high);
            }
        }
    });
    Ok(())
}
