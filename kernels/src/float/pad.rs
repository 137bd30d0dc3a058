//! More elements around a tensor.

use core::ops::Range;

use qconfig_core::kernel::{
    Activation, BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Padding, Refusal,
    Signature, Sizes, Split, Strides,
};
use qconfig_core::{DType, Isa};

use super::loops::{Cells, cells, cells_mut};
use crate::blob::{HEADER, Tag, exact};
use crate::padded_position;
use crate::q8_linear_dynamic::floats;
use crate::units::{self, word};

/// Constants, mirrored or repeated elements before and behind each axis of a `float32` tensor
/// ([`NodeOp::Pad`]).
#[derive(Clone, Copy, Debug)]
pub struct F32Pad;

const NAME: &str = "f32_pad";
const TAG: Tag = Tag {
    word: *b"fpa1",
    kernel: NAME,
};
const RANK: usize = Strides::RANK;
/// Bytes of the section: sizes of the input, elements before, sizes of the output.
const SECTION: usize = 2 * HEADER;

impl KernelFamily for F32Pad {
    const KERNEL: &'static Kernel = &Kernel {
        name: NAME,
        signature: Signature::activations(&[DType::float32], &[DType::float32]),
        sizes,
        pack,
        split,
        run,
        variant: |_: &[u8], _: Isa| "copy",
    };
}

/// Sizes, those of missing axes 1, in front.
struct Header {
    padding: Padding,
    input: [usize; RANK],
    before: [usize; RANK],
    output: [usize; RANK],
}

fn plan(spec: &NodeSpec<'_>) -> Result<Header, Refusal> {
    let NodeOp::Pad { padding, before } = spec.op else {
        return Err(Refusal::Operator("this kernel pads and does nothing else"));
    };
    let [input] = units::arity(spec)?;
    floats(spec)?;
    let unfit = Refusal::Shape("the padding does not make the output of the input");
    let rank = input.shape.len();
    let missing = RANK.checked_sub(rank).ok_or(unfit.clone())?;
    if spec.activation != Activation::None || spec.output.shape.len() != rank {
        return Err(unfit);
    }
    let mut header = Header {
        padding,
        input: [1; RANK],
        before: [0; RANK],
        output: [1; RANK],
    };
    header.input[missing..].copy_from_slice(input.shape);
    header.before[missing..].copy_from_slice(&before[..rank]);
    header.output[missing..].copy_from_slice(spec.output.shape);
    header.checked().ok_or(unfit)
}

impl Header {
    /// `None` where an axis is empty, the input does not lie in the output, or elements cannot be counted.
    fn checked(self) -> Option<Self> {
        for axis in 0..RANK {
            let (input, before) = (self.input[axis], self.before[axis]);
            let end = input.checked_add(before)?;
            let most = match self.padding {
                Padding::Reflect => input.checked_sub(1)?,
                Padding::Wrap => input,
                _ => usize::MAX,
            };
            let after = self.output[axis].checked_sub(end)?;
            if input == 0 || before > most || after > most {
                return None;
            }
        }
        let bytes = self
            .output
            .iter()
            .try_fold(4usize, |n, size| n.checked_mul(*size));
        bytes.map(|_| self)
    }

    fn elements(&self, sizes: &[usize; RANK]) -> usize {
        sizes.iter().product()
    }

    fn split(&self, inputs: &[usize]) -> Result<Split, BlobError> {
        let [input] = units::lengths(inputs)?;
        exact("the input", input, self.elements(&self.input) * 4)?;
        Ok(units::split(self.elements(&self.output), 4, 1 << 15))
    }
}

fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    plan(spec)?;
    Ok(Sizes {
        blob: HEADER + SECTION,
        scratch: 0,
    })
}

/// Words: kind of padding, the constant.
fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let header = plan(spec)?;
    units::blob_length(blob, HEADER + SECTION)?;
    blob.fill(0);
    let mut words = [0; 15];
    words[..2].copy_from_slice(&match header.padding {
        Padding::Constant(value) => [0, value.to_bits()],
        Padding::Reflect => [1, 0],
        Padding::Edge => [2, 0],
        Padding::Wrap => [3, 0],
        _ => return Err(Refusal::Operator("a padding that this kernel has not")),
    });
    let (first, section) = blob.split_at_mut(HEADER);
    TAG.write(first, &words);
    let numbers = header
        .input
        .iter()
        .chain(&header.before)
        .chain(&header.output);
    for (to, number) in section.as_chunks_mut().0.iter_mut().zip(numbers) {
        *to = word(*number)?.to_le_bytes();
    }
    Ok(())
}

fn read(blob: &[u8]) -> Result<Header, BlobError> {
    let damaged = BlobError::Header(NAME);
    exact("the blob", blob.len(), HEADER + SECTION)?;
    let [kind, value, ..] = TAG.read(blob)?;
    let mut numbers = blob[HEADER..]
        .as_chunks()
        .0
        .iter()
        .map(|cell| u32::from_le_bytes(*cell));
    let mut sizes = || core::array::from_fn(|_| numbers.next().unwrap_or(0) as usize);
    let header = Header {
        padding: match kind {
            0 => Padding::Constant(f32::from_bits(value)),
            1 => Padding::Reflect,
            2 => Padding::Edge,
            3 => Padding::Wrap,
            _ => return Err(damaged),
        },
        input: sizes(),
        before: sizes(),
        output: sizes(),
    };
    header.checked().ok_or(damaged)
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    read(blob)?.split(inputs)
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    let header = read(call.blob)?;
    let input = units::input(call.inputs, 0)?;
    let split = header.split(&[input.len()])?;
    let part = units::part(&split, &call.units, call.output.len())?;
    let width = header.output[RANK - 1];
    let (input, mut rest) = (cells(input), cells_mut(call.output));
    let mut at = part.start / 4;
    while !rest.is_empty() {
        let (line, x) = (at / width, at % width);
        let count = (width - x).min(rest.len());
        let (now, behind) = rest.split_at_mut(count);
        header.line(input, line, x..x + count, now);
        at += count;
        rest = behind;
    }
    Ok(())
}

impl Header {
    /// A part of a line along the last axis.
    fn line(&self, input: &Cells, line: usize, part: Range<usize>, to: &mut Cells) {
        const LAST: usize = RANK - 1;
        let constant = match self.padding {
            Padding::Constant(value) => value.to_ne_bytes(),
            _ => [0; 4],
        };
        let (mut rest, mut from, mut step) = (line, Some(0), 1);
        for axis in (0..LAST).rev() {
            let (size, at) = (self.input[axis], rest % self.output[axis]);
            let at = padded_position(self.padding, at, self.before[axis], size);
            rest /= self.output[axis];
            from = from.zip(at).map(|(from, at)| from + at * step);
            step *= size;
        }
        let size = self.input[LAST];
        let Some(from) = from.and_then(|line| input.get(line * size..(line + 1) * size)) else {
            to.fill(constant);
            return;
        };
        let before = self.before[LAST];
        for (at, to) in part.zip(to) {
            let at = padded_position(self.padding, at, before, size);
            *to = at.and_then(|at| from.get(at)).copied().unwrap_or(constant);
        }
    }
}
