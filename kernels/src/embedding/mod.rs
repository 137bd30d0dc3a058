//! Rows of a table in torch's row formats, looked up and reduced.
//!
//! The blob's words: rows, columns, kind (0 lookup, 1 sum, 2 mean, 3 max), bags or lookups, indices,
//! flags (bit 0: 4-bit rows; 1: `int64` indices; 2: offsets; 3: `int64` offsets; 4: the last bag's end is
//! given; 5: weights; 6: a padding row; 7: rows of floats), the padding row. Then the rows, one behind the other.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod float;
mod reference;
mod rows;
mod shape;

use core::ops::Range;

use qconfig_core::DType::{float32, quint4x2, quint8};
use qconfig_core::KernelFamily;
use qconfig_core::kernel::{
    BagMode, BlobError, Call, Kernel, NodeSpec, Refusal, Signature, Sizes, Split,
};

pub use self::float::F32Embedding;
use self::rows::Rows;
use self::shape::{Format, Shape};
use crate::blob::{self, HEADER, Tag};
use crate::units;

const TAG: Tag = Tag {
    word: *b"emb1",
    kernel: "embedding_rowwise",
};

/// [`NodeOp::Embedding`](qconfig_core::kernel::NodeOp::Embedding) and
/// [`NodeOp::EmbeddingBag`](qconfig_core::kernel::NodeOp::EmbeddingBag) over rows of eight or four bits,
/// in the row formats of torch's `embedding_bag_byte` and `embedding_bag_4bit`:
///
/// - `quint8`: `[D x u8][f32 scale][f32 bias]`;
/// - `quint4x2`: `[ceil(D / 2) bytes][f16 scale][f16 bias]`, the even column in the low half of a byte.
///
/// A float table is quantized row by row, as FBGEMM does: in eight bits `scale = (max - min) / 255`,
/// `bias = min`, `q = rne((x - min) * (255 / (max - min + 1e-8)))`; in four bits `bias = f16(min)`,
/// `scale = f16((max - bias) / 15)`, `q = clamp(rne((x - bias) / scale), 0, 15)`. A table of integers takes
/// `bias = -zero_point * scale`, both rounded to `f16` in four bits.
///
/// For each row of a bag in order `acc = fma(w * scale, q, acc + w * bias)`, one fused operation, from 0 on;
/// `w` is 1 without weights. Mean divides that by the number of rows, maximum takes the greatest
/// `fma(scale, q, bias)`. The padding row counts for nothing, an empty bag is 0. Torch's quantized bags know
/// the sum only, whatever mode the module has; here mean and maximum are computed.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddingRowwise;

impl KernelFamily for EmbeddingRowwise {
    const KERNEL: &'static Kernel = &Kernel {
        name: TAG.kernel,
        signature: Signature {
            input: &[float32],
            output: &[float32],
            weight: &[quint8, quint4x2],
            bias: &[],
            is_dynamic: false,
            weight_range: None,
            scale_min: None,
        },
        sizes,
        pack,
        split,
        run,
        variant: |_, isa| match isa.level() {
            level if level.has_avx2() => "1x64__avx2",
            _ => "1x1__scalar",
        },
    };
}

/// Rows of integers.
fn quantized(node: &NodeSpec<'_>) -> Result<Shape, Refusal> {
    let shape = Shape::of(node)?;
    match shape.format {
        Format::Floats => Err(Refusal::DType {
            place: "weight",
            dtype: float32,
        }),
        _ => Ok(shape),
    }
}

fn sizes(node: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    let shape = quantized(node)?;
    rows::check(node, &shape)?;
    let blob = shape.table().and_then(|len| len.checked_add(HEADER));
    match blob {
        Some(blob) => Ok(Sizes { blob, scratch: 0 }),
        None => Err(Refusal::Shape("the node is too large")),
    }
}

fn pack(node: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    units::blob_length(blob, sizes(node)?.blob)?;
    let shape = Shape::of(node)?;
    TAG.write(blob, &shape.words()?);
    rows::pack(node, &shape, &mut blob[HEADER..])
}

fn read(blob: &[u8]) -> Result<(Shape, Rows<'_>), BlobError> {
    let damaged = BlobError::Header(TAG.kernel);
    let shape = Shape::from_words(&TAG.read(blob)?).ok_or(damaged)?;
    if shape.format == Format::Floats {
        return Err(damaged);
    }
    let table = shape.table().ok_or(damaged)?;
    let table = blob::exact("the table", blob.len() - HEADER, table).map(|()| &blob[HEADER..])?;
    Ok((shape, Rows::new(&shape, table)))
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    let (shape, _) = read(blob)?;
    shape.split(inputs)
}

/// Holds the inputs of a call against the shape.
fn check_call(shape: &Shape, inputs: &[&[u8]]) -> Result<Split, BlobError> {
    let mut lengths = [0; 3];
    let count = inputs.len().min(lengths.len());
    for (length, input) in lengths.iter_mut().zip(inputs) {
        *length = input.len();
    }
    blob::exact("the list of inputs", inputs.len(), count)?;
    shape.split(&lengths[..count])
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    let (shape, rows) = read(call.blob)?;
    let split = check_call(&shape, call.inputs)?;
    units::part(&split, &call.units, call.output.len())?;
    let job = Job {
        shape: &shape,
        rows,
        inputs: call.inputs,
    };
    job.check(&call.units)?;
    match call.isa.level() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an `Isa` of such a level proves AVX2, FMA and F16C.
        level if level.has_avx2() => unsafe { avx2::run(&job, call.units, call.output) },
        _ => reference::run(&job, call.units, call.output),
    }
    Ok(())
}

/// A table and what is asked of it. Once [`Job::check`] has passed for some bags, the indices of these
/// are rows of the table.
struct Job<'a> {
    shape: &'a Shape,
    rows: Rows<'a>,
    inputs: &'a [&'a [u8]],
}

impl Job<'_> {
    /// The index at a position of the list.
    #[inline(always)]
    fn index(&self, at: usize) -> i64 {
        integer(self.inputs[0], self.shape.wide_indices, at)
    }

    /// The weight at a position of the list; 1 where there are none.
    #[inline(always)]
    fn weight(&self, at: usize) -> f32 {
        if !self.shape.has_weights {
            return 1.0;
        }
        let weights = self.inputs.last().map_or(&[][..], |last| last);
        let cell = weights.as_chunks().0.get(at).copied();
        f32::from_ne_bytes(cell.unwrap_or_default())
    }

    /// Positions of a bag's indices in the list.
    #[inline]
    fn bag(&self, bag: usize) -> Range<usize> {
        let shape = self.shape;
        if !shape.has_offsets {
            let length = shape.indices / shape.bags.max(1);
            return bag * length..(bag + 1) * length;
        }
        let offset = |at: usize| {
            if at == shape.offsets() {
                shape.indices as i64
            } else {
                integer(self.inputs[1], shape.wide_offsets, at)
            }
        };
        offset(bag) as usize..offset(bag + 1) as usize
    }

    /// Whether a row counts for nothing.
    #[inline(always)]
    fn is_padding(&self, row: usize) -> bool {
        self.shape.padding == Some(row)
    }

    /// Holds the offsets of some bags against the list, and their indices against the table.
    fn check(&self, bags: &Range<usize>) -> Result<(), BlobError> {
        let shape = self.shape;
        if shape.has_offsets {
            let offsets = shape.offsets();
            let mut before = 0usize;
            for at in bags.start..(bags.end + usize::from(!bags.is_empty())).min(offsets) {
                let value = integer(self.inputs[1], shape.wide_offsets, at);
                // they begin at 0, do not fall, and stay inside
                let end = if at == 0 { 1 } else { shape.indices + 1 };
                if value < before as i64 || value >= end as i64 {
                    return Err(BlobError::Index {
                        what: "offset",
                        at,
                        value,
                        start: before,
                        end,
                    });
                }
                before = value as usize;
            }
        }
        let range = match (bags.is_empty(), bags.end.checked_sub(1)) {
            (false, Some(last)) => self.bag(bags.start).start..self.bag(last).end,
            _ => 0..0,
        };
        // a negative one is the largest without its sign
        let is_outside = |value: i64| value as u64 >= shape.rows as u64;
        let list = self.inputs[0];
        let first = if shape.wide_indices {
            let part = list.as_chunks().0.get(range.clone()).unwrap_or_default();
            part.iter().position(|x| is_outside(i64::from_ne_bytes(*x)))
        } else {
            let part = list.as_chunks().0.get(range.clone()).unwrap_or_default();
            part.iter()
                .position(|x| is_outside(i64::from(i32::from_ne_bytes(*x))))
        };
        match first {
            None => Ok(()),
            Some(at) => Err(BlobError::Index {
                what: "index",
                at: range.start + at,
                value: self.index(range.start + at),
                start: 0,
                end: shape.rows,
            }),
        }
    }

    /// What becomes of the sum of so many rows.
    fn finish(&self, sum: f32, count: usize) -> f32 {
        match self.shape.mode {
            Some(BagMode::Mean) if count > 0 => sum / count as f32,
            _ => sum,
        }
    }
}

/// A native-endian `int32` or `int64`.
#[inline(always)]
fn integer(list: &[u8], wide: bool, at: usize) -> i64 {
    if wide {
        let cell = list.as_chunks().0.get(at).copied();
        i64::from_ne_bytes(cell.unwrap_or_default())
    } else {
        let cell = list.as_chunks().0.get(at).copied();
        i64::from(i32::from_ne_bytes(cell.unwrap_or_default()))
    }
}
