use qconfig_core::kernel::{
    BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Sizes, Split,
};

use super::mean::{self, Mean};
use super::{SIGNATURE, check_windows, variant};
use crate::blob::{HEADER, Tag, exact};
use crate::spatial::{Geometry, Pixel, WORDS};
use crate::units;

/// Mean over a window: QNNPACK's formula, with `count_include_pad` and `divisor_override` honoured.
#[derive(Clone, Copy, Debug)]
pub struct Q8AvgPool;

const NAME: &str = "q8_avg_pool";
const TAG: Tag = Tag {
    word: *b"avp1",
    kernel: NAME,
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
enum Divisor {
    /// The cells of the window inside the padded input.
    Padded,
    /// The cells inside the input.
    Inside,
    /// Always this; not 0.
    Fixed(u32),
}

/// Words: geometry, mean, divisor.
struct Header {
    geometry: Geometry,
    mean: Mean,
    divisor: Divisor,
}

impl Divisor {
    fn word(self) -> u32 {
        match self {
            Divisor::Inside => 0,
            Divisor::Padded => u32::MAX,
            Divisor::Fixed(divisor) => divisor,
        }
    }

    fn read(word: u32) -> Self {
        match word {
            0 => Divisor::Inside,
            u32::MAX => Divisor::Padded,
            divisor => Divisor::Fixed(divisor),
        }
    }

    fn of(self, geometry: &Geometry, at: Pixel) -> usize {
        let Geometry { input, window, .. } = *geometry;
        // in ceil mode a window may reach beyond the padding: those cells never count
        let padded = |axis: usize, at: usize| {
            let end = (input[axis] + window.padding[axis + 2]) as i64;
            (end - geometry.origin(axis, at)).clamp(0, window.kernel[axis] as i64) as usize
        };
        match self {
            Divisor::Fixed(divisor) => divisor as usize,
            Divisor::Inside => geometry.taps(0, at.y).len() * geometry.taps(1, at.x).len(),
            Divisor::Padded => padded(0, at.y) * padded(1, at.x),
        }
    }
}

fn plan(spec: &NodeSpec<'_>) -> Result<Header, Refusal> {
    let NodeOp::AvgPool {
        window,
        count_include_pad,
        divisor_override,
    } = spec.op
    else {
        return Err(Refusal::Operator(
            "this kernel takes the mean over a window",
        ));
    };
    if window.dilation != [1, 1] {
        return Err(Refusal::Operator("an average pool has no dilation"));
    }
    let divisor = match divisor_override {
        Some(divisor) => match u32::try_from(divisor) {
            Ok(divisor) if divisor != 0 && divisor != u32::MAX => Divisor::Fixed(divisor),
            _ => return Err(Refusal::Operator("a divisor of 0 or beyond 32 bits")),
        },
        None if count_include_pad => Divisor::Padded,
        None => Divisor::Inside,
    };
    let [input] = units::arity(spec)?;
    let (geometry, channels) = Geometry::new(window, input, &spec.output)?;
    if channels != geometry.channels {
        return Err(Refusal::Shape("a pool keeps the channels of its input"));
    }
    check_windows(&geometry)?;
    let cells = window.kernel[0] * window.kernel[1];
    let mean = Mean::new(spec, input, cells, divisor_override.unwrap_or(cells))?;
    Ok(Header {
        geometry,
        mean,
        divisor,
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
        mean,
        divisor,
    } = plan(spec)?;
    units::blob_length(blob, HEADER)?;
    let mut words = [0; 15];
    words[..WORDS].copy_from_slice(&geometry.words()?);
    words[WORDS..WORDS + mean::WORDS].copy_from_slice(&mean.words());
    words[WORDS + mean::WORDS] = divisor.word();
    TAG.write(blob, &words);
    Ok(())
}

fn read(blob: &[u8], inputs: &[usize]) -> Result<Header, BlobError> {
    exact("the blob", blob.len(), HEADER)?;
    let words = TAG.read(blob)?;
    let (geometry, [bytes, from, to, divisor]) =
        (words.first_chunk(), [11, 12, 13, 14].map(|i| words[i]));
    let header = geometry
        .and_then(Geometry::read)
        .zip(Mean::read([bytes, from, to]));
    let (geometry, mean) = header.ok_or(BlobError::Header(NAME))?;
    let [input] = units::lengths(inputs)?;
    exact("the input", input, geometry.input_len())?;
    Ok(Header {
        geometry,
        mean,
        divisor: Divisor::read(divisor),
    })
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    Ok(super::split(&read(blob, inputs)?.geometry))
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    let input = units::input(call.inputs, 0)?;
    let Header {
        geometry,
        mean,
        divisor,
    } = read(call.blob, &[input.len()])?;
    units::part(&super::split(&geometry), &call.units, call.output.len())?;
    let pixels = call.output.chunks_exact_mut(geometry.channels.max(1));
    for (at, output) in geometry.walk(call.units).zip(pixels) {
        mean.run(
            input,
            geometry.cells(at),
            divisor.of(&geometry, at),
            call.isa,
            output,
        );
    }
    Ok(())
}
