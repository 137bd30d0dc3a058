//! Recurrent layers and cells: each gate is a dynamic linear layer over the input plus one over the hidden
//! state.
//!
//! The blob's words: cell, `T`, `B`, `I`, `H`, layers, flags (bit 0: both directions, bit 1: batch first,
//! bit 2: initial states given, bit 3: one step). Then a table of `u64` lengths, and so many blobs of the
//! linear kernel, each on a boundary: for every layer and direction the one of the input and the one of
//! the hidden state.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod layout;
#[cfg(target_arch = "aarch64")]
mod neon;
mod reference;

use qconfig_core::DType::{float16, float32};
use qconfig_core::kernel::{
    Activation, BlobError, Call, Kernel, NodeOp, NodeSpec, RecurrentCell, Refusal, Signature,
    Sizes, Split, TensorSpec, WeightData, WeightSpec,
};
use qconfig_core::{Isa, KernelFamily};

use self::layout::{Packed, Shape};
use crate::blob::{self, HEADER, Tag};
use crate::q8_linear_dynamic::{SIGNATURE, floats};
use crate::units;
use crate::{F16LinearDynamic, F32Linear, Q8LinearDynamic, fbgemm};

/// What the gates of a recurrent kernel are made of.
#[derive(Clone, Copy)]
pub(crate) struct Family {
    pub(crate) tag: Tag,
    linear: &'static Kernel,
}

const Q8: Family = Family {
    tag: Tag {
        word: *b"QRE1",
        kernel: "q8_recurrent_dynamic",
    },
    linear: Q8LinearDynamic::KERNEL,
};

/// Of [`fbgemm::Q8Recurrent`](crate::fbgemm::Q8Recurrent).
pub(crate) const FBGEMM: Family = Family {
    tag: Tag {
        word: *b"QRF1",
        kernel: "fbgemm_q8_recurrent_dynamic",
    },
    linear: fbgemm::Q8LinearDynamic::KERNEL,
};

const F16: Family = Family {
    tag: Tag {
        word: *b"HRE1",
        kernel: "f16_recurrent_dynamic",
    },
    linear: F16LinearDynamic::KERNEL,
};

const F32: Family = Family {
    tag: Tag {
        word: *b"FRE1",
        kernel: "f32_recurrent",
    },
    linear: F32Linear::KERNEL,
};

/// LSTM, GRU and plain recurrent layers and cells ([`NodeOp::Recurrent`]), `float32` in and out, `qint8`
/// weights, `float32` biases.
///
/// The gates of the input are one [`Q8LinearDynamic`] over all time steps of a layer and direction, with
/// one scale and zero point; those of the hidden state one for each step. Then, each operation rounded to
/// `f32`, with `i` the gates of the input and `h` those of the hidden state, as ATen's `RNN.cpp`:
///
/// - LSTM: `c' = sigmoid(h1 + i1) c + sigmoid(h0 + i0) tanh(h2 + i2)`, `h' = sigmoid(h3 + i3) tanh(c')`;
/// - GRU: `n = tanh(i2 + h2 sigmoid(h0 + i0))`, `h' = (h - n) sigmoid(h1 + i1) + n`;
/// - plain: `h' = tanh(h0 + i0)`, or `max(h0 + i0, 0)`.
///
/// `sigmoid` and `tanh` are polynomials, at most 2.5 units in the last place from the real value and the
/// same bits on every instruction set.
#[derive(Clone, Copy, Debug)]
pub struct Q8Recurrent;

impl KernelFamily for Q8Recurrent {
    const KERNEL: &'static Kernel = &Kernel {
        name: Q8.tag.kernel,
        signature: SIGNATURE,
        sizes: |node| sizes(Q8, node),
        pack: |node, blob| pack(Q8, node, blob),
        split: |blob, inputs| split(Q8, blob, inputs),
        run: |call| run(Q8, call),
        variant: |blob, isa| (Q8.linear.variant)(blob, isa),
    };
}

/// [`Q8Recurrent`] with `float16` weights: the gates are [`F16LinearDynamic`]s.
#[derive(Clone, Copy, Debug)]
pub struct F16Recurrent;

impl KernelFamily for F16Recurrent {
    const KERNEL: &'static Kernel = &Kernel {
        name: F16.tag.kernel,
        signature: Signature {
            input: &[float16],
            output: &[float32],
            weight: &[float16],
            bias: &[float32],
            is_dynamic: true,
            weight_range: None,
            scale_min: None,
        },
        sizes: |node| sizes(F16, node),
        pack: |node, blob| pack(F16, node, blob),
        split: |blob, inputs| Packed::read(F16, blob)?.split(inputs),
        run: |call| run(F16, call),
        variant: |blob, isa| (F16.linear.variant)(blob, isa),
    };
}

/// [`Q8Recurrent`] with `float32` weights: the gates are [`F32Linear`]s.
#[derive(Clone, Copy, Debug)]
pub struct F32Recurrent;

impl KernelFamily for F32Recurrent {
    const KERNEL: &'static Kernel = &Kernel {
        name: F32.tag.kernel,
        signature: Signature {
            weight: &[float32],
            bias: &[float32],
            ..Signature::activations(&[float32], &[float32])
        },
        sizes: |node| sizes(F32, node),
        pack: |node, blob| pack(F32, node, blob),
        split: |blob, inputs| Packed::read(F32, blob)?.split(inputs),
        run: |call| run(F32, call),
        variant: |blob, isa| (F32.linear.variant)(blob, isa),
    };
}

/// The shapes of a node, and what is wrong with them.
fn shape(node: &NodeSpec<'_>) -> Result<Shape, Refusal> {
    let NodeOp::Recurrent {
        cell,
        layers,
        bidirectional,
        batch_first,
    } = node.op
    else {
        return Err(Refusal::Operator(
            "this kernel computes recurrent layers only",
        ));
    };
    if node.activation != Activation::None {
        return Err(Refusal::Operator(
            "nothing is fused behind a recurrent layer",
        ));
    }
    floats(node)?;
    let states_expected = cell.states();
    let Some((input, states)) = node.inputs.split_first() else {
        return Err(Refusal::Shape("a recurrent layer has an input"));
    };
    let (one_step, [steps, batch, features]) = match *input.shape {
        [batch, features] => (true, [1, batch, features]),
        [batch, steps, features] if batch_first => (false, [steps, batch, features]),
        [steps, batch, features] => (false, [steps, batch, features]),
        _ => {
            return Err(Refusal::Shape(
                "a recurrent layer takes [T, B, I], a cell [B, I]",
            ));
        }
    };
    let hidden = match node.parameters.get(1).map(|weight| weight.shape) {
        Some(&[_, hidden]) => hidden,
        _ => {
            return Err(Refusal::Shape(
                "a recurrent layer's weights have two dimensions",
            ));
        }
    };
    let shape = Shape {
        cell,
        steps,
        batch,
        features,
        hidden,
        layers,
        bidirectional,
        batch_first,
        has_states: !states.is_empty(),
        one_step,
    }
    .checked()
    .ok_or(Refusal::Shape(
        "a dimension is zero or the node is too large",
    ))?;
    let state = shape.state();
    let fit = |state_spec: &TensorSpec<'_>| {
        state_spec.shape.last() == Some(&hidden) && state_spec.elements() == Some(state)
    };
    if !(states.is_empty() || states.len() == states_expected) || !states.iter().all(fit) {
        return Err(Refusal::Shape(
            "the initial states are [layers x directions, B, H], one for each state of the cell",
        ));
    }
    if node.output.elements() != Some(shape.outputs()) {
        return Err(Refusal::Shape(
            "the output holds the sequence, then the last state of each kind",
        ));
    }
    Ok(shape)
}

/// Calls `visit` with the linear layers of a node, in the order of the blob.
fn products(
    node: &NodeSpec<'_>,
    shape: &Shape,
    mut visit: impl FnMut(&NodeSpec<'_>) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let count = shape.layers * shape.directions();
    let each = match node.parameters.len() {
        n if n == count * 2 => 2,
        n if n == count * 4 => 4,
        _ => {
            return Err(Refusal::Shape(
                "for each layer and direction there are two weights, then two biases or none",
            ));
        }
    };
    for (index, parameters) in node.parameters.chunks_exact(each).enumerate() {
        let (weights, biases) = parameters.split_at(2);
        for (at, weight) in weights.iter().enumerate() {
            let (rows, k) = shape.product(index / shape.directions(), at);
            let bias = match biases.get(at) {
                None => None,
                Some(WeightSpec {
                    data: WeightData::F32(bias),
                    dtype: float32,
                    ..
                }) => Some(*bias),
                Some(WeightSpec { dtype, .. }) => {
                    return Err(Refusal::DType {
                        place: "bias",
                        dtype: *dtype,
                    });
                }
            };
            let float = |shape| TensorSpec {
                dtype: float32,
                shape,
                qparams: None,
            };
            let (from, to) = ([rows, k], [rows, shape.gates()]);
            visit(&NodeSpec {
                weight: Some(*weight),
                bias,
                reduce_range: node.reduce_range,
                ..NodeSpec::new(NodeOp::Linear, &[float(&from)], float(&to))
            })?;
        }
    }
    Ok(())
}

/// As [`Kernel::sizes`].
pub(crate) fn sizes(family: Family, node: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    let shape = shape(node)?;
    let too_large = Refusal::Shape("the node is too large");
    let (mut blob, mut scratch) = (Some(shape.table_end()), 0);
    products(node, &shape, |product| {
        let sizes = (family.linear.sizes)(product)?;
        let start = blob.and_then(|end| end.checked_next_multiple_of(blob::ALIGN));
        blob = start.and_then(|start| start.checked_add(sizes.blob));
        scratch = scratch.max(sizes.scratch);
        Ok(())
    })?;
    let scratch = shape.scratch().checked_add(scratch);
    match (blob, scratch) {
        (Some(blob), Some(scratch)) => Ok(Sizes { blob, scratch }),
        _ => Err(too_large),
    }
}

/// As [`Kernel::pack`].
pub(crate) fn pack(family: Family, node: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let shape = shape(node)?;
    units::blob_length(blob, sizes(family, node)?.blob)?;
    blob.fill(0);
    family.tag.write(blob, &shape.words()?);
    let (mut end, mut cell) = (shape.table_end(), HEADER);
    products(node, &shape, |product| {
        let len = (family.linear.sizes)(product)?.blob;
        let start = blob::align(end);
        end = start + len;
        blob[cell..cell + 8].copy_from_slice(&(len as u64).to_le_bytes());
        cell += 8;
        (family.linear.pack)(product, &mut blob[start..end])
    })
}

/// As [`Kernel::split`].
pub(crate) fn split(family: Family, blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    Packed::read(family, blob)?.split(inputs)
}

/// As [`Kernel::run`].
pub(crate) fn run(family: Family, call: Call<'_>) -> Result<(), BlobError> {
    let packed = Packed::read(family, call.blob)?;
    let mut lengths = [0; 3];
    let count = call.inputs.len().min(lengths.len());
    for (length, input) in lengths.iter_mut().zip(call.inputs) {
        *length = input.len();
    }
    let split = packed.split(&lengths[..count])?;
    units::part(&split, &call.units, call.output.len())?;
    let shape = packed.shape;
    blob::at_least("scratch", call.scratch.len(), shape.scratch())?;
    if call.units.is_empty() {
        return Ok(());
    }
    let (fixed, spare) = call.scratch.split_at_mut(shape.scratch());
    let linear = Linear {
        kernel: family.linear,
        isa: call.isa,
    };
    layers(&packed, linear, call.inputs, call.output, fixed, spare)
}

/// Runs linear kernels.
#[derive(Clone, Copy)]
struct Linear {
    kernel: &'static Kernel,
    isa: Isa,
}

impl Linear {
    fn run(
        self,
        blob: &[u8],
        units: usize,
        from: &[u8],
        to: &mut [u8],
        scratch: &mut [u8],
    ) -> Result<(), BlobError> {
        (self.kernel.run)(Call {
            blob,
            inputs: &[from],
            output: to,
            units: 0..units,
            scratch,
            isa: self.isa,
        })
    }
}

/// All layers, once every length was checked.
fn layers(
    packed: &Packed<'_>,
    linear: Linear,
    inputs: &[&[u8]],
    output: &mut [u8],
    scratch: &mut [u8],
    spare: &mut [u8],
) -> Result<(), BlobError> {
    let shape = &packed.shape;
    let Some((x, initial)) = inputs.split_first() else {
        return Ok(());
    };
    let (input_gates, rest) = scratch.split_at_mut(shape.rows() * shape.gates() * 4);
    let (hidden_gates, rest) = rest.split_at_mut(shape.batch * shape.gates() * 4);
    let (even, rest) = rest.split_at_mut(shape.between() * 4);
    let odd = &mut rest[..shape.between() * 4];
    let (sequence, states) = output.split_at_mut(shape.sequence() * 4);
    if initial.is_empty() {
        states.fill(0);
    }
    for (state, initial) in states
        .chunks_exact_mut(shape.state() * 4)
        .zip(initial.iter())
    {
        state.copy_from_slice(initial);
    }
    let (hidden, cells) = states.split_at_mut(shape.state() * 4);
    let slab = shape.batch * shape.hidden * 4;
    for layer in 0..shape.layers {
        let (from, to) = if layer % 2 == 1 {
            (&*even, &mut *odd)
        } else {
            (&*odd, &mut *even)
        };
        let from = if layer == 0 { x } else { from };
        let to = if layer + 1 == shape.layers {
            &mut *sequence
        } else {
            to
        };
        for direction in 0..shape.directions() {
            let index = layer * shape.directions() + direction;
            let [of_input, of_hidden] = packed.products(linear.kernel, index)?;
            linear.run(of_input.blob, of_input.units, from, input_gates, spare)?;
            let hidden = &mut hidden[index * slab..][..slab];
            let mut none = [];
            let cells = match cells.get_mut(index * slab..(index + 1) * slab) {
                Some(cells) => cells,
                None => &mut none[..],
            };
            for step in 0..shape.steps {
                let step = if direction == 1 {
                    shape.steps - 1 - step
                } else {
                    step
                };
                linear.run(of_hidden.blob, of_hidden.units, hidden, hidden_gates, spare)?;
                let gates = Gates {
                    cell: shape.cell,
                    input: input_gates,
                    hidden: hidden_gates,
                    isa: linear.isa,
                };
                for batch in 0..shape.batch {
                    let row = shape.row(step, batch);
                    let h = gates.step(shape, row, batch, hidden, cells);
                    let width = shape.width() * 4;
                    if let Some(y) = to.get_mut(row * width..(row + 1) * width) {
                        y[direction * h.len()..][..h.len()].copy_from_slice(h);
                    }
                }
            }
        }
    }
    Ok(())
}

/// The gates of one time step.
struct Gates<'a> {
    cell: RecurrentCell,
    input: &'a [u8],
    hidden: &'a [u8],
    isa: Isa,
}

impl Gates<'_> {
    /// Takes one row of the states a step on; gives the hidden one.
    fn step<'s>(
        &self,
        shape: &Shape,
        row: usize,
        batch: usize,
        hidden: &'s mut [u8],
        cells: &mut [u8],
    ) -> &'s [u8] {
        let (gates, len) = (shape.gates() * 4, shape.hidden * 4);
        let input = &self.input[row * gates..][..gates];
        let from_hidden = &self.hidden[batch * gates..][..gates];
        let h = &mut hidden[batch * len..][..len];
        let c = cells.get_mut(batch * len..(batch + 1) * len);
        let c = c.unwrap_or_default();
        match self.isa.level() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an `Isa` of such a level proves that the CPU has AVX2 and FMA.
            level if level.has_avx2() => unsafe {
                avx2::step(self.cell, input, from_hidden, h, c);
            },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: an `Isa` of such a level proves that the CPU has NEON.
            level if level.has_neon() => unsafe {
                neon::step(self.cell, input, from_hidden, h, c);
            },
            _ => reference::step(self.cell, input, from_hidden, h, c),
        }
        h
    }
}
