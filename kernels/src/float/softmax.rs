//! Softmax along any axis.

use qconfig_core::DType;
use qconfig_core::kernel::{
    Activation, BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Signature, Sizes,
    Split,
};

use super::loops::{Cells, LANES, Loop, cells, cells_mut, folded, get, variant, vectorized};
use super::math::exp;
use crate::blob::{HEADER, Tag, exact};
use crate::q8_linear_dynamic::floats;
use crate::units::{self, UNIT, word};

/// `exp(x - max) / sum exp(x - max)` along any axis of a `float32` tensor.
///
/// Along the last axis the sum is made of sixteen partial ones; along the others it runs in order.
#[derive(Clone, Copy, Debug)]
pub struct F32Softmax;

const NAME: &str = "f32_softmax";
const TAG: Tag = Tag {
    word: *b"fsm1",
    kernel: NAME,
};

impl KernelFamily for F32Softmax {
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

/// Words: blocks, positions along the axis, elements of each position.
#[derive(Clone, Copy)]
struct Header {
    outer: usize,
    len: usize,
    inner: usize,
}

fn plan(spec: &NodeSpec<'_>) -> Result<Header, Refusal> {
    let NodeOp::Softmax { axis } = spec.op else {
        return Err(Refusal::Operator("this kernel computes softmax only"));
    };
    if spec.activation != Activation::None {
        return Err(Refusal::Operator("nothing is fused behind a softmax"));
    }
    floats(spec)?;
    let [input] = units::arity(spec)?;
    units::same_shape(input, &spec.output)?;
    let Some((before, [len, behind @ ..])) = input.shape.split_at_checked(axis) else {
        return Err(Refusal::Shape("an axis that the input does not have"));
    };
    let header = Header {
        outer: before.iter().product(),
        len: *len,
        inner: behind.iter().product(),
    };
    header
        .elements()
        .map(|_| header)
        .ok_or(Refusal::Shape("too many elements"))
}

fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    plan(spec)?;
    Ok(Sizes {
        blob: HEADER,
        scratch: 0,
    })
}

fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let Header { outer, len, inner } = plan(spec)?;
    units::blob_length(blob, HEADER)?;
    let mut words = [0; 15];
    words[..3].copy_from_slice(&[word(outer)?, word(len)?, word(inner)?]);
    TAG.write(blob, &words);
    Ok(())
}

fn read(blob: &[u8], inputs: &[usize]) -> Result<Header, BlobError> {
    exact("the blob", blob.len(), HEADER)?;
    let [outer, len, inner, ..] = TAG.read(blob)?;
    let header = Header {
        outer: outer as usize,
        len: len as usize,
        inner: inner as usize,
    };
    let elements = header.elements().ok_or(BlobError::Header(NAME))?;
    let [input] = units::lengths(inputs)?;
    exact("the input", input, elements * 4)?;
    Ok(header)
}

impl Header {
    /// `None` where their bytes cannot be counted.
    fn elements(&self) -> Option<usize> {
        let block = self.len.checked_mul(self.inner)?;
        let elements = self.outer.checked_mul(block)?;
        elements.checked_mul(4).map(|_| elements)
    }

    /// Elements of a block.
    fn block(&self) -> usize {
        self.len * self.inner
    }

    /// Units of whole blocks.
    fn split(&self) -> Split {
        let block = self.block();
        let blocks = (UNIT / block.max(1)).max(1);
        let unit = blocks * block;
        Split {
            units: if block == 0 {
                0
            } else {
                self.outer.div_ceil(blocks)
            },
            unit_bytes: unit * 4,
            output_bytes: self.outer * block * 4,
            grain: (1usize << 13).div_ceil(unit.max(1)),
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
    let work = Blocks {
        header,
        input: cells(units::slice(input, part)?),
        output: cells_mut(call.output),
    };
    vectorized(call.isa, work);
    Ok(())
}

struct Blocks<'a> {
    header: Header,
    input: &'a Cells,
    output: &'a mut Cells,
}

impl Loop for Blocks<'_> {
    #[inline(always)]
    fn run(self) {
        let block = self.header.block().max(1);
        let blocks = self.input.chunks_exact(block);
        for (from, to) in blocks.zip(self.output.chunks_exact_mut(block)) {
            if self.header.inner == 1 {
                row(from, to);
            } else {
                columns(from, to, self.header.inner);
            }
        }
    }
}

#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

/// One line whose elements lie beside each other.
#[inline(always)]
fn row(from: &Cells, to: &mut Cells) {
    let mut most = [f32::NEG_INFINITY; LANES];
    for chunk in from.chunks(LANES) {
        for (most, x) in most.iter_mut().zip(chunk) {
            *most = larger(*most, get(x));
        }
    }
    let most = folded(most, larger);
    let mut sums = [0.0f32; LANES];
    for (from, to) in from.chunks(LANES).zip(to.chunks_mut(LANES)) {
        for ((x, y), sum) in from.iter().zip(to).zip(&mut sums) {
            let e = exp(get(x) - most);
            *y = e.to_ne_bytes();
            *sum += e;
        }
    }
    let sum = folded(sums, |a, b| a + b);
    for y in to {
        *y = (get(y) / sum).to_ne_bytes();
    }
}

/// Lines that lie beside each other, a few at a time.
#[inline(always)]
fn columns(from: &Cells, to: &mut Cells, inner: usize) {
    for first in (0..inner).step_by(LANES) {
        let width = LANES.min(inner - first);
        let mut most = [f32::NEG_INFINITY; LANES];
        for line in from.chunks_exact(inner) {
            for (most, x) in most.iter_mut().zip(&line[first..][..width]) {
                *most = larger(*most, get(x));
            }
        }
        let mut sums = [0.0f32; LANES];
        for (from, to) in from.chunks_exact(inner).zip(to.chunks_exact_mut(inner)) {
            let (from, to) = (&from[first..][..width], &mut to[first..][..width]);
            for (i, (x, y)) in from.iter().zip(to).enumerate() {
                let e = exp(get(x) - most[i]);
                *y = e.to_ne_bytes();
                sums[i] += e;
            }
        }
        for to in to.chunks_exact_mut(inner) {
            for (y, sum) in to[first..][..width].iter_mut().zip(sums) {
                *y = (get(y) / sum).to_ne_bytes();
            }
        }
    }
}
