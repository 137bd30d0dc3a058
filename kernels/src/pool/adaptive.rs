use qconfig_core::kernel::{
    BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Sizes, Split,
};

use super::mean::Mean;
use super::{SIGNATURE, global, variant};
use crate::blob::{HEADER, Tag, exact};
use crate::spatial::Cells;
use crate::units::{self, word};

/// Mean over windows that share the input out among the outputs, to any size: output `i` of `n` sees the
/// cells from `floor(i * size / n)` to `ceil((i + 1) * size / n)`, along one to three axes.
///
/// The sum is exact; `clamp(rne(f32(sum(q - za)) * (sa / (so * cells))) + zo)`, the formula of the other
/// means. Sharing out among 1 is [`Q8GlobalAvgPool`](crate::Q8GlobalAvgPool).
#[derive(Clone, Copy, Debug)]
pub struct Q8AdaptiveAvgPool;

const NAME: &str = "q8_adaptive_avg_pool";
const TAG: Tag = Tag {
    word: *b"adp1",
    kernel: NAME,
};

impl KernelFamily for Q8AdaptiveAvgPool {
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

/// Words: batch, input, output (three each), channels, mean.
struct Header {
    batch: usize,
    input: [usize; 3],
    output: [usize; 3],
    channels: usize,
    mean: Mean,
}

/// The cells that an output sees along an axis: one at least, and none behind the input.
pub(super) fn share(at: usize, outputs: usize, size: usize) -> (usize, usize) {
    // in 64 bits: both numbers are below 2^32
    let [at, outputs, size] = [at, outputs, size].map(|n| n as u64);
    let start = at * size / outputs;
    let end = ((at + 1) * size).div_ceil(outputs);
    (start as usize, (end - start) as usize)
}

fn plan(spec: &NodeSpec<'_>) -> Result<Header, Refusal> {
    if spec.op != NodeOp::AdaptiveAvgPool {
        return Err(Refusal::Operator(
            "this kernel takes the mean over shares of the input",
        ));
    }
    let [input] = units::arity(spec)?;
    let unfit =
        Refusal::Shape("an adaptive pool turns [N, .., C] into [N, .., C], one to three axes");
    let ([batch, from @ .., channels], [out_batch, to @ .., out_channels]) =
        (input.shape, spec.output.shape)
    else {
        return Err(unfit);
    };
    if batch != out_batch
        || channels != out_channels
        || from.len() != to.len()
        || !(1..=3).contains(&from.len())
        || from.iter().chain(to).any(|size| *size == 0)
    {
        return Err(unfit);
    }
    let (mut header_from, mut header_to) = ([1; 3], [1; 3]);
    header_from[3 - from.len()..].copy_from_slice(from);
    header_to[3 - to.len()..].copy_from_slice(to);
    // a share has at most one cell more than the input divided by the outputs, rounded up
    let cells = (0..3).try_fold(1usize, |n, axis| {
        n.checked_mul(header_from[axis].div_ceil(header_to[axis]).checked_add(1)?)
    });
    let (Some(cells), Some(_), Some(_)) = (cells, input.elements(), spec.output.elements()) else {
        return Err(Refusal::Shape("too many elements"));
    };
    Ok(Header {
        batch: *batch,
        input: header_from,
        output: header_to,
        channels: *channels,
        mean: Mean::new(spec, input, cells, cells)?,
    })
}

fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    if spec.op == NodeOp::GlobalAvgPool {
        return global::sizes(spec);
    }
    plan(spec)?;
    Ok(Sizes {
        blob: HEADER,
        scratch: 0,
    })
}

fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    if spec.op == NodeOp::GlobalAvgPool {
        return global::pack(spec, blob);
    }
    let Header {
        batch,
        input,
        output,
        channels,
        mean,
    } = plan(spec)?;
    units::blob_length(blob, HEADER)?;
    let mut words = [0; 15];
    let sizes = [batch]
        .into_iter()
        .chain(input)
        .chain(output)
        .chain([channels]);
    for (to, size) in words.iter_mut().zip(sizes) {
        *to = word(size)?;
    }
    words[8..11].copy_from_slice(&mean.words());
    TAG.write(blob, &words);
    Ok(())
}

fn read(blob: &[u8], inputs: &[usize]) -> Result<Header, BlobError> {
    exact("the blob", blob.len(), HEADER)?;
    let words = TAG.read(blob)?;
    let damaged = BlobError::Header(NAME);
    let size = |at: usize| words[at] as usize;
    let header = Header {
        batch: size(0),
        input: [1, 2, 3].map(size),
        output: [4, 5, 6].map(size),
        channels: size(7),
        mean: Mean::read([8, 9, 10].map(|at| words[at])).ok_or(damaged)?,
    };
    let elements = |sizes: [usize; 3]| {
        let positions = sizes
            .iter()
            .try_fold(header.batch, |n, size| n.checked_mul(*size));
        positions.and_then(|n| n.checked_mul(header.channels))
    };
    let (Some(len), Some(_)) = (elements(header.input), elements(header.output)) else {
        return Err(damaged);
    };
    if [header.input, header.output].as_flattened().contains(&0) {
        return Err(damaged);
    }
    let [input] = units::lengths(inputs)?;
    exact("the input", input, len)?;
    Ok(header)
}

impl Header {
    /// One unit an output position.
    fn split(&self) -> Split {
        let positions = self.batch * self.output.iter().product::<usize>();
        let output_bytes = positions * self.channels;
        let cells = self.input.iter().product::<usize>() / self.output.iter().product::<usize>();
        Split {
            units: if self.channels == 0 { 0 } else { positions },
            unit_bytes: self.channels,
            output_bytes,
            grain: (1usize << 16).div_ceil(cells.saturating_mul(self.channels).max(1)),
        }
    }

    fn cells(&self, unit: usize) -> Cells {
        let ([depth, height, width], channels) = (self.input, self.channels);
        let [out_depth, out_height, out_width] = self.output;
        let (line, x) = (unit / out_width, unit % out_width);
        let (plane, y) = (line / out_height, line % out_height);
        let (image, z) = (plane / out_depth, plane % out_depth);
        let (z, planes) = share(z, out_depth, depth);
        let (y, rows) = share(y, out_height, height);
        let (x, columns) = share(x, out_width, width);
        Cells {
            start: (((image * depth + z) * height + y) * width + x) * channels,
            planes,
            plane_step: height * width * channels,
            rows,
            row_step: width * channels,
            columns,
            column_step: channels,
        }
    }
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    if blob.starts_with(&global::TAG.word) {
        return global::split(blob, inputs);
    }
    Ok(read(blob, inputs)?.split())
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    if call.blob.starts_with(&global::TAG.word) {
        return global::run(call);
    }
    let input = units::input(call.inputs, 0)?;
    let header = read(call.blob, &[input.len()])?;
    units::part(&header.split(), &call.units, call.output.len())?;
    let pixels = call.output.chunks_exact_mut(header.channels.max(1));
    for (unit, output) in call.units.zip(pixels) {
        let cells = header.cells(unit);
        header
            .mean
            .run(input, cells, cells.count(), call.isa, output);
    }
    Ok(())
}
