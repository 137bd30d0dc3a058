//! `weight_only_linear`: `float32` rows times a weight of 4 or 8 bits, which has a scale and a zero point for each
//! block along `K`, as ONNX's DequantizeLinear with a block size and `com.microsoft.MatMulNBits` have it.
//!
//! What is computed, the same on every instruction set and for every cut, `fma` being a fused multiply-add, `k`
//! rounded up to a multiple of 8 with zeros behind both operands:
//! - of 8 bits, a block's sum is one chain `t = fma(x[k], f32(q[k] - zero_point), t)` in the order of `k`, from 0;
//! - of 4 bits, it is the chain `t = fma(x[k] / 16^j, q[k] 16^j, t)` with `j = k % 8`, 0 in place of 7, so that a
//!   weight is made a float where it lies in its word; then `t = fma(-zero_point, sum x[k], t)`, the sum being one of
//!   separate additions in the order of `k`, from 0. Dividing loses bits of values below 2^-102 only. An input that is
//!   not finite makes the outputs of its row NaN;
//! - `y = fma(scale, t, y)` over the blocks in order, from 0; then `y + bias`, and the bounds.
//!
//! The header's words are rows, columns, `k`, bits, the block, the bits of both bounds, and the zero point that all
//! blocks share, or 256. Sections, columns in slices of 16, zeros beyond the last one:
//! - the weight: of 8 bits `[slice][k][16]`, of 4 bits `[slice][k / 8][16]` little-endian words, the first in the
//!   lowest bits;
//! - the scales, `[slice][block][16]` little-endian floats;
//! - the zero points likewise, a byte each, unless all are the same;
//! - the bias, `[slice][16]` floats.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod reference;

use core::ops::Range;

use qconfig_core::DType::{float32, quint4x2, quint8};
use qconfig_core::kernel::{
    BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Signature, Sizes, Split,
    WeightData, WeightSpec,
};

use crate::blob::{self, HEADER, Tag, align};
use crate::gemm::{Cut, PANEL};
use crate::q8_linear_dynamic::{float_bounds, floats};
use crate::units::{self, word};

const TAG: Tag = Tag {
    word: *b"WOL1",
    kernel: "weight_only_linear",
};

/// Linear layer, `float32` in and out; the weight is `quint8` or `quint4x2` with a scale and a zero point for each
/// block of a row, the bias `float32`, an activation behind.
///
/// Blocks are of 16, 32, 64, 128 or 256 values, the last of a row perhaps of fewer, or of a row or more. Scales may
/// have any sign. Sums are in a fixed order: see the module's text in the source.
#[derive(Clone, Copy, Debug)]
pub struct WeightOnlyLinear;

impl KernelFamily for WeightOnlyLinear {
    const KERNEL: &'static Kernel = &Kernel {
        name: TAG.kernel,
        signature: Signature {
            weight: &[quint8, quint4x2],
            bias: &[float32],
            ..Signature::activations(&[float32], &[float32])
        },
        sizes,
        pack,
        split,
        run,
        variant: |_, isa| match isa.level() {
            level if level.has_avx2() => "6x16__avx2",
            _ => "1x1__scalar",
        },
    };
}

/// Columns of a slice.
const SLICE: usize = 16;
/// Steps of `k` in a word of 4-bit weights, and what `k` is rounded up to.
const STEPS: usize = 8;
/// Rows of the tallest tile.
const TALLEST: usize = 6;
/// Most rows that are prepared at once.
const BLOCK: usize = 8 * TALLEST;
/// Rows from which making blocks of weights floats in the scratch memory pays.
const WIDE_ROWS: usize = 2 * TALLEST;
/// Steps that are made floats at once: short blocks together, so that rows are read in runs.
const WIDE_RUN: usize = 1024;
/// Steps of the longest block that is made floats: half of a small second-level cache.
const WIDE_STEPS: usize = 4096;
/// In a header: there is a zero point for each block.
const SEVERAL: u32 = 256;
/// What inputs of a word's steps are multiplied with before they meet weights of 4 bits.
const PLACES: [f32; STEPS] = [
    1.0,
    1.0 / 16.0,
    1.0 / 256.0,
    1.0 / 4096.0,
    1.0 / 65_536.0,
    1.0 / 1_048_576.0,
    1.0 / 16_777_216.0,
    1.0,
];

/// The numbers of a layer.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Shape {
    rows: usize,
    columns: usize,
    k: usize,
    is_nibbles: bool,
    block: usize,
    low: f32,
    high: f32,
    /// `None`: one for each block.
    zero_point: Option<u8>,
}

/// Where the sections end; each begins on the next boundary.
#[derive(Clone, Copy, Debug)]
struct Sections {
    weight: Range2,
    scales: Range2,
    zero_points: Range2,
    bias: Range2,
}

type Range2 = [usize; 2];

impl Shape {
    fn slices(&self) -> usize {
        self.columns.div_ceil(SLICE)
    }

    /// `k` as stored.
    fn steps(&self) -> usize {
        self.k.div_ceil(STEPS) * STEPS
    }

    fn blocks(&self) -> usize {
        self.k.div_ceil(self.block)
    }

    /// The steps of a block; the last one has those behind `k` too.
    fn block_steps(&self, block: usize) -> Range<usize> {
        let start = block * self.block;
        match block + 1 == self.blocks() {
            true => start..self.steps(),
            false => start..start + self.block,
        }
    }

    /// Bytes of a slice of the weight.
    fn slice_bytes(&self) -> usize {
        let bytes = self.steps() * SLICE;
        if self.is_nibbles { bytes / 2 } else { bytes }
    }

    /// The same shape, if its numbers fit each other and nothing that is computed of them overflows.
    fn checked(self) -> Option<Self> {
        let is_block = self.block.is_power_of_two() && (16..=256).contains(&self.block);
        if [self.rows, self.columns, self.k].contains(&0) || !(is_block || self.block >= self.k) {
            return None;
        }
        let padded = self.columns.checked_next_multiple_of(SLICE)?;
        let steps = self.k.checked_next_multiple_of(STEPS)?;
        let products = [
            padded.checked_mul(steps)?,
            padded.checked_mul(self.rows)?,
            steps.checked_mul(self.rows.max(BLOCK))?,
        ];
        // a float for each, and as much again for what stands beside
        let fits = |n: usize| {
            n.checked_mul(16)
                .is_some_and(|n| isize::try_from(n).is_ok())
        };
        products.into_iter().all(fits).then_some(self)
    }

    fn sections(&self) -> Sections {
        let mut end = HEADER;
        let mut next = |len: usize| {
            let start = align(end);
            end = start + len;
            [start, end]
        };
        let parameters = self.slices() * self.blocks() * SLICE;
        Sections {
            weight: next(self.slices() * self.slice_bytes()),
            scales: next(parameters * 4),
            zero_points: next(if self.zero_point.is_none() {
                parameters
            } else {
                0
            }),
            bias: next(self.slices() * SLICE * 4),
        }
    }

    fn words(&self) -> Result<[u32; 15], Refusal> {
        let mut words = [0; 15];
        words[..8].copy_from_slice(&[
            word(self.rows)?,
            word(self.columns)?,
            word(self.k)?,
            if self.is_nibbles { 4 } else { 8 },
            word(self.block)?,
            self.low.to_bits(),
            self.high.to_bits(),
            self.zero_point.map_or(SEVERAL, u32::from),
        ]);
        Ok(words)
    }

    fn read(blob: &[u8]) -> Result<Self, BlobError> {
        let damaged = BlobError::Header(TAG.kernel);
        let [rows, columns, k, bits, block, low, high, zero_point, ..] = TAG.read(blob)?;
        let shape = Self {
            rows: rows as usize,
            columns: columns as usize,
            k: k as usize,
            is_nibbles: bits == 4,
            block: block as usize,
            low: f32::from_bits(low),
            high: f32::from_bits(high),
            zero_point: u8::try_from(zero_point).ok(),
        };
        let is_known = matches!(bits, 4 | 8) && zero_point <= SEVERAL;
        shape.checked().filter(|_| is_known).ok_or(damaged)
    }

    fn cut(&self) -> Cut {
        Cut::new(self.rows, self.columns, self.k, 4, true)
    }

    /// Floats that a row takes when it is prepared: its steps, then the sum of each block.
    fn prepared(&self) -> usize {
        self.steps() + if self.is_nibbles { self.blocks() } else { 0 }
    }

    /// Bytes of prepared rows.
    fn rows_bytes(&self) -> usize {
        self.prepared() * self.rows.min(BLOCK) * 4
    }

    /// Bytes of some blocks of a slice as floats; 0 where making it that does not pay.
    fn wide(&self) -> usize {
        let steps = self.block.min(self.k).div_ceil(STEPS) * STEPS;
        // short blocks of 4 bits are quicker made floats in each tile
        let pays = !self.is_nibbles || self.block > 256;
        if pays && self.rows >= WIDE_ROWS && steps <= WIDE_STEPS {
            steps.max(WIDE_RUN).min(self.steps()) * SLICE * 4
        } else {
            0
        }
    }

    fn scratch(&self) -> usize {
        self.rows_bytes() + self.wide()
    }
}

/// The shape of a node, and its weight.
fn shape_of<'a>(node: &NodeSpec<'a>) -> Result<(Shape, WeightSpec<'a>, &'a [u8]), Refusal> {
    floats(node)?;
    let NodeOp::LinearWeightOnly { block } = node.op else {
        return Err(Refusal::Operator(
            "this kernel computes linear layers whose weight is in blocks",
        ));
    };
    let [input] = units::arity(node)?;
    let unfit = Refusal::Shape("the shapes of input, weight and output do not fit each other");
    let Some(weight) = node.weight else {
        return Err(Refusal::Shape("the node has no weight"));
    };
    let (Some((k, before)), Some((columns, behind)), [o, i]) = (
        input.shape.split_last(),
        node.output.shape.split_last(),
        weight.shape,
    ) else {
        return Err(unfit);
    };
    if before != behind || (o, i) != (columns, k) {
        return Err(unfit);
    }
    let rows = before
        .iter()
        .try_fold(1usize, |n, size| n.checked_mul(*size));
    let is_nibbles = weight.dtype == quint4x2;
    let data = match (weight.dtype, weight.data) {
        (quint4x2 | quint8, WeightData::U8(data)) => data,
        (dtype, _) => {
            return Err(Refusal::DType {
                place: "weight",
                dtype,
            });
        }
    };
    let (low, high) = float_bounds(node.activation);
    let first = weight.zero_points.first().copied().unwrap_or(0);
    let most = if is_nibbles { 15 } else { 255 };
    if let Some(outside) = (weight.zero_points.iter()).find(|zp| !(0..=most).contains(*zp)) {
        return Err(Refusal::ZeroPoint(*outside));
    }
    let is_shared = weight.zero_points.iter().all(|zp| *zp == first);
    let shape = Shape {
        rows: rows.ok_or(unfit.clone())?,
        columns: *columns,
        k: *k,
        is_nibbles,
        // one block of a row, whatever its length
        block: if block >= *k { *k } else { block },
        low,
        high,
        zero_point: u8::try_from(first).ok().filter(|_| is_shared),
    };
    let shape = shape.checked().ok_or(Refusal::Shape(
        "blocks are of 16, 32, 64, 128 or 256 values or of a row, and no dimension is 0 or too large",
    ))?;
    let parameters = shape.columns * shape.blocks();
    if data.len() != shape.columns * shape.k
        || weight.scales.len() != parameters
        || weight.zero_points.len() != parameters
    {
        return Err(Refusal::Shape(
            "the weight has not as many values as its shape, or not a scale and a zero point for each block",
        ));
    }
    if data.iter().any(|q| i32::from(*q) > most) {
        return Err(Refusal::Shape("the weight holds more than 4 bits"));
    }
    if !weight.scales.iter().all(|scale| scale.is_finite()) {
        return Err(Refusal::NotFinite("the scales of the weight"));
    }
    if let Some(bias) = node.bias {
        if bias.len() != shape.columns {
            return Err(Refusal::Shape("the bias has not one value for each output"));
        }
        if !bias.iter().all(|b| b.is_finite()) {
            return Err(Refusal::NotFinite("bias"));
        }
    }
    Ok((shape, weight, data))
}

fn sizes(node: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    let (shape, ..) = shape_of(node)?;
    shape.words()?;
    Ok(Sizes {
        blob: shape.sections().bias[1],
        scratch: shape.scratch(),
    })
}

fn pack(node: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let (shape, weight, data) = shape_of(node)?;
    let sections = shape.sections();
    units::blob_length(blob, sections.bias[1])?;
    blob.fill(0);
    TAG.write(blob, &shape.words()?);
    let blocks = shape.blocks();
    for (column, row) in data.chunks_exact(shape.k).enumerate() {
        let (slice, lane) = (column / SLICE, column % SLICE);
        let start = sections.weight[0] + slice * shape.slice_bytes();
        for (step, q) in row.iter().enumerate() {
            if shape.is_nibbles {
                let word = start + (step / STEPS * SLICE + lane) * 4;
                blob[word + step % STEPS / 2] |= q << (step % 2 * 4);
            } else {
                blob[start + step * SLICE + lane] = *q;
            }
        }
        for block in 0..blocks {
            let from = column * blocks + block;
            let to = (slice * blocks + block) * SLICE + lane;
            let cell = sections.scales[0] + to * 4;
            blob[cell..cell + 4].copy_from_slice(&weight.scales[from].to_le_bytes());
            if shape.zero_point.is_none() {
                blob[sections.zero_points[0] + to] = weight.zero_points[from] as u8;
            }
        }
    }
    let cells = blob[sections.bias[0]..].as_chunks_mut::<4>().0;
    for (cell, b) in cells.iter_mut().zip(node.bias.unwrap_or_default()) {
        *cell = b.to_le_bytes();
    }
    Ok(())
}

/// A blob whose sections have the lengths that its header asks for.
struct Packed<'a> {
    shape: Shape,
    weight: &'a [u8],
    scales: &'a [u8],
    zero_points: &'a [u8],
    bias: &'a [u8],
}

impl<'a> Packed<'a> {
    fn read(blob: &'a [u8]) -> Result<Self, BlobError> {
        let shape = Shape::read(blob)?;
        let sections = shape.sections();
        blob::exact("blob", blob.len(), sections.bias[1])?;
        let section = |[start, end]: Range2| &blob[start..end];
        Ok(Self {
            shape,
            weight: section(sections.weight),
            scales: section(sections.scales),
            zero_points: section(sections.zero_points),
            bias: section(sections.bias),
        })
    }
}

/// Rows that were prepared, times slices of columns.
struct Job<'a> {
    packed: &'a Packed<'a>,
    /// Of each row, [`Shape::prepared`] native-endian floats.
    x: &'a [u8],
    rows: usize,
    slices: Range<usize>,
    /// Bytes from one row of the output to the next.
    pitch: usize,
}

impl Job<'_> {
    /// Columns of a slice that exist.
    fn count(&self, slice: usize) -> usize {
        (self.packed.shape.columns - slice * SLICE).min(SLICE)
    }

    /// Where the outputs of a row begin that a slice has.
    fn output(&self, row: usize, slice: usize) -> usize {
        row * self.pitch + (slice - self.slices.start) * SLICE * 4
    }
}

/// Writes a row's floats as its weights need them, and behind them the sum of each block.
fn prepare(shape: &Shape, row: &[u8], to: &mut [u8]) {
    let (to, sums) = to.split_at_mut(shape.steps() * 4);
    let (from, to) = (row.as_chunks::<4>().0, to.as_chunks_mut::<4>().0);
    let (values, padding) = to.split_at_mut(from.len());
    padding.fill([0; 4]);
    if !shape.is_nibbles {
        values.copy_from_slice(from);
        return;
    }
    for (cells, from) in values.chunks_mut(STEPS).zip(from.chunks(STEPS)) {
        for ((cell, x), place) in cells.iter_mut().zip(from).zip(PLACES) {
            *cell = (f32::from_ne_bytes(*x) * place).to_ne_bytes();
        }
    }
    let blocks = from.chunks(shape.block);
    for (sum, block) in sums.as_chunks_mut::<4>().0.iter_mut().zip(blocks) {
        let x = block.iter().map(|x| f32::from_ne_bytes(*x));
        *sum = x.fold(0.0, |sum, x| sum + x).to_ne_bytes();
    }
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    let packed = Packed::read(blob)?;
    let [input] = units::lengths(inputs)?;
    blob::exact("the input", input, packed.shape.rows * packed.shape.k * 4)?;
    Ok(packed.shape.cut().split())
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    let packed = Packed::read(call.blob)?;
    let shape = &packed.shape;
    blob::exact("the list of inputs", call.inputs.len(), 1)?;
    let input = units::input(call.inputs, 0)?;
    blob::exact("the input", input.len(), shape.rows * shape.k * 4)?;
    blob::at_least("scratch", call.scratch.len(), shape.scratch())?;
    let part = shape.cut().part(&call.units, call.output.len())?;
    let slices = shape.slices();
    let slice = |panel: usize| panel.saturating_mul(PANEL / SLICE).min(slices);
    let columns = slice(part.panels.start)..slice(part.panels.end);
    let width =
        (columns.end * SLICE).min(shape.columns) - (columns.start * SLICE).min(shape.columns);
    let (row_bytes, prepared) = (shape.k * 4, shape.prepared() * 4);
    let rows = &input[part.rows.start * row_bytes..part.rows.end * row_bytes];
    let blocks = rows.chunks(BLOCK * row_bytes);
    let (prepared_rows, wide) = call.scratch.split_at_mut(shape.rows_bytes());
    #[cfg(target_arch = "x86_64")]
    let wide = &mut wide[..shape.wide()];
    #[cfg(not(target_arch = "x86_64"))]
    let _ = wide;
    for (rows, output) in blocks.zip(call.output.chunks_mut((BLOCK * width * 4).max(1))) {
        let rows = rows.chunks_exact(row_bytes);
        let count = rows.len();
        for (row, to) in rows.zip(prepared_rows.chunks_exact_mut(prepared)) {
            prepare(shape, row, to);
        }
        let job = Job {
            packed: &packed,
            x: &prepared_rows[..count * prepared],
            rows: count,
            slices: columns.clone(),
            pitch: width * 4,
        };
        match call.isa.level() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the `Isa` proves AVX2 and FMA; the blob's sections have the lengths of its shape, the rows
            // were prepared, the output has `count` rows of the slices' columns, and `wide` the bytes it says.
            level if level.has_avx2() => unsafe { avx2::run(&job, output, wide) },
            _ => reference::run(&job, output),
        }
    }
    Ok(())
}
