//! Means over shares of the input.

use qconfig_core::DType;
use qconfig_core::kernel::{
    Activation, BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Signature, Sizes,
    Split,
};

use super::adaptive::share;
use crate::blob::{HEADER, Tag, exact};
use crate::float::{Cells, Loop, cells, cells_mut, get, variant, vectorized};
use crate::q8_linear_dynamic::floats;
use crate::units::{self, word};
use crate::volume::ndhwc;

/// Mean over windows that share the input out among the outputs, `float32` ([`NodeOp::AdaptiveAvgPool`]).
#[derive(Clone, Copy, Debug)]
pub struct F32AdaptiveAvgPool;

const NAME: &str = "f32_adaptive_avg_pool";
const TAG: Tag = Tag {
    word: *b"fad1",
    kernel: NAME,
};
/// Channels computed together.
const WIDTH: usize = 32;

impl KernelFamily for F32AdaptiveAvgPool {
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

/// Words: batch, input, output (three each), channels.
#[derive(Clone, Copy)]
struct Header {
    batch: usize,
    input: [usize; 3],
    output: [usize; 3],
    channels: usize,
}

fn plan(spec: &NodeSpec<'_>) -> Result<Header, Refusal> {
    if spec.op != NodeOp::AdaptiveAvgPool || spec.activation != Activation::None {
        return Err(Refusal::Operator(
            "this kernel takes the mean over shares of the input",
        ));
    }
    let [input] = units::arity(spec)?;
    floats(spec)?;
    let unfit = Refusal::Shape("input and output differ in batch, channels or rank");
    let (Some([batch, from @ .., channels]), Some([n, to @ .., c])) =
        (ndhwc(input.shape), ndhwc(spec.output.shape))
    else {
        return Err(unfit);
    };
    if (n, c) != (batch, channels) || input.shape.len() != spec.output.shape.len() {
        return Err(unfit);
    }
    let header = Header {
        batch,
        input: from,
        output: to,
        channels,
    };
    header
        .checked()
        .ok_or(Refusal::Shape("a dimension is 0, or sizes overflow"))
}

fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    plan(spec)?;
    Ok(Sizes {
        blob: HEADER,
        scratch: 0,
    })
}

fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let header = plan(spec)?;
    units::blob_length(blob, HEADER)?;
    let [d, h, w] = header.input;
    let [od, oh, ow] = header.output;
    let mut words = [0; 15];
    for (to, size) in words
        .iter_mut()
        .zip([header.batch, d, h, w, od, oh, ow, header.channels])
    {
        *to = word(size)?;
    }
    TAG.write(blob, &words);
    Ok(())
}

fn read(blob: &[u8], inputs: &[usize]) -> Result<Header, BlobError> {
    exact("the blob", blob.len(), HEADER)?;
    let words = TAG.read(blob)?;
    let [batch, d, h, w, od, oh, ow, channels] = core::array::from_fn(|at| words[at] as usize);
    let header = Header {
        batch,
        input: [d, h, w],
        output: [od, oh, ow],
        channels,
    };
    let header = header.checked().ok_or(BlobError::Header(NAME))?;
    let [input] = units::lengths(inputs)?;
    exact("the input", input, header.elements(header.input) * 4)?;
    Ok(header)
}

impl Header {
    fn checked(self) -> Option<Self> {
        let empty = self.channels == 0 || [self.input, self.output].as_flattened().contains(&0);
        let countable = |sizes: [usize; 3]| {
            let all = sizes
                .iter()
                .try_fold(self.batch, |n, size| n.checked_mul(*size))?;
            all.checked_mul(self.channels)?.checked_mul(4)
        };
        countable(self.input)?;
        countable(self.output)?;
        (!empty).then_some(self)
    }

    fn elements(&self, sizes: [usize; 3]) -> usize {
        self.batch * sizes.iter().product::<usize>() * self.channels
    }

    /// One unit an output position.
    fn split(&self) -> Split {
        let row = self.channels * 4;
        let bytes = self.elements(self.output) * 4;
        Split {
            units: bytes / row,
            unit_bytes: row,
            output_bytes: bytes,
            grain: (1usize << 14).div_ceil(row),
        }
    }
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    Ok(read(blob, inputs)?.split())
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    let input = units::input(call.inputs, 0)?;
    let header = read(call.blob, &[input.len()])?;
    units::part(&header.split(), &call.units, call.output.len())?;
    let work = Pool {
        header,
        input: cells(input),
        first: call.units.start,
        output: cells_mut(call.output),
    };
    vectorized(call.isa, work);
    Ok(())
}

struct Pool<'a> {
    header: Header,
    input: &'a Cells,
    first: usize,
    output: &'a mut Cells,
}

impl Loop for Pool<'_> {
    #[inline(always)]
    fn run(self) {
        let Header {
            input: [depth, height, width],
            output: [od, oh, ow],
            channels,
            ..
        } = self.header;
        for (at, output) in self.output.chunks_exact_mut(channels).enumerate() {
            let unit = self.first + at;
            let (x, line) = (unit % ow, unit / ow);
            let (y, plane) = (line % oh, line / oh);
            let (z, image) = (plane % od, plane / od);
            let (z0, planes) = share(z, od, depth);
            let (y0, rows) = share(y, oh, height);
            let (x0, columns) = share(x, ow, width);
            let count = (planes * rows * columns) as f32;
            for (chunk, to) in output.chunks_mut(WIDTH).enumerate() {
                let mut sums = [0.0f32; WIDTH];
                for z in z0..z0 + planes {
                    for y in y0..y0 + rows {
                        for x in x0..x0 + columns {
                            let cell = ((image * depth + z) * height + y) * width + x;
                            let from = &self.input[cell * channels + chunk * WIDTH..][..to.len()];
                            for (sum, x) in sums.iter_mut().zip(from) {
                                *sum += get(x);
                            }
                        }
                    }
                }
                for (y, sum) in to.iter_mut().zip(sums) {
                    *y = (sum / count).to_ne_bytes();
                }
            }
        }
    }
}
