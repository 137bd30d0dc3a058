use qconfig_core::kernel::{
    BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Sizes, Split,
};

use super::mean::Mean;
use super::{SIGNATURE, variant};
use crate::blob::{HEADER, Tag, exact};
use crate::spatial::Cells;
use crate::units::{self, word};

/// Mean over all positions between the batch and the channels, however many axes they have.
#[derive(Clone, Copy, Debug)]
pub struct Q8GlobalAvgPool;

const NAME: &str = "q8_global_avg_pool";
/// The tag of these blobs.
pub(super) const TAG: Tag = Tag {
    word: *b"gap1",
    kernel: NAME,
};
/// Channels of a unit: a cache line.
const UNIT: usize = 64;

impl KernelFamily for Q8GlobalAvgPool {
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

/// Words: batch, positions, channels, mean.
pub(super) struct Header {
    pub(super) batch: usize,
    pub(super) positions: usize,
    pub(super) channels: usize,
    pub(super) mean: Mean,
}

fn plan(spec: &NodeSpec<'_>) -> Result<Header, Refusal> {
    if spec.op != NodeOp::GlobalAvgPool {
        return Err(Refusal::Operator(
            "this kernel takes the mean over all positions",
        ));
    }
    let [input] = units::arity(spec)?;
    let ([batch, between @ .., channels], [out_batch, ones @ .., out_channels]) =
        (input.shape, spec.output.shape)
    else {
        return Err(Refusal::Shape("a global pool takes [N, .., C]"));
    };
    if batch != out_batch || channels != out_channels || ones.iter().any(|one| *one != 1) {
        return Err(Refusal::Shape(
            "a global pool turns [N, .., C] into [N, 1.., C]",
        ));
    }
    let positions = between
        .iter()
        .try_fold(1usize, |n, size| n.checked_mul(*size));
    let positions = positions.ok_or(Refusal::Shape("too many elements"))?;
    if input.elements().is_none() || positions == 0 {
        return Err(Refusal::Shape("no positions, or too many elements"));
    }
    let mean = Mean::new(spec, input, positions, positions)?;
    Ok(Header {
        batch: *batch,
        positions,
        channels: *channels,
        mean,
    })
}

/// As [`Kernel::sizes`].
pub(super) fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    plan(spec)?;
    Ok(Sizes {
        blob: HEADER,
        scratch: 0,
    })
}

/// As [`Kernel::pack`].
pub(super) fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    write(&plan(spec)?, blob)
}

/// Writes a header as a blob.
pub(super) fn write(header: &Header, blob: &mut [u8]) -> Result<(), Refusal> {
    let Header {
        batch,
        positions,
        channels,
        mean,
    } = *header;
    units::blob_length(blob, HEADER)?;
    let mut words = [0; 15];
    words[..3].copy_from_slice(&[word(batch)?, word(positions)?, word(channels)?]);
    words[3..6].copy_from_slice(&mean.words());
    TAG.write(blob, &words);
    Ok(())
}

fn read(blob: &[u8], inputs: &[usize]) -> Result<Header, BlobError> {
    exact("the blob", blob.len(), HEADER)?;
    let [batch, positions, channels, bytes, from, to, ..] = TAG.read(blob)?;
    let mean = Mean::read([bytes, from, to]).ok_or(BlobError::Header(NAME))?;
    let [batch, positions, channels] = [batch, positions, channels].map(|size| size as usize);
    let len = batch
        .checked_mul(positions)
        .and_then(|len| len.checked_mul(channels));
    // the product of the other two is the output's length
    let len = len
        .filter(|_| positions > 0)
        .ok_or(BlobError::Header(NAME))?;
    let [input] = units::lengths(inputs)?;
    exact("the input", input, len)?;
    Ok(Header {
        batch,
        positions,
        channels,
        mean,
    })
}

impl Header {
    fn split(&self) -> Split {
        let output_bytes = self.batch * self.channels;
        Split {
            units: output_bytes.div_ceil(UNIT),
            unit_bytes: UNIT,
            output_bytes,
            grain: (1usize << 16).div_ceil(self.positions.saturating_mul(UNIT)),
        }
    }
}

/// As [`Kernel::split`].
pub(super) fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    Ok(read(blob, inputs)?.split())
}

/// As [`Kernel::run`].
pub(super) fn run(call: Call<'_>) -> Result<(), BlobError> {
    let input = units::input(call.inputs, 0)?;
    let header = read(call.blob, &[input.len()])?;
    let part = units::part(&header.split(), &call.units, call.output.len())?;
    let Header {
        positions,
        channels,
        mean,
        ..
    } = header;
    let (mut at, mut output) = (part.start, call.output);
    // a unit may end one image and begin the next
    while !output.is_empty() && channels > 0 {
        let (image, channel) = (at / channels, at % channels);
        let (here, rest) = output.split_at_mut((channels - channel).min(output.len()));
        let cells = Cells {
            start: image * positions * channels + channel,
            planes: 1,
            plane_step: 0,
            rows: 1,
            row_step: 0,
            columns: positions,
            column_step: channels,
        };
        mean.run(input, cells, positions, call.isa, here);
        at += here.len();
        output = rest;
    }
    Ok(())
}
