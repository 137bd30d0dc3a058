//! Pools of `float32` tensors.

use qconfig_core::DType;
use qconfig_core::kernel::{
    Activation, BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Signature, Sizes,
    Split,
};

use super::average::Divisor;
use super::windows::{Tags, Windows};
use crate::blob::{Tag, exact};
use crate::float::{Cells, Loop, cells, cells_mut, get, variant, vectorized};
use crate::q8_linear_dynamic::floats;
use crate::spatial::Cells as Grid;
use crate::units;

/// Maximum or mean over windows of one to three dimensions, `float32` ([`NodeOp::MaxPool`],
/// [`NodeOp::AvgPool`] and those of volumes). Sums run over the cells in order; a window of padding alone has
/// the least value, or the sum 0.
#[derive(Clone, Copy, Debug)]
pub struct F32Pool;

const NAME: &str = "f32_pool";
const TAGS: Tags = Tags {
    plane: Tag {
        word: *b"fpo1",
        kernel: NAME,
    },
    volume: Tag {
        word: *b"fpv1",
        kernel: NAME,
    },
};
/// Channels computed together.
const WIDTH: usize = 32;

impl KernelFamily for F32Pool {
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

/// Words behind the windows: 0 for the maximum or 1 for the mean, and its divisor.
struct Header {
    windows: Windows,
    mean: Option<Divisor>,
}

fn plan(spec: &NodeSpec<'_>) -> Result<Header, Refusal> {
    let [input] = units::arity(spec)?;
    floats(spec)?;
    if spec.activation != Activation::None {
        return Err(Refusal::Operator(
            "nothing is fused behind a pool of floats",
        ));
    }
    let output = &spec.output;
    let (windows, mean) = match spec.op {
        NodeOp::MaxPool { window } => (Windows::over_images(window, input, output)?, None),
        NodeOp::MaxPool3d { window } => (Windows::over_volumes(window, input, output)?, None),
        NodeOp::AvgPool {
            window,
            count_include_pad,
            divisor_override,
        } => (
            Windows::over_images(window, input, output)?,
            Some((count_include_pad, divisor_override)),
        ),
        NodeOp::AvgPool3d {
            window,
            count_include_pad,
            divisor_override,
        } => (
            Windows::over_volumes(window, input, output)?,
            Some((count_include_pad, divisor_override)),
        ),
        _ => return Err(Refusal::Operator("this kernel pools over windows")),
    };
    if mean.is_some() && !windows.is_dense() {
        return Err(Refusal::Operator("an average pool has no dilation"));
    }
    // four bytes an element must be countable too
    units::same_shape(input, input)?;
    units::same_shape(output, output)?;
    let mean = match mean {
        Some((padded, divisor)) => Some(Divisor::new(padded, divisor)?),
        None => None,
    };
    Ok(Header { windows, mean })
}

fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    Ok(Sizes {
        blob: plan(spec)?.windows.blob_len(),
        scratch: 0,
    })
}

fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let Header { windows, mean } = plan(spec)?;
    let divisor = mean.map_or(0, Divisor::word);
    windows.write(TAGS, &[u32::from(mean.is_some()), divisor], blob)
}

fn read(blob: &[u8], inputs: &[usize]) -> Result<Header, BlobError> {
    let damaged = BlobError::Header(NAME);
    let [input] = units::lengths(inputs)?;
    exact("the input", input, input / 4 * 4)?;
    let (windows, [is_mean, divisor, ..]) = Windows::read(TAGS, blob, &[input / 4])?;
    let bytes = windows.pixels().checked_mul(windows.plane.channels);
    bytes.and_then(|n| n.checked_mul(4)).ok_or(damaged)?;
    let mean = match is_mean {
        0 => None,
        1 => Some(Divisor::read(divisor)),
        _ => return Err(damaged),
    };
    Ok(Header { windows, mean })
}

impl Header {
    /// One unit an output position.
    fn split(&self) -> Split {
        let row = self.windows.plane.channels * 4;
        let units = self.windows.pixels();
        let work = self.windows.kernel_cells().saturating_mul(row);
        Split {
            units,
            unit_bytes: row,
            output_bytes: units * row,
            grain: (1usize << 17).div_ceil(work.max(1)),
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
        header: &header,
        input: cells(input),
        units: call.units,
        output: cells_mut(call.output),
    };
    vectorized(call.isa, work);
    Ok(())
}

struct Pool<'a> {
    header: &'a Header,
    input: &'a Cells,
    units: core::ops::Range<usize>,
    output: &'a mut Cells,
}

impl Loop for Pool<'_> {
    #[inline(always)]
    fn run(self) {
        let Header { windows, mean } = self.header;
        match mean {
            None => windows.each(self.units, self.output, |_, grid, output| {
                let larger = |a: f32, x: f32| if x > a || x.is_nan() { x } else { a };
                over(self.input, grid, output, f32::MIN, larger, |most| most);
            }),
            Some(divisor) => windows.each(self.units, self.output, |at, grid, output| {
                let divisor = divisor.of(windows, at).max(1) as f32;
                over(
                    self.input,
                    grid,
                    output,
                    0.0,
                    |a, x| a + x,
                    |sum| sum / divisor,
                );
            }),
        }
    }
}

/// Joins the cells of a grid, channel by channel.
#[inline(always)]
fn over(
    input: &Cells,
    grid: Grid,
    output: &mut Cells,
    start: f32,
    join: impl Fn(f32, f32) -> f32,
    finish: impl Fn(f32) -> f32,
) {
    for (chunk, to) in output.chunks_mut(WIDTH).enumerate() {
        let first = grid.start + chunk * WIDTH;
        let mut joined = [start; WIDTH];
        for plane in 0..grid.planes {
            for row in 0..grid.rows {
                let line = first + plane * grid.plane_step + row * grid.row_step;
                for column in 0..grid.columns {
                    let from = &input[line + column * grid.column_step..][..to.len()];
                    for (a, x) in joined.iter_mut().zip(from) {
                        *a = join(*a, get(x));
                    }
                }
            }
        }
        for (y, a) in to.iter_mut().zip(joined) {
            *y = finish(a).to_ne_bytes();
        }
    }
}
