use qconfig_core::kernel::{
    BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Sizes, Split,
};

use super::mean::Mean;
use super::windows::{Position, Tags, Windows};
use super::{SIGNATURE, variant};
use crate::blob::Tag;
use crate::spatial::Geometry;
use crate::units;

/// Mean over a window of one to three dimensions: QNNPACK's formula, with `count_include_pad` and `divisor_override` honoured.
#[derive(Clone, Copy, Debug)]
pub struct Q8AvgPool;

const NAME: &str = "q8_avg_pool";
const TAGS: Tags = Tags {
    plane: Tag {
        word: *b"avp1",
        kernel: NAME,
    },
    volume: Tag {
        word: *b"av31",
        kernel: NAME,
    },
};

impl KernelFamily for Q8AvgPool {
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

/// What a sum is divided by.
#[derive(Clone, Copy, Debug)]
pub(super) enum Divisor {
    /// The cells of the window inside the padded input.
    Padded,
    /// The cells inside the input.
    Inside,
    /// Always this; not 0.
    Fixed(u32),
}

/// Words: windows, mean, divisor.
struct Header {
    windows: Windows,
    mean: Mean,
    divisor: Divisor,
}

impl Divisor {
    /// Of a pool's attributes.
    pub(super) fn new(padded: bool, fixed: Option<usize>) -> Result<Self, Refusal> {
        match fixed {
            Some(divisor) => match u32::try_from(divisor) {
                Ok(divisor) if divisor != 0 && divisor != u32::MAX => Ok(Divisor::Fixed(divisor)),
                _ => Err(Refusal::Operator("a divisor of 0 or beyond 32 bits")),
            },
            None if padded => Ok(Divisor::Padded),
            None => Ok(Divisor::Inside),
        }
    }

    pub(super) fn word(self) -> u32 {
        match self {
            Divisor::Inside => 0,
            Divisor::Padded => u32::MAX,
            Divisor::Fixed(divisor) => divisor,
        }
    }

    pub(super) fn read(word: u32) -> Self {
        match word {
            0 => Divisor::Inside,
            u32::MAX => Divisor::Padded,
            divisor => Divisor::Fixed(divisor),
        }
    }

    pub(super) fn of(self, windows: &Windows, at: Position) -> usize {
        // in ceil mode a window may reach beyond the padding: those cells never count
        let padded = |geometry: &Geometry, axis: usize, at: usize| {
            let end = (geometry.input[axis] + geometry.window.padding[axis + 2]) as i64;
            let cells = end - geometry.origin(axis, at);
            cells.clamp(0, geometry.window.kernel[axis] as i64) as usize
        };
        let inside = |geometry: &Geometry, axis: usize, at: usize| geometry.taps(axis, at).len();
        match self {
            Divisor::Fixed(divisor) => divisor as usize,
            Divisor::Inside => windows.product(at, inside),
            Divisor::Padded => windows.product(at, padded),
        }
    }
}

fn plan(spec: &NodeSpec<'_>) -> Result<Header, Refusal> {
    let [input] = units::arity(spec)?;
    let (windows, count_include_pad, divisor_override) = match spec.op {
        NodeOp::AvgPool {
            window,
            count_include_pad,
            divisor_override,
        } => {
            let windows = Windows::over_images(window, input, &spec.output)?;
            (windows, count_include_pad, divisor_override)
        }
        NodeOp::AvgPool3d {
            window,
            count_include_pad,
            divisor_override,
        } => {
            let windows = Windows::over_volumes(window, input, &spec.output)?;
            (windows, count_include_pad, divisor_override)
        }
        _ => {
            return Err(Refusal::Operator(
                "this kernel takes the mean over a window",
            ));
        }
    };
    if !windows.is_dense() {
        return Err(Refusal::Operator("an average pool has no dilation"));
    }
    let divisor = Divisor::new(count_include_pad, divisor_override)?;
    let cells = windows.kernel_cells();
    let mean = Mean::new(spec, input, cells, divisor_override.unwrap_or(cells))?;
    Ok(Header {
        windows,
        mean,
        divisor,
    })
}

fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    Ok(Sizes {
        blob: plan(spec)?.windows.blob_len(),
        scratch: 0,
    })
}

fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let Header {
        windows,
        mean,
        divisor,
    } = plan(spec)?;
    let [bytes, from, to] = mean.words();
    windows.write(TAGS, &[bytes, from, to, divisor.word()], blob)
}

fn read(blob: &[u8], inputs: &[usize]) -> Result<Header, BlobError> {
    let (windows, [bytes, from, to, divisor]) = Windows::read(TAGS, blob, inputs)?;
    Ok(Header {
        windows,
        mean: Mean::read([bytes, from, to]).ok_or(BlobError::Header(NAME))?,
        divisor: Divisor::read(divisor),
    })
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    Ok(super::split(&read(blob, inputs)?.windows))
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    let input = units::input(call.inputs, 0)?;
    let Header {
        windows,
        mean,
        divisor,
    } = read(call.blob, &[input.len()])?;
    units::part(&super::split(&windows), &call.units, call.output.len())?;
    windows.each(call.units, call.output, |at, cells, output| {
        mean.run(input, cells, divisor.of(&windows, at), call.isa, output);
    });
    Ok(())
}
