//! Concatenation: rows of several tensors behind each other, each requantized to the output's parameters
//! where its own are others.
//!
//! Seen from the axis, every tensor is a matrix: the axes before make its rows, the rest its columns. A row
//! of the output is the inputs' rows, one after the other.

use qconfig_core::kernel::{
    Activation, BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Signature, Sizes,
    Split, TensorSpec,
};
use qconfig_core::{DType, Isa};

use crate::affine::stored;
use crate::blob::{HEADER, Tag, align, exact};
use crate::units::{self, word};
use crate::{lut, requantize};

/// Concatenates up to 64 tensors of `quint8` or `qint8` along any axis of the storage order.
///
/// An input with the output's dtype and parameters is copied; each other one becomes
/// `quantize(dequantize(q))` as [`Requantize`](crate::Requantize) computes it, at every position and on
/// every instruction set alike (torch's own result depends on both, by a step).
#[derive(Clone, Copy, Debug)]
pub struct Q8Cat;

const NAME: &str = "q8_cat";
const TAG: Tag = Tag {
    word: *b"cat1",
    kernel: NAME,
};
/// Inputs at most.
const INPUTS: usize = 64;
/// Columns from which on a table is worth a vector's registers.
const LONG: usize = 256;

impl KernelFamily for Q8Cat {
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

/// Rows, and what a header word says of each input: its columns.
struct Rows {
    rows: u32,
    columns: [u32; INPUTS],
    /// The input's values in the output's parameters, where these are others.
    tables: usize,
}

fn axis(spec: &NodeSpec<'_>) -> Result<usize, Refusal> {
    match spec.op {
        NodeOp::Cat { axis } if spec.activation == Activation::None => Ok(axis),
        _ => Err(Refusal::Operator(
            "this kernel concatenates and does nothing else",
        )),
    }
}

/// Whether an input must be requantized.
fn differs(input: &TensorSpec<'_>, output: &TensorSpec<'_>) -> bool {
    (input.dtype, input.qparams) != (output.dtype, output.qparams)
}

fn plan(spec: &NodeSpec<'_>) -> Result<Rows, Refusal> {
    let axis = axis(spec)?;
    let output = &spec.output;
    stored("output", output)?;
    units::same_shape(output, output)?;
    let unfit = Refusal::Shape("the inputs do not make the output along that axis");
    let (Some((before, [size, behind @ ..])), 1..=INPUTS) =
        (output.shape.split_at_checked(axis), spec.inputs.len())
    else {
        return Err(unfit);
    };
    let product = |shape: &[usize]| shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
    let (Some(rows), Some(inner)) = (product(before), product(behind)) else {
        return Err(Refusal::Shape("too many elements"));
    };
    let mut plan = Rows {
        rows: word(rows)?,
        columns: [0; INPUTS],
        tables: 0,
    };
    let mut sum = 0usize;
    for (input, columns) in spec.inputs.iter().zip(&mut plan.columns) {
        stored("input", input)?;
        let Some((outer, [own, rest @ ..])) = input.shape.split_at_checked(axis) else {
            return Err(unfit);
        };
        if outer != before || rest != behind {
            return Err(unfit);
        }
        sum = sum.saturating_add(*own);
        *columns = own
            .checked_mul(inner)
            .ok_or(Refusal::Shape("too many elements"))
            .and_then(word)?;
        plan.tables += usize::from(differs(input, output));
    }
    if sum == *size { Ok(plan) } else { Err(unfit) }
}

/// Bytes of the section that describes the inputs, and of the blob.
fn lengths(inputs: usize, tables: usize) -> [usize; 2] {
    let inputs = align(4 * inputs);
    [inputs, HEADER + inputs + tables * size_of::<lut::Table>()]
}

fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    let plan = plan(spec)?;
    let [_, blob] = lengths(spec.inputs.len(), plan.tables);
    Ok(Sizes { blob, scratch: 0 })
}

/// Words: rows, inputs, then two words with a bit for each input that has a table. Section of the inputs'
/// columns; the tables.
fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let plan = plan(spec)?;
    let [section, len] = lengths(spec.inputs.len(), plan.tables);
    units::blob_length(blob, len)?;
    let (header, rest) = blob.split_at_mut(HEADER);
    let (columns, tables) = rest.split_at_mut(section);
    columns.fill(0);
    for (to, word) in columns.as_chunks_mut().0.iter_mut().zip(plan.columns) {
        *to = word.to_le_bytes();
    }
    let mut has_table = 0u64;
    let mut tables = tables.as_chunks_mut().0.iter_mut();
    for (at, input) in spec.inputs.iter().enumerate() {
        if differs(input, &spec.output) {
            has_table |= 1 << at;
            if let Some(to) = tables.next() {
                *to = requantize::table(input, &spec.output)?;
            }
        }
    }
    let mut words = [0; 15];
    words[..4].copy_from_slice(&[
        plan.rows,
        word(spec.inputs.len())?,
        has_table as u32,
        (has_table >> 32) as u32,
    ]);
    TAG.write(header, &words);
    Ok(())
}

/// One input as it is in a blob.
#[derive(Clone, Copy, Default)]
struct Input<'b> {
    columns: usize,
    table: Option<&'b lut::Table>,
}

/// A blob, read.
struct Packed<'b> {
    rows: usize,
    /// Sum of the inputs' columns.
    columns: usize,
    count: usize,
    inputs: [Input<'b>; INPUTS],
}

impl<'b> Packed<'b> {
    fn read(blob: &'b [u8]) -> Result<Self, BlobError> {
        let damaged = BlobError::Header(NAME);
        let [rows, count, low, high, ..] = TAG.read(blob)?;
        let count = count as usize;
        let has_table = u64::from(low) | u64::from(high) << 32;
        if !(1..=INPUTS).contains(&count) || has_table.checked_shr(count as u32).unwrap_or(0) != 0 {
            return Err(damaged);
        }
        let [section, len] = lengths(count, has_table.count_ones() as usize);
        exact("the blob", blob.len(), len)?;
        let (columns, tables) = blob
            .get(HEADER..)
            .and_then(|rest| rest.split_at_checked(section))
            .ok_or(damaged)?;
        let mut packed = Self {
            rows: rows as usize,
            columns: 0,
            count,
            inputs: [Input::default(); INPUTS],
        };
        let mut tables = tables.as_chunks().0.iter();
        let words = columns.as_chunks().0.iter();
        for (at, (input, word)) in packed.inputs[..count].iter_mut().zip(words).enumerate() {
            input.columns = u32::from_le_bytes(*word) as usize;
            packed.columns = packed.columns.saturating_add(input.columns);
            if has_table >> at & 1 != 0 {
                input.table = tables.next();
            }
        }
        // what counts the output counts each input
        match packed.rows.checked_mul(packed.columns) {
            Some(elements) if elements <= u32::MAX as usize => Ok(packed),
            _ => Err(damaged),
        }
    }

    fn inputs(&self) -> &[Input<'b>] {
        self.inputs.get(..self.count).unwrap_or_default()
    }

    fn split(&self, mut inputs: impl ExactSizeIterator<Item = usize>) -> Result<Split, BlobError> {
        exact("the list of inputs", inputs.len(), self.count)?;
        for input in self.inputs() {
            let found = inputs.next().unwrap_or(0);
            exact("an input", found, self.rows * input.columns)?;
        }
        Ok(units::split(self.rows * self.columns, 1, 1 << 17))
    }

    /// Writes the output from its element `start` on.
    fn write(&self, start: usize, inputs: &[&[u8]], output: &mut [u8], isa: Isa) {
        if self.columns == 0 {
            return;
        }
        let (mut row, mut x) = (start / self.columns, start % self.columns);
        let mut rest = output;
        while !rest.is_empty() {
            let mut begin = 0;
            for (part, input) in self.inputs().iter().zip(inputs) {
                let end = begin + part.columns;
                if x < end {
                    let len = (end - x).min(rest.len());
                    let from = row * part.columns + (x - begin);
                    let (to, behind) = rest.split_at_mut(len);
                    let from = input.get(from..from + len).unwrap_or_default();
                    match part.table {
                        None if from.len() == to.len() => to.copy_from_slice(from),
                        None => {}
                        Some(table) if len >= LONG => lut::apply(table, from, to, isa),
                        Some(table) => lut::apply(table, from, to, Isa::SCALAR),
                    }
                    x += len;
                    rest = behind;
                    if rest.is_empty() {
                        return;
                    }
                }
                begin = end;
            }
            row += 1;
            x = 0;
        }
    }
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    Packed::read(blob)?.split(inputs.iter().copied())
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    let packed = Packed::read(call.blob)?;
    let split = packed.split(call.inputs.iter().map(|input| input.len()))?;
    let part = units::part(&split, &call.units, call.output.len())?;
    packed.write(part.start, call.inputs, call.output, call.isa);
    Ok(())
}

fn variant(blob: &[u8], isa: Isa) -> &'static str {
    let is_copy = Packed::read(blob)
        .is_ok_and(|packed| packed.inputs().iter().all(|input| input.table.is_none()));
    if is_copy { "copy" } else { lut::variant(isa) }
}
