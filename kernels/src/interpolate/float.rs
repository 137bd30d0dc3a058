//! Interpolation of `float32` tensors.

use core::ops::Range;

use qconfig_core::DType;
use qconfig_core::kernel::{
    Activation, BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Signature, Sizes,
    Split,
};

use super::{Geometry, dimensions};
use crate::blob::{HEADER, Tag, exact};
use crate::float::{Cells, Loop, cells, cells_mut, get, variant, vectorized};
use crate::q8_linear_dynamic::floats;
use crate::units;

/// `[N, spatial.., C]` to `[N, spatial.., C]` of another size, `float32`: `sum w x` over the two to eight
/// pixels around, weights and modes as those of [`Q8Interpolate`](crate::Q8Interpolate).
#[derive(Clone, Copy, Debug)]
pub struct F32Interpolate;

const NAME: &str = "f32_interpolate";
const TAG: Tag = Tag {
    word: *b"fin1",
    kernel: NAME,
};
/// Channels computed together.
const WIDTH: usize = 32;

impl KernelFamily for F32Interpolate {
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

fn plan(spec: &NodeSpec<'_>) -> Result<Geometry, Refusal> {
    let NodeOp::Interpolate(interpolation) = spec.op else {
        return Err(Refusal::Operator(
            "this kernel interpolates and does nothing else",
        ));
    };
    let [input] = units::arity(spec)?;
    floats(spec)?;
    let unfit = Refusal::Shape("input and output differ in batch, channels or rank");
    let (Some([batch, from @ .., channels]), Some([n, to @ .., c])) =
        (dimensions(input.shape), dimensions(spec.output.shape))
    else {
        return Err(unfit);
    };
    if (n, c) != (batch, channels)
        || input.shape.len() != spec.output.shape.len()
        || spec.activation != Activation::None
    {
        return Err(unfit);
    }
    units::same_shape(input, input)?;
    units::same_shape(&spec.output, &spec.output)?;
    Geometry::new(batch, [from, to], channels, interpolation, 0)
        .ok_or(Refusal::Shape("a dimension is 0, or the sizes overflow"))
}

fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    plan(spec)?.words()?;
    Ok(Sizes {
        blob: HEADER,
        scratch: 0,
    })
}

fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let words = plan(spec)?.words()?;
    units::blob_length(blob, HEADER)?;
    TAG.write(blob, &words);
    Ok(())
}

/// The geometry, and its split: one unit an output pixel.
fn read(blob: &[u8], inputs: &[usize]) -> Result<(Geometry, Split), BlobError> {
    let damaged = BlobError::Header(NAME);
    let geometry = Geometry::read(TAG, blob)?;
    let [input] = units::lengths(inputs)?;
    exact("the input", input, input / 4 * 4)?;
    let split = geometry.split(&[input / 4])?;
    let unit_bytes = split.unit_bytes.checked_mul(4).ok_or(damaged)?;
    Ok((
        geometry,
        Split {
            unit_bytes,
            output_bytes: split.output_bytes.checked_mul(4).ok_or(damaged)?,
            ..split
        },
    ))
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    Ok(read(blob, inputs)?.1)
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    let input = units::input(call.inputs, 0)?;
    let (geometry, split) = read(call.blob, &[input.len()])?;
    units::part(&split, &call.units, call.output.len())?;
    let work = Pixels {
        geometry: &geometry,
        input: cells(input),
        units: call.units,
        output: cells_mut(call.output),
    };
    vectorized(call.isa, work);
    Ok(())
}

struct Pixels<'a> {
    geometry: &'a Geometry,
    input: &'a Cells,
    units: Range<usize>,
    output: &'a mut Cells,
}

impl Loop for Pixels<'_> {
    #[inline(always)]
    fn run(self) {
        let channels = self.geometry.channels;
        for (unit, pixel) in self.units.zip(self.output.chunks_exact_mut(channels)) {
            let (taps, count) = self.geometry.taps(unit);
            for (at, to) in pixel.chunks_mut(WIDTH).enumerate() {
                let mut sums = [0.0f32; WIDTH];
                for (offset, weight) in &taps[..count] {
                    let from = &self.input[offset + at * WIDTH..][..to.len()];
                    for (sum, x) in sums.iter_mut().zip(from) {
                        *sum += weight * get(x);
                    }
                }
                for (y, sum) in to.iter_mut().zip(sums) {
                    *y = sum.to_ne_bytes();
                }
            }
        }
    }
}
