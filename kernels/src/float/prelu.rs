//! ReLU with learned slopes.

use qconfig_core::DType;
use qconfig_core::kernel::{
    BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Signature, Sizes, Split,
    WeightData,
};

use super::loops::{Cells, Loop, cells, cells_mut, clamp, get, variant, vectorized};
use crate::blob::{HEADER, Tag, align, exact};
use crate::q8_linear_dynamic::{float_bounds, floats};
use crate::units::{self, UNIT, word};

/// `x` where positive, else `x * slope`, of a `float32` tensor ([`NodeOp::PRelu`]), an activation behind.
#[derive(Clone, Copy, Debug)]
pub struct F32PRelu;

const NAME: &str = "f32_prelu";
const TAG: Tag = Tag {
    word: *b"fpr1",
    kernel: NAME,
};

impl KernelFamily for F32PRelu {
    const KERNEL: &'static Kernel = &Kernel {
        name: NAME,
        signature: Signature::activations(&[DType::float32], &[DType::float32]),
        sizes,
        pack,
        split,
        run,
        variant,
    };
}

/// Words: rows, slopes, bounds. Section: the slopes.
#[derive(Clone, Copy)]
struct Header {
    rows: usize,
    channels: usize,
    low: f32,
    high: f32,
}

fn plan<'a>(spec: &NodeSpec<'a>) -> Result<(Header, &'a [f32]), Refusal> {
    let [input] = units::arity(spec)?;
    floats(spec)?;
    let slopes = match (spec.op, spec.parameters) {
        (NodeOp::PRelu, [one]) => match one.data {
            WeightData::F32(slopes) => slopes,
            _ => return Err(Refusal::Operator("the slopes are floats")),
        },
        _ => {
            return Err(Refusal::Operator(
                "this kernel takes a PReLU with its slopes and nothing else",
            ));
        }
    };
    let elements = units::same_shape(input, &spec.output)? as usize;
    if slopes.len() != 1 && input.shape.last() != Some(&slopes.len()) || slopes.is_empty() {
        return Err(Refusal::Shape("one slope, or one for each channel"));
    }
    let (low, high) = float_bounds(spec.activation);
    let header = Header {
        rows: elements / slopes.len(),
        channels: slopes.len(),
        low,
        high,
    };
    Ok((header, slopes))
}

fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    Ok(Sizes {
        blob: plan(spec)?.0.blob(),
        scratch: 0,
    })
}

fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let (header, slopes) = plan(spec)?;
    units::blob_length(blob, header.blob())?;
    blob.fill(0);
    let mut words = [0; 15];
    words[..4].copy_from_slice(&[
        word(header.rows)?,
        word(header.channels)?,
        header.low.to_bits(),
        header.high.to_bits(),
    ]);
    let (first, section) = blob.split_at_mut(HEADER);
    TAG.write(first, &words);
    for (cell, slope) in section.as_chunks_mut().0.iter_mut().zip(slopes) {
        *cell = slope.to_le_bytes();
    }
    Ok(())
}

impl Header {
    fn blob(&self) -> usize {
        HEADER + align(self.channels * 4)
    }

    /// Units of whole rows.
    fn split(&self) -> Split {
        let rows = (UNIT / self.channels).max(1);
        let unit = rows * self.channels;
        Split {
            units: self.rows.div_ceil(rows),
            unit_bytes: unit * 4,
            output_bytes: self.rows * self.channels * 4,
            grain: (1usize << 16).div_ceil(unit),
        }
    }
}

fn read<'a>(blob: &'a [u8], inputs: &[usize]) -> Result<(Header, &'a Cells), BlobError> {
    let damaged = BlobError::Header(NAME);
    let [rows, channels, low, high, ..] = TAG.read(blob)?;
    let header = Header {
        rows: rows as usize,
        channels: channels as usize,
        low: f32::from_bits(low),
        high: f32::from_bits(high),
    };
    // both are below 2^32
    header
        .channels
        .checked_add(16)
        .and_then(|n| n.checked_mul(4))
        .ok_or(damaged)?;
    exact("the blob", blob.len(), header.blob())?;
    let bytes = header
        .rows
        .checked_mul(header.channels)
        .and_then(|n| n.checked_mul(4));
    let [input] = units::lengths(inputs)?;
    exact(
        "the input",
        input,
        bytes.filter(|_| header.channels > 0).ok_or(damaged)?,
    )?;
    let slopes = cells(&blob[HEADER..]).get(..header.channels);
    Ok((header, slopes.ok_or(damaged)?))
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    Ok(read(blob, inputs)?.0.split())
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    let input = units::input(call.inputs, 0)?;
    let (header, slopes) = read(call.blob, &[input.len()])?;
    let part = units::part(&header.split(), &call.units, call.output.len())?;
    let work = Rows {
        header,
        slopes,
        input: cells(units::slice(input, part)?),
        output: cells_mut(call.output),
    };
    vectorized(call.isa, work);
    Ok(())
}

struct Rows<'a> {
    header: Header,
    slopes: &'a Cells,
    input: &'a Cells,
    output: &'a mut Cells,
}

impl Loop for Rows<'_> {
    #[inline(always)]
    fn run(self) {
        let Header {
            channels,
            low,
            high,
            ..
        } = self.header;
        let sloped = |x: f32, slope: f32| clamp(if x > 0.0 { x } else { x * slope }, low, high);
        if let [slope] = self.slopes {
            let slope = f32::from_le_bytes(*slope);
            for (x, y) in self.input.iter().zip(self.output) {
                *y = sloped(get(x), slope).to_ne_bytes();
            }
            return;
        }
        let rows = self.input.chunks_exact(channels);
        for (from, to) in rows.zip(self.output.chunks_exact_mut(channels)) {
            for ((x, y), slope) in from.iter().zip(to).zip(self.slopes) {
                *y = sloped(get(x), f32::from_le_bytes(*slope)).to_ne_bytes();
            }
        }
    }
}
