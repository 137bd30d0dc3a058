//! Elements in another order: permute, transpose, narrow, repeat, repeat_interleave, pixel shuffle and
//! unshuffle, each as a view through strides that is written out.

mod reference;

use qconfig_core::kernel::{
    Activation, BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Signature, Sizes,
    Split, Strides,
};
use qconfig_core::{DType, Isa};

use crate::blob::{ALIGN, HEADER, Tag, exact};
use crate::units::{self, word};

/// `out[i0, i1, ..] = in[offset + i0 * steps[0] + i1 * steps[1] + ..]`, of the same dtype and quantization
/// parameters; nothing is computed, so every instruction set shares the code.
///
/// A plan calls it only where the view is not one run of the input's bytes.
#[derive(Clone, Copy, Debug)]
pub struct Rearrange;

const NAME: &str = "rearrange";
const TAG: Tag = Tag {
    word: *b"rea1",
    kernel: NAME,
};
const DTYPES: &[DType] = &[DType::quint8, DType::qint8, DType::float32, DType::float16];
/// Bytes of the section behind the header: sizes, then steps.
const SECTION: usize = Strides::RANK * 8;

impl KernelFamily for Rearrange {
    const KERNEL: &'static Kernel = &Kernel {
        name: NAME,
        signature: Signature::activations(DTYPES, DTYPES),
        sizes,
        pack,
        split,
        run,
        variant,
    };
}

/// The view, and the elements on both sides.
#[derive(Clone, Copy, Debug)]
struct View {
    strides: Strides,
    /// Bytes of an element: 1, 2 or 4.
    element: usize,
    input: usize,
    output: usize,
}

impl View {
    /// `None` where an element would be read behind the input, or a size overflows.
    fn new(strides: Strides, element: usize, input: usize) -> Option<Self> {
        let output = strides.elements()?;
        output.checked_mul(element)?;
        input.checked_mul(element)?;
        let reachable = output == 0 || strides.last()? < input;
        (reachable && matches!(element, 1 | 2 | 4)).then_some(Self {
            strides,
            element,
            input,
            output,
        })
    }

    fn of(spec: &NodeSpec<'_>) -> Result<Self, Refusal> {
        let NodeOp::Rearrange(strides) = spec.op else {
            return Err(Refusal::Operator(
                "this kernel puts elements in another order and does nothing else",
            ));
        };
        let [input] = units::arity(spec)?;
        if spec.activation != Activation::None
            || input.dtype != spec.output.dtype
            || input.qparams != spec.output.qparams
        {
            return Err(Refusal::Operator(
                "another order keeps dtype and quantization parameters",
            ));
        }
        if !DTYPES.contains(&input.dtype) {
            let (place, dtype) = ("input", input.dtype);
            return Err(Refusal::DType { place, dtype });
        }
        let unfit = Refusal::Shape("the view does not fit the shapes of input and output");
        let elements = input.elements().ok_or(unfit.clone())?;
        let view = Self::new(strides.merged(), input.dtype.bits() as usize / 8, elements)
            .ok_or(unfit.clone())?;
        if spec.output.elements() != Some(view.output) {
            return Err(unfit);
        }
        Ok(view)
    }

    fn read(blob: &[u8]) -> Result<Self, BlobError> {
        exact("the blob", blob.len(), HEADER + SECTION)?;
        let [element, input, offset, ..] = TAG.read(blob)?;
        let mut numbers = [0; 2 * Strides::RANK];
        for (number, cell) in numbers.iter_mut().zip(blob[HEADER..].as_chunks().0) {
            *number = u32::from_le_bytes(*cell) as usize;
        }
        let mut strides = Strides {
            offset: offset as usize,
            ..Strides::IDENTITY
        };
        let (sizes, steps) = numbers.split_at(Strides::RANK);
        strides.sizes.copy_from_slice(sizes);
        strides.steps.copy_from_slice(steps);
        Self::new(strides, element as usize, input as usize).ok_or(BlobError::Header(NAME))
    }

    fn split(&self, inputs: &[usize]) -> Result<Split, BlobError> {
        let [input] = units::lengths(inputs)?;
        exact("the input", input, self.input * self.element)?;
        // memory bandwidth: another thread pays from some hundred kilobytes on
        Ok(units::split(self.output, self.element, 1 << 18))
    }
}

fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    let view = View::of(spec)?;
    word(view.input)?;
    word(view.output)?;
    Ok(Sizes {
        blob: HEADER + SECTION,
        scratch: 0,
    })
}

/// Words: bytes of an element, elements of the input, offset; behind them sizes and steps.
fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    const { assert!(SECTION.is_multiple_of(ALIGN)) };
    let view = View::of(spec)?;
    units::blob_length(blob, HEADER + SECTION)?;
    let mut words = [0; 15];
    words[..3].copy_from_slice(&[
        word(view.element)?,
        word(view.input)?,
        word(view.strides.offset)?,
    ]);
    let (header, section) = blob.split_at_mut(HEADER);
    TAG.write(header, &words);
    let numbers = view.strides.sizes.iter().chain(&view.strides.steps);
    for (cell, number) in section.as_chunks_mut().0.iter_mut().zip(numbers) {
        *cell = word(*number)?.to_le_bytes();
    }
    Ok(())
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    View::read(blob)?.split(inputs)
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    let view = View::read(call.blob)?;
    let input = units::input(call.inputs, 0)?;
    let split = view.split(&[input.len()])?;
    let part = units::part(&split, &call.units, call.output.len())?;
    let first = part.start / view.element;
    match view.element {
        1 => reference::copy::<1>(&view.strides, input, first, call.output),
        2 => reference::copy::<2>(&view.strides, input, first, call.output),
        _ => reference::copy::<4>(&view.strides, input, first, call.output),
    }
    Ok(())
}

fn variant(blob: &[u8], _: Isa) -> &'static str {
    match View::read(blob) {
        Ok(view) if view.strides.steps[Strides::RANK - 1] == 1 => "runs",
        _ => "gather",
    }
}
