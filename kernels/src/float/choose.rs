//! One of two values by a condition.

use qconfig_core::kernel::{
    Activation, BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Signature, Sizes,
    Split, Strides,
};
use qconfig_core::{DType, Isa};

use super::loops::{cells, cells_mut, get};
use crate::blob::{HEADER, Tag, exact};
use crate::q8_linear_dynamic::floats;
use crate::units::{self, word};

/// `b` where `a` is not 0, else `c` ([`NodeOp::Where`]), of `float32` tensors whose shapes broadcast as numpy's
/// do. What is not chosen leaves no trace, be it infinite or NaN.
#[derive(Clone, Copy, Debug)]
pub struct F32Where;

const NAME: &str = "f32_where";
const TAG: Tag = Tag {
    word: *b"fwh1",
    kernel: NAME,
};
const RANK: usize = Strides::RANK;
/// Bytes of the section: sizes of the output, then of each operand.
const SECTION: usize = 2 * HEADER;

impl KernelFamily for F32Where {
    const KERNEL: &'static Kernel = &Kernel {
        name: NAME,
        signature: Signature::activations(&[DType::float32], &[DType::float32]),
        sizes,
        pack,
        split,
        run,
        variant: |_: &[u8], _: Isa| "x1",
    };
}

/// Sizes of the output and of each operand, those of missing axes 1, in front.
#[derive(Clone, Copy)]
struct Header([[usize; RANK]; 4]);

fn plan(spec: &NodeSpec<'_>) -> Result<Header, Refusal> {
    if spec.op != NodeOp::Where || spec.activation != Activation::None {
        return Err(Refusal::Operator(
            "this kernel chooses and does nothing else",
        ));
    }
    let inputs: &[_; 3] = units::arity(spec)?;
    floats(spec)?;
    let unfit = Refusal::Shape("the operands do not broadcast to the output's shape");
    let mut sizes = [[1; RANK]; 4];
    let shapes = [spec.output.shape]
        .into_iter()
        .chain(inputs.iter().map(|input| input.shape));
    for (to, shape) in sizes.iter_mut().zip(shapes) {
        let missing = RANK.checked_sub(shape.len()).ok_or(unfit.clone())?;
        to[missing..].copy_from_slice(shape);
    }
    Header(sizes).checked().ok_or(unfit)
}

impl Header {
    /// `None` where an operand is neither as large as the output nor 1 along an axis, or elements cannot be
    /// counted.
    fn checked(self) -> Option<Self> {
        let [output, operands @ ..] = &self.0;
        for operand in operands {
            let fits = |(size, own): (&usize, &usize)| own == size || *own == 1;
            if !output.iter().zip(operand).all(fits) {
                return None;
            }
        }
        let bytes = output
            .iter()
            .try_fold(4usize, |n, size| n.checked_mul(*size));
        bytes.map(|_| self)
    }

    /// Elements of the output (0) or of an operand.
    fn elements(&self, which: usize) -> usize {
        self.0[which].iter().product()
    }

    fn split(&self, inputs: &[usize]) -> Result<Split, BlobError> {
        let inputs: [usize; 3] = units::lengths(inputs)?;
        for (at, input) in inputs.into_iter().enumerate() {
            exact("an input", input, self.elements(at + 1) * 4)?;
        }
        Ok(units::split(self.elements(0), 4, 1 << 14))
    }

    /// Where each operand stands at an element of the output.
    fn offsets(&self, mut at: usize) -> [usize; 3] {
        let (mut offsets, mut strides) = ([0; 3], [1; 3]);
        for axis in (0..RANK).rev() {
            let size = self.0[0][axis].max(1);
            let position = at % size;
            at /= size;
            for operand in 0..3 {
                let own = self.0[operand + 1][axis];
                if own != 1 {
                    offsets[operand] += position * strides[operand];
                }
                strides[operand] *= own;
            }
        }
        offsets
    }
}

fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    plan(spec)?;
    Ok(Sizes {
        blob: HEADER + SECTION,
        scratch: 0,
    })
}

fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let Header(sizes) = plan(spec)?;
    units::blob_length(blob, HEADER + SECTION)?;
    let (first, section) = blob.split_at_mut(HEADER);
    TAG.write(first, &[0; 15]);
    for (to, size) in section
        .as_chunks_mut()
        .0
        .iter_mut()
        .zip(sizes.as_flattened())
    {
        *to = word(*size)?.to_le_bytes();
    }
    Ok(())
}

fn read(blob: &[u8]) -> Result<Header, BlobError> {
    exact("the blob", blob.len(), HEADER + SECTION)?;
    TAG.read(blob)?;
    let mut sizes = [[0; RANK]; 4];
    let words = blob[HEADER..].as_chunks().0.iter();
    for (size, word) in sizes.as_flattened_mut().iter_mut().zip(words) {
        *size = u32::from_le_bytes(*word) as usize;
    }
    Header(sizes).checked().ok_or(BlobError::Header(NAME))
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    read(blob)?.split(inputs)
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    let header = read(call.blob)?;
    exact("the list of inputs", call.inputs.len(), 3)?;
    let mut inputs = [&[][..]; 3];
    inputs.copy_from_slice(call.inputs);
    let split = header.split(&inputs.map(<[u8]>::len))?;
    let part = units::part(&split, &call.units, call.output.len())?;
    let [condition, yes, no] = inputs.map(cells);
    let width = header.0[0][RANK - 1];
    let steps = [1, 2, 3].map(|operand| usize::from(header.0[operand][RANK - 1] != 1));
    let mut at = part.start / 4;
    let mut rest = cells_mut(call.output);
    while !rest.is_empty() {
        let count = (width - at % width).min(rest.len());
        let (now, behind) = rest.split_at_mut(count);
        let mut from = header.offsets(at);
        for to in now {
            let chosen = match condition.get(from[0]).map(get) {
                Some(0.0) => no.get(from[2]),
                _ => yes.get(from[1]),
            };
            *to = chosen.copied().unwrap_or_default();
            for (from, step) in from.iter_mut().zip(steps) {
                *from += step;
            }
        }
        at += count;
        rest = behind;
    }
    Ok(())
}
