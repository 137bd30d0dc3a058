//! Softmax along an axis, by a table of exponentials (QNNPACK's `u8lut32norm`).
//!
//! `e[i] = rne(min((2^32 - 1) / n, 2^23 - 1) * exp((i - 255) * scale))` for an axis of `n` elements, in f64;
//! with `e` of each element at `255 + q - max` and their sum, the output is
//! - `min(255, ((e << 8) + (sum >> 1)) / sum)`, where it has the scale 1/256 and the stored zero point 0
//!   that torch gives every softmax;
//! - else `quantize(f32(e) / f32(sum))`, as [`Quantize`](crate::Quantize) does.
//!
//! QNNPACK sums in 32 bits, which overflow where more than 512 elements are equal: it then gives 1 for each.
//! Here the sum is exact.

mod reference;

use qconfig_core::kernel::{
    Activation, BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Signature, Sizes,
    Split,
};
use qconfig_core::{DType, Isa};

use crate::affine::{Stored, stored};
use crate::blob::{HEADER, Tag, exact};
use crate::units::{self, UNIT, word};

/// Softmax of `quint8` or `qint8` tensors along any axis of the storage order; see the module for the
/// formula.
#[derive(Clone, Copy, Debug)]
pub struct Q8Softmax;

const NAME: &str = "q8_softmax";
const TAG: Tag = Tag {
    word: *b"smx1",
    kernel: NAME,
};
/// Header, then the table of exponentials.
const BLOB: usize = HEADER + 4 * 256;

impl KernelFamily for Q8Softmax {
    const KERNEL: &'static Kernel = &Kernel {
        name: NAME,
        signature: Signature::activations(
            &[DType::quint8, DType::qint8],
            &[DType::quint8, DType::qint8],
        ),
        sizes,
        pack,
        split,
        run,
        variant,
    };
}

/// How sums become bytes.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Form {
    /// Scale 1/256, stored zero point 0.
    Fixed,
    /// Any other.
    Float(Stored),
}

impl Form {
    fn of(to: Stored) -> Self {
        if to.scale == 1.0 / 256.0 && to.zero_point == 0 {
            Self::Fixed
        } else {
            Self::Float(to)
        }
    }
}

/// The tensor as the axis sees it: `outer` blocks of `len` lines of `inner` elements.
#[derive(Clone, Copy)]
struct Shape {
    outer: usize,
    len: usize,
    inner: usize,
}

impl Shape {
    fn new(shape: &[usize], axis: usize) -> Result<Self, Refusal> {
        let Some((before, [len, behind @ ..])) = shape.split_at_checked(axis) else {
            return Err(Refusal::Shape("there is no such axis"));
        };
        let product = |shape: &[usize]| shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        match (product(before), product(behind)) {
            (Some(outer), Some(inner)) if *len > 0 => Ok(Self {
                outer,
                len: *len,
                inner,
            }),
            _ => Err(Refusal::Shape("no elements along the axis, or too many")),
        }
    }
}

fn plan(spec: &NodeSpec<'_>) -> Result<(Shape, Stored, Stored), Refusal> {
    let (NodeOp::Softmax { axis }, Activation::None) = (spec.op, spec.activation) else {
        return Err(Refusal::Operator(
            "this kernel computes a softmax and nothing else",
        ));
    };
    let [input] = units::arity(spec)?;
    units::same_shape(input, &spec.output)?;
    if input.dtype != spec.output.dtype {
        return Err(Refusal::DType {
            place: "input",
            dtype: input.dtype,
        });
    }
    Ok((
        Shape::new(input.shape, axis)?,
        stored("input", input)?,
        stored("output", &spec.output)?,
    ))
}

fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    plan(spec)?;
    Ok(Sizes {
        blob: BLOB,
        scratch: 0,
    })
}

/// Words: outer, length of the axis, inner, bits of the output's scale, its zero point.
fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let (shape, from, to) = plan(spec)?;
    units::blob_length(blob, BLOB)?;
    let mut words = [0; 15];
    words[..5].copy_from_slice(&[
        word(shape.outer)?,
        word(shape.len)?,
        word(shape.inner)?,
        to.scale.to_bits(),
        to.zero_point as u32,
    ]);
    let (header, table) = blob.split_at_mut(HEADER);
    TAG.write(header, &words);
    let unit = (f64::from(u32::MAX) / shape.len as f64).min(8_388_607.0);
    for (to, steps) in table.as_chunks_mut().0.iter_mut().zip(-255..=0i32) {
        let exponential = libm::exp(f64::from(steps) * f64::from(from.scale));
        *to = (libm::rint(unit * exponential) as u32).to_le_bytes();
    }
    Ok(())
}

/// The table of a blob.
struct Exponentials<'b>(&'b [[u8; 4]]);

impl Exponentials<'_> {
    fn get(&self, at: u8) -> u32 {
        self.0
            .get(usize::from(at))
            .map_or(0, |word| u32::from_le_bytes(*word))
    }
}

struct Packed<'b> {
    shape: Shape,
    form: Form,
    exponentials: Exponentials<'b>,
}

impl<'b> Packed<'b> {
    fn read(blob: &'b [u8]) -> Result<Self, BlobError> {
        exact("the blob", blob.len(), BLOB)?;
        let damaged = BlobError::Header(NAME);
        let [outer, len, inner, scale, zero_point, ..] = TAG.read(blob)?;
        let scale = f32::from_bits(scale);
        let elements = [outer, len, inner]
            .iter()
            .try_fold(1u32, |n, size| n.checked_mul(*size));
        if elements.is_none() || len == 0 || !(scale.is_normal() && scale > 0.0) || zero_point > 255
        {
            return Err(damaged);
        }
        let [outer, len, inner] = [outer, len, inner].map(|size| size as usize);
        Ok(Self {
            shape: Shape { outer, len, inner },
            form: Form::of(Stored {
                scale,
                zero_point: zero_point as i32,
            }),
            exponentials: Exponentials(blob.get(HEADER..).unwrap_or_default().as_chunks().0),
        })
    }

    /// Elements of a block, which is computed as a whole.
    fn block(&self) -> usize {
        self.shape.len * self.shape.inner
    }

    fn split(&self, inputs: &[usize]) -> Result<Split, BlobError> {
        let [input] = units::lengths(inputs)?;
        let block = self.block();
        exact("the input", input, self.shape.outer * block)?;
        if block == 0 {
            return Ok(units::split(0, 1, 1));
        }
        // several blocks where they are short
        let blocks = (UNIT / block).max(1);
        Ok(Split {
            units: self.shape.outer.div_ceil(blocks),
            unit_bytes: blocks * block,
            output_bytes: input,
            grain: (UNIT / (blocks * block)).max(1),
        })
    }
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    Packed::read(blob)?.split(inputs)
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    let packed = Packed::read(call.blob)?;
    let input = units::input(call.inputs, 0)?;
    let split = packed.split(&[input.len()])?;
    let part = units::part(&split, &call.units, call.output.len())?;
    let input = units::slice(input, part)?;
    let block = packed.block().max(1);
    let Shape { len, inner, .. } = packed.shape;
    for (x, y) in input.chunks(block).zip(call.output.chunks_mut(block)) {
        for first in 0..inner {
            let line = [first, len, inner];
            reference::line(&packed.exponentials, packed.form, line, x, y);
        }
    }
    Ok(())
}

fn variant(_: &[u8], _: Isa) -> &'static str {
    "x1__scalar"
}
