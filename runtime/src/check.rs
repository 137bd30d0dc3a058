//! The rules that every plan keeps, built here or read from bytes.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use qconfig_core::DType;
use qconfig_core::kernel::{BlobError, QParams};

use crate::aligned::ALIGN;
use crate::place::Place;
use crate::plan::{MAX_INPUTS, Step, Tensor, TensorId, step_place, tensor_place};

/// A rule that a plan breaks.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// A tensor number that no tensor has.
    #[error("{place} names tensor {tensor}, but there are {tensors}")]
    UnknownTensor {
        /// Who names it.
        place: Place,
        /// The number.
        tensor: usize,
        /// How many there are.
        tensors: usize,
    },
    /// More bytes than an address can count.
    #[error("{0} is larger than memory")]
    TooLarge(Place),
    /// A quantized tensor needs a scale and a zero point, others have none.
    #[error("{place} is {dtype} and must have {}", if dtype.is_quantized() { "a scale and a zero point" } else { "no scale and no zero point" })]
    QParams {
        /// The tensor.
        place: Place,
        /// Its dtype.
        dtype: DType,
    },
    /// A scale that is zero, negative, infinite or NaN.
    #[error("{0}: the scale must be positive and finite")]
    Scale(Place),
    /// A zero point outside its dtype.
    #[error("{place}: zero point {zero_point} is outside {dtype}")]
    ZeroPoint {
        /// The tensor.
        place: Place,
        /// The zero point.
        zero_point: i32,
        /// The dtype.
        dtype: DType,
    },
    /// A tensor that shares the memory of another differs from it in more than its shape, or does not lie
    /// inside it.
    #[error("{place} shares the memory of {other}, but they differ in {what}")]
    Alias {
        /// The tensor.
        place: Place,
        /// Whose memory it is.
        other: Place,
        /// `dtype`, `length`, ...
        what: &'static str,
    },
    /// A step with too many inputs.
    #[error("{place} has {found} inputs, at most {} are possible", MAX_INPUTS)]
    Inputs {
        /// The step.
        place: Place,
        /// How many it has.
        found: usize,
    },
    /// A tensor that two steps write, or a step and the caller.
    #[error("{place} writes {tensor}, which already has a value")]
    TwoProducers {
        /// The second one to write.
        place: Place,
        /// What it writes.
        tensor: Place,
    },
    /// A step reads what nothing has written yet.
    #[error("{place} reads {tensor} before anything has written it")]
    ReadBeforeWritten {
        /// The step, or the list of outputs.
        place: Place,
        /// What it reads.
        tensor: Place,
    },
    /// Nothing writes a tensor.
    #[error("nothing writes {0}: make it an input, a step's output or another shape of a tensor")]
    NeverWritten(Place),
    /// The kernel's packed data does not fit the tensors it runs on.
    #[error("{place}: {error}")]
    Blob {
        /// The step.
        place: Place,
        /// What the kernel says.
        error: BlobError,
    },
    /// The kernel's packed data computes another number of bytes than the output has.
    #[error("{place} writes {written} bytes, its output has {output}")]
    Output {
        /// The step.
        place: Place,
        /// Bytes it writes.
        written: usize,
        /// Bytes of its output tensor.
        output: usize,
    },
    /// A tensor off its 64-byte boundary, or beyond the end of memory.
    #[error("{0} has no possible place in the arena")]
    Offset(Place),
    /// Two tensors that are needed at the same time lie on each other.
    #[error("{place} would overwrite another tensor when it writes {tensor}")]
    Overlap {
        /// The step or the input.
        place: Place,
        /// What it writes.
        tensor: Place,
    },
}

/// Bytes of a tensor, with its quantization parameters held against its dtype.
pub(crate) fn tensor_bytes(
    place: impl Fn() -> Place,
    dtype: DType,
    shape: &[usize],
    qparams: Option<QParams>,
) -> Result<usize, Flaw> {
    match qparams {
        None if dtype.is_quantized() => {
            return Err(Flaw::QParams {
                place: place(),
                dtype,
            });
        }
        Some(_) if !dtype.is_quantized() => {
            return Err(Flaw::QParams {
                place: place(),
                dtype,
            });
        }
        None => {}
        Some(QParams { scale, zero_point }) => {
            if !(scale > 0.0 && scale.is_finite()) {
                return Err(Flaw::Scale(place()));
            }
            let (low, high) = dtype.quant_range().unwrap_or_default();
            if !(low..=high).contains(&i64::from(zero_point)) {
                return Err(Flaw::ZeroPoint {
                    place: place(),
                    zero_point,
                    dtype,
                });
            }
        }
    }
    let spec = qconfig_core::kernel::TensorSpec {
        dtype,
        shape,
        qparams,
    };
    match spec.bytes() {
        // what a slice can hold, with room to round up to a boundary
        Some(bytes) if bytes <= isize::MAX as usize - ALIGN => Ok(bytes),
        _ => Err(Flaw::TooLarge(place())),
    }
}

/// When a tensor's memory holds something: time 0 is before the first step, step `i` runs at time
/// `i + 1`; both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Life {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Life {
    pub(crate) fn meets(&self, other: &Life) -> bool {
        self.start <= other.end && other.start <= self.end
    }
}

/// Holds tensors, order and packed data against the rules; gives each memory's life (by the number
/// of the tensor that owns it) and sets each step's split.
pub(crate) fn check(
    tensors: &[Tensor<'_>],
    inputs: &[TensorId],
    outputs: &[TensorId],
    steps: &mut [Step<'_>],
    blobs: &[u8],
) -> Result<Vec<Option<Life>>, Flaw> {
    for index in 0..tensors.len() {
        check_alias(tensors, index)?;
    }
    let mut lives: Vec<Option<Life>> = vec![None; tensors.len()];

    for (index, id) in inputs.iter().enumerate() {
        let place = || Place::Input(index);
        // a session may run again on the same input, so it lasts
        let life = Life {
            start: 0,
            end: usize::MAX,
        };
        write(tensors, &mut lives, *id, life, place)?;
    }
    for index in 0..steps.len() {
        let lengths = check_inputs(tensors, &mut lives, steps, index)?;
        let place = || step_place(steps, index);
        let Some(step) = steps.get(index) else { break };
        let time = index + 1;
        let life = Life {
            start: time,
            end: time,
        };
        write(tensors, &mut lives, step.output, life, place)?;

        let blob = blobs.get(step.blob.clone()).unwrap_or_default();
        let split = (step.kernel.split)(blob, &lengths).map_err(|error| Flaw::Blob {
            place: place(),
            error,
        })?;
        let output = tensors.get(step.output.index()).map_or(0, Tensor::bytes);
        let written = split.bytes(&(0..split.units)).end;
        if written != output || split.output_bytes != output {
            return Err(Flaw::Output {
                place: place(),
                written,
                output,
            });
        }
        if let Some(step) = steps.get_mut(index) {
            step.split = split;
        }
    }
    for (index, id) in outputs.iter().enumerate() {
        let life = read(tensors, &mut lives, *id, || Place::Output(index))?;
        life.end = usize::MAX;
    }
    for (index, tensor) in tensors.iter().enumerate() {
        if lives
            .get(tensor.storage.index())
            .is_none_or(Option::is_none)
        {
            return Err(Flaw::NeverWritten(tensor_place(tensors, index)));
        }
    }
    Ok(lives)
}

/// What keeps `tensor` from being a part of `owner`, `offset` bytes into it; `None` stands for an offset
/// that is not inside.
pub(crate) fn unfit(
    owner: &Tensor<'_>,
    tensor: &Tensor<'_>,
    offset: Option<usize>,
) -> Option<&'static str> {
    let element = (tensor.dtype.bits() as usize / 8).max(1);
    let end = offset.and_then(|offset| offset.checked_add(tensor.bytes));
    if owner.dtype != tensor.dtype {
        Some("dtype")
    } else if tensor.bytes > owner.bytes {
        Some("length")
    } else if owner.qparams != tensor.qparams {
        Some("scale or zero point")
    } else if end.is_none_or(|end| end > owner.bytes)
        || offset.is_none_or(|offset| !offset.is_multiple_of(element))
    {
        Some("offset")
    } else {
        None
    }
}

/// What shares memory lies inside it; and whose memory it is, owns it.
fn check_alias(tensors: &[Tensor<'_>], index: usize) -> Result<(), Flaw> {
    let Some(tensor) = tensors.get(index) else {
        return Ok(());
    };
    let place = || tensor_place(tensors, index);
    let at = tensor.storage.index();
    let Some(owner) = tensors.get(at) else {
        return Err(Flaw::UnknownTensor {
            place: place(),
            tensor: at,
            tensors: tensors.len(),
        });
    };
    let what = if owner.storage != tensor.storage {
        "whose it is"
    } else if let Some(what) = unfit(owner, tensor, tensor.offset.checked_sub(owner.offset)) {
        what
    } else {
        return Ok(());
    };
    Err(Flaw::Alias {
        place: place(),
        other: tensor_place(tensors, at),
        what,
    })
}

/// Marks a tensor's memory as written.
fn write(
    tensors: &[Tensor<'_>],
    lives: &mut [Option<Life>],
    id: TensorId,
    life: Life,
    place: impl Fn() -> Place,
) -> Result<(), Flaw> {
    let at = id.index();
    let Some((slot, tensor)) = lives.get_mut(at).zip(tensors.get(at)) else {
        return Err(Flaw::UnknownTensor {
            place: place(),
            tensor: at,
            tensors: tensors.len(),
        });
    };
    if slot.is_some() || tensor.storage != id {
        return Err(Flaw::TwoProducers {
            place: place(),
            tensor: tensor_place(tensors, at),
        });
    }
    *slot = Some(life);
    Ok(())
}

/// The life of what is read, which must have begun.
fn read<'l>(
    tensors: &[Tensor<'_>],
    lives: &'l mut [Option<Life>],
    id: TensorId,
    place: impl Fn() -> Place,
) -> Result<&'l mut Life, Flaw> {
    let at = id.index();
    let Some(tensor) = tensors.get(at) else {
        return Err(Flaw::UnknownTensor {
            place: place(),
            tensor: at,
            tensors: tensors.len(),
        });
    };
    let life = lives.get_mut(tensor.storage.index());
    life.and_then(Option::as_mut)
        .ok_or_else(|| Flaw::ReadBeforeWritten {
            place: place(),
            tensor: tensor_place(tensors, at),
        })
}

/// The byte lengths of a step's inputs, all of them written before.
fn check_inputs(
    tensors: &[Tensor<'_>],
    lives: &mut [Option<Life>],
    steps: &[Step<'_>],
    index: usize,
) -> Result<Vec<usize>, Flaw> {
    let place = || step_place(steps, index);
    let inputs = steps.get(index).map_or(&[][..], |step| &step.inputs);
    if inputs.len() > MAX_INPUTS {
        return Err(Flaw::Inputs {
            place: place(),
            found: inputs.len(),
        });
    }
    let mut lengths = Vec::with_capacity(inputs.len());
    for id in inputs {
        let life = read(tensors, lives, *id, place)?;
        life.end = life.end.max(index + 1);
        lengths.push(tensors.get(id.index()).map_or(0, Tensor::bytes));
    }
    Ok(lengths)
}

/// Walks through time and holds the placement against it: what is needed at the same time does not
/// overlap. Gives the bytes of the arena.
pub(crate) fn check_arena(
    tensors: &[Tensor<'_>],
    lives: &[Option<Life>],
    inputs: &[TensorId],
    steps: &[Step<'_>],
) -> Result<usize, Flaw> {
    let mut arena = 0;
    for (index, tensor) in tensors.iter().enumerate() {
        if tensor.storage.index() != index {
            // inside its owner
            continue;
        }
        let end = tensor.offset.checked_add(tensor.bytes);
        let possible = tensor.offset.is_multiple_of(ALIGN)
            && (tensor.bytes > 0 || tensor.offset == 0)
            && end.is_some_and(|end| end <= isize::MAX as usize - ALIGN);
        if !possible {
            return Err(Flaw::Offset(tensor_place(tensors, index)));
        }
        arena = arena.max(end.unwrap_or(0));
    }

    // what is alive now: start -> end
    let mut alive: BTreeMap<usize, usize> = BTreeMap::new();
    let add = |alive: &mut BTreeMap<usize, usize>, id: TensorId, place: &dyn Fn() -> Place| {
        let Some(tensor) = tensors.get(id.index()).filter(|tensor| tensor.bytes > 0) else {
            return Ok(());
        };
        let range = tensor.range();
        let before = alive.range(..range.end).next_back();
        if before.is_some_and(|(_, end)| *end > range.start) {
            return Err(Flaw::Overlap {
                place: place(),
                tensor: tensor_place(tensors, id.index()),
            });
        }
        alive.insert(range.start, range.end);
        Ok(())
    };
    for (index, id) in inputs.iter().enumerate() {
        add(&mut alive, *id, &|| Place::Input(index))?;
    }
    for (index, step) in steps.iter().enumerate() {
        add(&mut alive, step.output, &|| step_place(steps, index))?;
        for id in step.inputs.iter().chain([&step.output]) {
            let owner = tensors.get(id.index()).map(|tensor| tensor.storage.index());
            let Some(owner) = owner else { continue };
            let life = lives.get(owner).copied().flatten();
            if let Some(tensor) = tensors.get(owner)
                && tensor.bytes > 0
                && life.is_some_and(|life| life.end == index + 1)
            {
                alive.remove(&tensor.offset);
            }
        }
    }
    // padded, so that a kernel's last vector stays inside
    Ok(arena.next_multiple_of(ALIGN))
}
