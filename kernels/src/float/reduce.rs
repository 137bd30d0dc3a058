//! Sums, means, products and extremes over any axes.

use qconfig_core::DType;
use qconfig_core::kernel::{
    Activation, BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Reduction, Refusal,
    Signature, Sizes, Split,
};

use super::loops::{Cells, Loop, cells, cells_mut, get, variant, vectorized};
use crate::blob::{HEADER, Tag, exact};
use crate::q8_linear_dynamic::floats;
use crate::units::{self, word};

/// Sum, product, minimum or maximum over axes ([`NodeOp::Reduce`]), the mean ([`NodeOp::Mean`]) and that over
/// all spatial positions ([`NodeOp::GlobalAvgPool`]), of `float32` tensors.
///
/// Sums and products are made in `f64`, in order, or where the last axis is reduced in eight partial ones, and
/// rounded once.
#[derive(Clone, Copy, Debug)]
pub struct F32Reduce;

const NAME: &str = "f32_reduce";
const TAG: Tag = Tag {
    word: *b"fre1",
    kernel: NAME,
};
/// Runs of neighbouring axes of the same kind, kept and reduced in turn, the first kept.
const RUNS: usize = 8;
/// Partial results along the last axis.
const LANES: usize = 8;
/// Outputs computed together where the last axis is kept.
const WIDTH: usize = 16;

impl KernelFamily for F32Reduce {
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

/// What is computed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sum,
    Mean,
    Prod,
    Min,
    Max,
}

const KINDS: [Kind; 5] = [Kind::Sum, Kind::Mean, Kind::Prod, Kind::Min, Kind::Max];

/// Words: kind, then the runs.
#[derive(Clone, Copy)]
struct Header {
    kind: Kind,
    runs: [usize; RUNS],
}

fn plan(spec: &NodeSpec<'_>) -> Result<Header, Refusal> {
    let [input] = units::arity(spec)?;
    floats(spec)?;
    let rank = input.shape.len();
    let (kind, axes) = match spec.op {
        NodeOp::Mean { axes } => (Kind::Mean, axes),
        // all axes between the first and the last
        NodeOp::GlobalAvgPool => match rank {
            2..=31 => (Kind::Mean, (1u32 << (rank - 1)) - 2),
            _ => return Err(Refusal::Shape("a global pooling takes [N, .., C]")),
        },
        NodeOp::Reduce { reduction, axes } => {
            let kind = match reduction {
                Reduction::Sum => Kind::Sum,
                Reduction::Prod => Kind::Prod,
                Reduction::Min => Kind::Min,
                Reduction::Max => Kind::Max,
                _ => return Err(Refusal::Operator("a reduction that this kernel has not")),
            };
            (kind, axes)
        }
        _ => return Err(Refusal::Operator("this kernel reduces axes")),
    };
    if spec.activation != Activation::None {
        return Err(Refusal::Operator("nothing is fused behind a reduction"));
    }
    if rank > 31 || axes >> rank != 0 {
        return Err(Refusal::Shape("an axis that the input does not have"));
    }
    let is_kept = |axis: usize| axes >> axis & 1 == 0;
    let all = input.shape.iter().copied().enumerate();
    let kept = all
        .clone()
        .filter(|(axis, _)| is_kept(*axis))
        .map(|(_, size)| size);
    let ones = all
        .clone()
        .map(|(axis, size)| if is_kept(axis) { size } else { 1 });
    let output = spec.output.shape.iter().copied();
    let whole = spec.output.shape == [1] && axes.count_ones() as usize == rank;
    if !(whole || output.clone().eq(ones) || output.eq(kept)) {
        return Err(Refusal::Shape(
            "a reduction keeps the axes that it is not over",
        ));
    }
    let mut runs = [1usize; RUNS];
    let mut at = 0;
    for (axis, size) in all.filter(|(_, size)| *size != 1) {
        if (at % 2 == 0) != is_kept(axis) {
            at += 1;
        }
        let run = runs
            .get_mut(at)
            .ok_or(Refusal::Shape("too many axes in turn"))?;
        *run = run
            .checked_mul(size)
            .ok_or(Refusal::Shape("too many elements"))?;
    }
    let header = Header { kind, runs };
    match header.elements() {
        None => Err(Refusal::Shape("too many elements")),
        Some(0) => Err(Refusal::Shape("a reduction of no elements")),
        Some(_) => Ok(header),
    }
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
    let mut words = [0; 15];
    let kind = KINDS.iter().position(|kind| *kind == header.kind);
    words[0] = word(kind.unwrap_or(0))?;
    for (to, size) in words[1..].iter_mut().zip(header.runs) {
        *to = word(size)?;
    }
    TAG.write(blob, &words);
    Ok(())
}

fn read(blob: &[u8], inputs: &[usize]) -> Result<Header, BlobError> {
    exact("the blob", blob.len(), HEADER)?;
    let damaged = BlobError::Header(NAME);
    let [kind, sizes @ ..] = TAG.read(blob)?;
    let kind = *KINDS.get(kind as usize).ok_or(damaged)?;
    let mut runs = [1; RUNS];
    for (to, size) in runs.iter_mut().zip(sizes) {
        *to = size as usize;
    }
    let header = Header { kind, runs };
    let elements = header.elements().filter(|n| *n > 0).ok_or(damaged)?;
    let [input] = units::lengths(inputs)?;
    exact("the input", input, elements * 4)?;
    Ok(header)
}

impl Header {
    /// Elements of the input; `None` where their bytes cannot be counted.
    fn elements(&self) -> Option<usize> {
        let all = self
            .runs
            .iter()
            .try_fold(1usize, |n, size| n.checked_mul(*size))?;
        all.checked_mul(4).map(|_| all)
    }

    fn outputs(&self) -> usize {
        self.runs.iter().step_by(2).product()
    }

    /// Elements that become one.
    fn count(&self) -> usize {
        self.runs.iter().skip(1).step_by(2).product()
    }

    fn split(&self) -> Split {
        let unit = WIDTH;
        Split {
            units: self.outputs().div_ceil(unit),
            unit_bytes: unit * 4,
            output_bytes: self.outputs() * 4,
            grain: (1usize << 16).div_ceil(self.count().saturating_mul(unit)),
        }
    }
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    Ok(read(blob, inputs)?.split())
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    let input = units::input(call.inputs, 0)?;
    let header = read(call.blob, &[input.len()])?;
    let part = units::part(&header.split(), &call.units, call.output.len())?;
    let work = Reduce {
        header,
        input: cells(input),
        first: part.start / 4,
        output: cells_mut(call.output),
    };
    vectorized(call.isa, work);
    Ok(())
}

struct Reduce<'a> {
    header: Header,
    input: &'a Cells,
    first: usize,
    output: &'a mut Cells,
}

impl Loop for Reduce<'_> {
    #[inline(always)]
    fn run(self) {
        match self.header.kind {
            Kind::Sum | Kind::Mean => self.each(0.0, |a, x| a + x),
            Kind::Prod => self.each(1.0, |a, x| a * x),
            Kind::Min => self.each(
                f64::INFINITY,
                |a, x| if x < a || x.is_nan() { x } else { a },
            ),
            Kind::Max => self.each(
                f64::NEG_INFINITY,
                |a, x| {
                    if x > a || x.is_nan() { x } else { a }
                },
            ),
        }
    }
}

impl Reduce<'_> {
    #[inline(always)]
    fn each(self, start: f64, join: impl Fn(f64, f64) -> f64 + Copy) {
        let [_, r0, k1, r1, k2, r2, k3, r3] = self.header.runs;
        let count = match self.header.kind {
            Kind::Mean => self.header.count() as f64,
            _ => 1.0,
        };
        // elements from one position of a run to the next
        let (s3, step_k3) = (1, r3);
        let step_r2 = k3 * step_k3;
        let step_k2 = r2 * step_r2;
        let step_r1 = k2 * step_k2;
        let step_k1 = r1 * step_r1;
        let step_r0 = k1 * step_k1;
        let step_k0 = r0 * step_r0;
        let mut at = self.first;
        let mut rest = self.output;
        while !rest.is_empty() {
            let (i3, outer) = (at % k3, at / k3);
            let (i2, outer) = (outer % k2, outer / k2);
            let (i1, i0) = (outer % k1, outer / k1);
            let start_at = i0 * step_k0 + i1 * step_k1 + i2 * step_k2 + i3 * step_k3;
            // outputs beside each other, whose inputs are too
            let width = if r3 == 1 {
                WIDTH.min(k3 - i3).min(rest.len())
            } else {
                1
            };
            let mut sums = [start; WIDTH];
            for a in 0..r0 {
                for b in 0..r1 {
                    for c in 0..r2 {
                        let from = start_at + a * step_r0 + b * step_r1 + c * step_r2;
                        if r3 == 1 {
                            let line = &self.input[from..from + width];
                            for (sum, x) in sums.iter_mut().zip(line) {
                                *sum = join(*sum, f64::from(get(x)));
                            }
                        } else {
                            let line = &self.input[from..from + r3 * s3];
                            for chunk in line.chunks(LANES) {
                                for (sum, x) in sums.iter_mut().zip(chunk) {
                                    *sum = join(*sum, f64::from(get(x)));
                                }
                            }
                        }
                    }
                }
            }
            let (now, behind) = rest.split_at_mut(width);
            if r3 != 1 {
                let [first, others @ ..] = sums;
                sums[0] = others
                    .iter()
                    .take(LANES - 1)
                    .fold(first, |a, x| join(a, *x));
            }
            for (y, sum) in now.iter_mut().zip(sums) {
                *y = ((sum / count) as f32).to_ne_bytes();
            }
            at += width;
            rest = behind;
        }
    }
}
