//! Positions of an axis, in any order.

use qconfig_core::kernel::{
    Activation, BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Signature, Sizes,
    Split, WeightData,
};
use qconfig_core::{DType, Isa};

use crate::blob::{HEADER, Tag, align, exact};
use crate::q8_linear_dynamic::floats;
use crate::units::{self, word};

/// `out[.., i, ..] = in[.., indices[i], ..]` of a `float32` tensor ([`NodeOp::Select`]).
#[derive(Clone, Copy, Debug)]
pub struct F32Select;

const NAME: &str = "f32_select";
const TAG: Tag = Tag {
    word: *b"fse1",
    kernel: NAME,
};

impl KernelFamily for F32Select {
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

/// Words: blocks, positions in, elements of each, positions out. Section: which ones.
#[derive(Clone, Copy)]
struct Header {
    outer: usize,
    size: usize,
    inner: usize,
    count: usize,
}

fn plan<'a>(spec: &NodeSpec<'a>) -> Result<(Header, &'a [f32]), Refusal> {
    let NodeOp::Select { axis } = spec.op else {
        return Err(Refusal::Operator("this kernel selects positions"));
    };
    let [input] = units::arity(spec)?;
    floats(spec)?;
    let indices = match spec.parameters {
        [one] => match one.data {
            WeightData::F32(indices) if spec.activation == Activation::None => indices,
            _ => {
                return Err(Refusal::Operator(
                    "indices are floats, nothing is fused behind",
                ));
            }
        },
        _ => return Err(Refusal::Shape("a selection has one list of indices")),
    };
    let unfit = Refusal::Shape("the indices do not make the output of the input");
    let (Some((before, [size, behind @ ..])), Some((outer, [count, inner @ ..]))) = (
        input.shape.split_at_checked(axis),
        spec.output.shape.split_at_checked(axis),
    ) else {
        return Err(unfit);
    };
    let inside =
        |index: &f32| *index >= 0.0 && *index < *size as f32 && *index as usize as f32 == *index;
    let fits = (before, behind, *count) == (outer, inner, indices.len());
    if !fits || *size > 1 << 24 || !indices.iter().all(inside) {
        return Err(unfit);
    }
    let product = |shape: &[usize]| shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
    let header = product(before)
        .zip(product(behind))
        .map(|(outer, inner)| Header {
            outer,
            size: *size,
            inner,
            count: *count,
        });
    let header = header.and_then(Header::checked).ok_or(unfit)?;
    Ok((header, indices))
}

impl Header {
    /// `None` where bytes cannot be counted.
    fn checked(self) -> Option<Self> {
        let bytes = |positions: usize| {
            let block = positions.checked_mul(self.inner)?.checked_mul(4)?;
            self.outer.checked_mul(block)
        };
        bytes(self.size)?;
        bytes(self.count)?;
        Some(self)
    }

    fn blob(&self) -> usize {
        HEADER + align(self.count * 4)
    }

    /// One unit a position.
    fn split(&self, inputs: &[usize]) -> Result<Split, BlobError> {
        let [input] = units::lengths(inputs)?;
        exact("the input", input, self.outer * self.size * self.inner * 4)?;
        Ok(Split {
            units: self.outer * self.count,
            unit_bytes: self.inner * 4,
            output_bytes: self.outer * self.count * self.inner * 4,
            grain: (1usize << 16).div_ceil(self.inner.max(1)),
        })
    }
}

fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    Ok(Sizes {
        blob: plan(spec)?.0.blob(),
        scratch: 0,
    })
}

fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let (header, indices) = plan(spec)?;
    units::blob_length(blob, header.blob())?;
    blob.fill(0);
    let mut words = [0; 15];
    words[..4].copy_from_slice(&[
        word(header.outer)?,
        word(header.size)?,
        word(header.inner)?,
        word(header.count)?,
    ]);
    let (first, section) = blob.split_at_mut(HEADER);
    TAG.write(first, &words);
    for (to, index) in section.as_chunks_mut().0.iter_mut().zip(indices) {
        *to = (*index as u32).to_le_bytes();
    }
    Ok(())
}

fn read(blob: &[u8]) -> Result<(Header, &[[u8; 4]]), BlobError> {
    let damaged = BlobError::Header(NAME);
    let [outer, size, inner, count] = match TAG.read(blob)? {
        [outer, size, inner, count, ..] => [outer, size, inner, count].map(|n| n as usize),
    };
    let header = Header {
        outer,
        size,
        inner,
        count,
    };
    let header = header.checked().ok_or(damaged)?;
    exact("the blob", blob.len(), header.blob())?;
    let indices = blob[HEADER..].as_chunks().0;
    Ok((header, indices.get(..count).ok_or(damaged)?))
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    read(blob)?.0.split(inputs)
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    let (header, indices) = read(call.blob)?;
    let input = units::input(call.inputs, 0)?;
    let split = header.split(&[input.len()])?;
    units::part(&split, &call.units, call.output.len())?;
    let row = header.inner * 4;
    if row == 0 || indices.is_empty() {
        return Ok(());
    }
    for (unit, to) in call.units.zip(call.output.chunks_exact_mut(row)) {
        let (block, at) = (unit / indices.len(), unit % indices.len());
        let index = u32::from_le_bytes(indices[at]) as usize;
        if index >= header.size {
            return Err(BlobError::Header(NAME));
        }
        let from = (block * header.size + index) * row;
        to.copy_from_slice(units::slice(input, from..from + row)?);
    }
    Ok(())
}
