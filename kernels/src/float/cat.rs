//! Concatenation of `float32` tensors.
//!
//! Seen from the axis, every tensor is a matrix: the axes before make its rows, the rest its columns. A row
//! of the output is the inputs' rows, one after the other.

use qconfig_core::kernel::{
    Activation, BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Signature, Sizes,
    Split,
};
use qconfig_core::{DType, Isa};

use crate::blob::{HEADER, Tag, align, exact};
use crate::q8_linear_dynamic::floats;
use crate::units::{self, word};

/// Concatenates up to 64 `float32` tensors along any axis of the storage order.
#[derive(Clone, Copy, Debug)]
pub struct F32Cat;

const NAME: &str = "f32_cat";
const TAG: Tag = Tag {
    word: *b"fca1",
    kernel: NAME,
};
/// Inputs at most.
const INPUTS: usize = 64;

impl KernelFamily for F32Cat {
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

/// Rows, and the columns of each input.
struct Header {
    rows: usize,
    count: usize,
    columns: [usize; INPUTS],
}

fn plan(spec: &NodeSpec<'_>) -> Result<Header, Refusal> {
    let axis = match spec.op {
        NodeOp::Cat { axis } if spec.activation == Activation::None => axis,
        _ => {
            return Err(Refusal::Operator(
                "this kernel concatenates and does nothing else",
            ));
        }
    };
    floats(spec)?;
    let unfit = Refusal::Shape("the inputs do not make the output along that axis");
    let (Some((before, [size, behind @ ..])), 1..=INPUTS) =
        (spec.output.shape.split_at_checked(axis), spec.inputs.len())
    else {
        return Err(unfit);
    };
    let product = |shape: &[usize]| shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
    let (Some(rows), Some(inner)) = (product(before), product(behind)) else {
        return Err(Refusal::Shape("too many elements"));
    };
    let mut header = Header {
        rows,
        count: spec.inputs.len(),
        columns: [0; INPUTS],
    };
    let mut sum = 0usize;
    for (input, columns) in spec.inputs.iter().zip(&mut header.columns) {
        let Some((outer, [own, rest @ ..])) = input.shape.split_at_checked(axis) else {
            return Err(unfit);
        };
        if outer != before || rest != behind {
            return Err(unfit);
        }
        sum = sum.saturating_add(*own);
        let elements = own.checked_mul(inner);
        *columns = elements.ok_or(Refusal::Shape("too many elements"))?;
    }
    if sum != *size || header.elements().is_none() {
        return Err(unfit);
    }
    Ok(header)
}

fn blob_len(inputs: usize) -> usize {
    HEADER + align(4 * inputs)
}

fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    Ok(Sizes {
        blob: blob_len(plan(spec)?.count),
        scratch: 0,
    })
}

/// Words: rows, inputs. Section: the columns of each input.
fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let header = plan(spec)?;
    units::blob_length(blob, blob_len(header.count))?;
    blob.fill(0);
    let mut words = [0; 15];
    words[..2].copy_from_slice(&[word(header.rows)?, word(header.count)?]);
    let (first, section) = blob.split_at_mut(HEADER);
    TAG.write(first, &words);
    let columns = header.columns.iter().take(header.count);
    for (to, columns) in section.as_chunks_mut().0.iter_mut().zip(columns) {
        *to = word(*columns)?.to_le_bytes();
    }
    Ok(())
}

impl Header {
    fn read(blob: &[u8]) -> Result<Self, BlobError> {
        let damaged = BlobError::Header(NAME);
        let [rows, count, ..] = TAG.read(blob)?;
        let count = count as usize;
        if !(1..=INPUTS).contains(&count) {
            return Err(damaged);
        }
        exact("the blob", blob.len(), blob_len(count))?;
        let mut header = Self {
            rows: rows as usize,
            count,
            columns: [0; INPUTS],
        };
        let words = blob[HEADER..].as_chunks().0.iter();
        for (columns, word) in header.columns.iter_mut().zip(words).take(count) {
            *columns = u32::from_le_bytes(*word) as usize;
        }
        header.elements().map(|_| header).ok_or(damaged)
    }

    /// Columns of the output.
    fn columns(&self) -> Option<usize> {
        self.columns
            .iter()
            .try_fold(0usize, |n, columns| n.checked_add(*columns))
    }

    /// Elements of the output; `None` where their bytes cannot be counted.
    fn elements(&self) -> Option<usize> {
        let elements = self.rows.checked_mul(self.columns()?)?;
        elements.checked_mul(4).map(|_| elements)
    }

    fn split(&self, mut inputs: impl ExactSizeIterator<Item = usize>) -> Result<Split, BlobError> {
        exact("the list of inputs", inputs.len(), self.count)?;
        for columns in self.columns.iter().take(self.count) {
            let found = inputs.next().unwrap_or(0);
            exact("an input", found, self.rows * columns * 4)?;
        }
        // memory bandwidth: another thread pays from some hundred kilobytes on
        Ok(units::split(self.elements().unwrap_or(0), 4, 1 << 16))
    }
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    Header::read(blob)?.split(inputs.iter().copied())
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    let header = Header::read(call.blob)?;
    let split = header.split(call.inputs.iter().map(|input| input.len()))?;
    let part = units::part(&split, &call.units, call.output.len())?;
    let columns = header.columns().unwrap_or(0);
    if columns == 0 {
        return Ok(());
    }
    let start = part.start / 4;
    let (mut row, mut x) = (start / columns, start % columns);
    let mut rest = call.output;
    while !rest.is_empty() {
        let mut begin = 0;
        for (columns, input) in header.columns.iter().zip(call.inputs) {
            let end = begin + columns;
            if x < end && !rest.is_empty() {
                let len = (end - x).min(rest.len() / 4);
                let from = (row * columns + (x - begin)) * 4;
                let (to, behind) = rest.split_at_mut(len * 4);
                to.copy_from_slice(units::slice(input, from..from + len * 4)?);
                x += len;
                rest = behind;
            }
            begin = end;
        }
        row += 1;
        x = 0;
    }
    Ok(())
}
