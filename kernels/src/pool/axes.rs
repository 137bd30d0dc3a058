use qconfig_core::kernel::{
    BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Sizes, Split,
};

use super::mean::Mean;
use super::{SIGNATURE, global, variant};
use crate::blob::{HEADER, Tag, exact};
use crate::spatial::Cells;
use crate::units::{self, word};

/// Mean over any axes, which stay with size 1 or go: the sum is exact, the formula that of the other
/// means.
///
/// A mean over all axes between the batch and the channels is
/// [`Q8GlobalAvgPool`](crate::Q8GlobalAvgPool).
#[derive(Clone, Copy, Debug)]
pub struct Q8Mean;

const NAME: &str = "q8_mean";
const TAG: Tag = Tag {
    word: *b"mea1",
    kernel: NAME,
};
/// Runs of axes of the same kind, kept and averaged in turn.
const RUNS: usize = 6;

impl KernelFamily for Q8Mean {
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

/// Neighbouring axes of the same kind are one run; runs are kept and averaged in turn, the first is kept. A
/// run that the shape lacks has size 1. Words: the runs, mean.
struct Header {
    runs: [usize; RUNS],
    mean: Mean,
}

/// The sizes of the runs of a shape, where bit `i` of `axes` says that axis `i` is averaged.
fn runs(shape: &[usize], axes: u32) -> Option<[usize; RUNS]> {
    let mut runs = [1usize; RUNS];
    let mut at = 0;
    for (axis, size) in shape.iter().enumerate() {
        if *size == 1 {
            continue;
        }
        let averaged = usize::from(axes >> axis & 1 == 1);
        if at % 2 != averaged {
            at += 1;
        }
        let run = runs.get_mut(at)?;
        *run = run.checked_mul(*size)?;
    }
    Some(runs)
}

fn plan(spec: &NodeSpec<'_>) -> Result<Header, Refusal> {
    let NodeOp::Mean { axes } = spec.op else {
        return Err(Refusal::Operator("this kernel takes the mean over axes"));
    };
    let [input] = units::arity(spec)?;
    let rank = input.shape.len();
    if rank > 32 || axes.checked_shr(rank as u32).unwrap_or(0) != 0 {
        return Err(Refusal::Shape("an axis that the input does not have"));
    }
    let is_kept = |axis: &usize| axes >> axis & 1 == 0;
    let kept = (0..rank).filter(is_kept).map(|axis| input.shape[axis]);
    let ones = (0..rank).map(|axis| if is_kept(&axis) { input.shape[axis] } else { 1 });
    let output = spec.output.shape.iter().copied();
    let whole = spec.output.shape == [1] && axes.count_ones() as usize == rank;
    if !(whole || output.clone().eq(ones) || output.eq(kept)) {
        return Err(Refusal::Shape("a mean keeps the axes that it is not over"));
    }
    let runs = match (input.elements(), runs(input.shape, axes)) {
        (Some(1..), Some(runs)) => runs,
        (Some(_), Some(_)) => return Err(Refusal::Shape("a mean of no elements")),
        _ => return Err(Refusal::Shape("too many elements, or axes in turn")),
    };
    let cells = runs[1] * runs[3] * runs[5];
    Ok(Header {
        runs,
        mean: Mean::new(spec, input, cells, cells)?,
    })
}

impl Header {
    /// Kept, averaged, kept: the blob that is cut along the channels.
    fn global(&self) -> Option<global::Header> {
        let [batch, positions, channels, 1, 1, 1] = self.runs else {
            return None;
        };
        Some(global::Header {
            batch,
            positions,
            channels,
            mean: self.mean,
        })
    }
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
    let header = plan(spec)?;
    if let Some(header) = header.global() {
        return global::write(&header, blob);
    }
    units::blob_length(blob, HEADER)?;
    let mut words = [0; 15];
    for (to, size) in words.iter_mut().zip(header.runs) {
        *to = word(size)?;
    }
    words[RUNS..RUNS + 3].copy_from_slice(&header.mean.words());
    TAG.write(blob, &words);
    Ok(())
}

fn read(blob: &[u8], inputs: &[usize]) -> Result<Header, BlobError> {
    exact("the blob", blob.len(), HEADER)?;
    let words = TAG.read(blob)?;
    let damaged = BlobError::Header(NAME);
    let mut runs = [0; RUNS];
    for (to, word) in runs.iter_mut().zip(words) {
        *to = word as usize;
    }
    let mean = Mean::read([RUNS, RUNS + 1, RUNS + 2].map(|at| words[at])).ok_or(damaged)?;
    let len = runs.iter().try_fold(1usize, |n, size| n.checked_mul(*size));
    let len = len.filter(|len| *len > 0).ok_or(damaged)?;
    let [input] = units::lengths(inputs)?;
    exact("the input", input, len)?;
    Ok(Header { runs, mean })
}

impl Header {
    /// Outputs that lie beside each other as their inputs do: the last run, if it is kept.
    fn inner(&self) -> usize {
        if self.runs[5] > 1 { 1 } else { self.runs[4] }
    }

    fn outputs(&self) -> usize {
        self.runs[0] * self.runs[2] * self.runs[4]
    }

    /// One unit such a run of outputs.
    fn split(&self) -> Split {
        let [_, a, _, b, _, c] = self.runs;
        let inner = self.inner();
        Split {
            units: self.outputs() / inner,
            unit_bytes: inner,
            output_bytes: self.outputs(),
            grain: (1usize << 16).div_ceil((a * b * c).saturating_mul(inner)),
        }
    }

    /// The cells of the output at an index.
    fn cells(&self, output: usize) -> Cells {
        let [_, planes, k1, rows, k2, columns] = self.runs;
        let column_step = 1;
        let k2_step = columns;
        let row_step = k2 * k2_step;
        let k1_step = rows * row_step;
        let plane_step = k1 * k1_step;
        let k0_step = planes * plane_step;
        let (rest, at2) = (output / k2, output % k2);
        let (at0, at1) = (rest / k1, rest % k1);
        let cells = Cells {
            start: at0 * k0_step + at1 * k1_step + at2 * k2_step,
            planes,
            plane_step,
            rows,
            row_step,
            columns,
            column_step,
        };
        // the last averaged run is the columns, which are summed in vectors
        if columns > 1 {
            return cells;
        }
        Cells {
            planes: 1,
            plane_step: 0,
            rows: planes,
            row_step: plane_step,
            columns: rows,
            column_step: row_step,
            ..cells
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
    let inner = header.inner();
    let runs = call.output.chunks_exact_mut(inner);
    for (unit, output) in call.units.zip(runs) {
        let cells = header.cells(unit * inner);
        header
            .mean
            .run(input, cells, cells.count(), call.isa, output);
    }
    Ok(())
}
