use qconfig_core::kernel::{
    BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Sizes, Split,
};

#[cfg(target_arch = "x86_64")]
use super::avx2;
#[cfg(target_arch = "aarch64")]
use super::neon;
use super::{SIGNATURE, check_windows, reference, variant};
use crate::affine::{bounds, stored};
use crate::blob::{HEADER, Tag, exact};
use crate::spatial::{Geometry, WORDS};
use crate::units;

/// Maximum over a window; padding never wins, dilation is honoured. Input and output share their
/// quantization parameters. A window without any cell of the input has the lowest value.
#[derive(Clone, Copy, Debug)]
pub struct Q8MaxPool;

const NAME: &str = "q8_max_pool";
const TAG: Tag = Tag {
    word: *b"mxp1",
    kernel: NAME,
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

/// Words: geometry, then the bounds.
struct Header {
    geometry: Geometry,
    low: u8,
    high: u8,
}

fn plan(spec: &NodeSpec<'_>) -> Result<Header, Refusal> {
    let NodeOp::MaxPool { window } = spec.op else {
        return Err(Refusal::Operator(
            "this kernel takes the maximum over a window",
        ));
    };
    let [input] = units::arity(spec)?;
    let to = stored("output", &spec.output)?;
    if input.dtype != spec.output.dtype || stored("input", input)? != to {
        return Err(Refusal::Operator(
            "a max pool keeps the quantization parameters of its input",
        ));
    }
    let (geometry, channels) = Geometry::new(window, input, &spec.output)?;
    if channels != geometry.channels {
        return Err(Refusal::Shape("a pool keeps the channels of its input"));
    }
    check_windows(&geometry)?;
    let (low, high) = bounds(spec.activation, to);
    Ok(Header {
        geometry,
        low,
        high,
    })
}

fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    plan(spec)?;
    Ok(Sizes {
        blob: HEADER,
        scratch: 0,
    })
}

fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let Header {
        geometry,
        low,
        high,
    } = plan(spec)?;
    units::blob_length(blob, HEADER)?;
    let mut words = [0; 15];
    words[..WORDS].copy_from_slice(&geometry.words()?);
    words[WORDS] = u32::from_le_bytes([low, high, 0, 0]);
    TAG.write(blob, &words);
    Ok(())
}

fn read(blob: &[u8], inputs: &[usize]) -> Result<Header, BlobError> {
    exact("the blob", blob.len(), HEADER)?;
    let words = TAG.read(blob)?;
    let geometry = words
        .first_chunk()
        .and_then(Geometry::read)
        .ok_or(BlobError::Header(NAME))?;
    let [low, high, ..] = words[WORDS].to_le_bytes();
    let [input] = units::lengths(inputs)?;
    exact("the input", input, geometry.input_len())?;
    Ok(Header {
        geometry,
        low,
        high,
    })
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    Ok(super::split(&read(blob, inputs)?.geometry))
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    let input = units::input(call.inputs, 0)?;
    let Header {
        geometry,
        low,
        high,
    } = read(call.blob, &[input.len()])?;
    units::part(&super::split(&geometry), &call.units, call.output.len())?;
    let pixels = call.output.chunks_exact_mut(geometry.channels.max(1));
    for (at, output) in geometry.walk(call.units).zip(pixels) {
        let cells = geometry.cells(at);
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
    }
    Ok(())
}
