//! What to call, on which bytes.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use qconfig_core::kernel::{QParams, Split, TensorSpec};
use qconfig_core::{DType, Isa, Kernel};

use crate::aligned::AlignedBytes;
use crate::place::Place;

/// Most inputs a step may have: a call gathers them in an array on the stack.
pub const MAX_INPUTS: usize = 64;

/// A tensor of one plan: its place in [`Plan::tensors`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TensorId(pub(crate) u32);

impl TensorId {
    /// Its place in [`Plan::tensors`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A model, ready to run: immutable, and the same for any number of sessions.
///
/// Steps are in the order they run in. `'a` is the life of the bytes that a saved plan was read
/// from: its weights and names stay where they are.
#[derive(Debug)]
pub struct Plan<'a> {
    pub(crate) tensors: Vec<Tensor<'a>>,
    pub(crate) inputs: Vec<TensorId>,
    pub(crate) outputs: Vec<TensorId>,
    pub(crate) steps: Vec<Step<'a>>,
    pub(crate) blobs: Blobs<'a>,
    pub(crate) arena_bytes: usize,
}

/// An activation of a plan.
#[derive(Clone, Debug)]
pub struct Tensor<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
    pub(crate) qparams: Option<QParams>,
    /// The tensor whose memory this is: itself, or what it is another shape or a part of.
    pub(crate) storage: TensorId,
    pub(crate) offset: usize,
    pub(crate) bytes: usize,
}

/// One kernel call of a plan.
#[derive(Clone, Debug)]
pub struct Step<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) pattern: Cow<'a, str>,
    pub(crate) dtype_config: Cow<'a, str>,
    pub(crate) kernel: &'static Kernel,
    pub(crate) blob: Range<usize>,
    pub(crate) scratch: usize,
    pub(crate) multiply_adds: u64,
    pub(crate) inputs: Vec<TensorId>,
    pub(crate) output: TensorId,
    pub(crate) split: Split,
}

/// The packed weights of all steps, each on a 64-byte boundary.
pub(crate) enum Blobs<'a> {
    Borrowed(&'a [u8]),
    /// All of `memory` from `start` on.
    Owned {
        memory: AlignedBytes,
        start: usize,
    },
}

impl Blobs<'_> {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Blobs::Borrowed(bytes) => bytes,
            Blobs::Owned { memory, start } => memory.get(*start..).unwrap_or_default(),
        }
    }
}

impl fmt::Debug for Blobs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, len) = match self {
            Blobs::Borrowed(bytes) => ("borrowed", bytes.len()),
            Blobs::Owned { .. } => ("owned", self.as_slice().len()),
        };
        write!(f, "{len} bytes, {kind}")
    }
}

impl<'a> Plan<'a> {
    /// The tensors; a [`TensorId`] counts in them.
    pub fn tensors(&self) -> &[Tensor<'a>] {
        &self.tensors
    }

    /// A tensor, or `None` for the id of another plan.
    pub fn tensor(&self, id: TensorId) -> Option<&Tensor<'a>> {
        self.tensors.get(id.index())
    }

    /// The tensor of that name.
    pub fn tensor_named(&self, name: &str) -> Option<TensorId> {
        let at = self.tensors.iter().position(|tensor| tensor.name == name)?;
        u32::try_from(at).ok().map(TensorId)
    }

    /// What a caller fills before a run.
    pub fn inputs(&self) -> &[TensorId] {
        &self.inputs
    }

    /// What a caller reads after a run.
    pub fn outputs(&self) -> &[TensorId] {
        &self.outputs
    }

    /// The kernel calls, in order.
    pub fn steps(&self) -> &[Step<'a>] {
        &self.steps
    }

    /// What a step's kernel packed: weights, biases, multipliers, geometry.
    pub fn blob(&self, step: &Step<'_>) -> &[u8] {
        let range = step.blob.clone();
        self.blobs.as_slice().get(range).unwrap_or_default()
    }

    /// The variant of a step's kernel that an instruction set gets: `8x16c4__avx2`.
    pub fn variant(&self, step: &Step<'_>, isa: Isa) -> &'static str {
        (step.kernel.variant)(self.blob(step), isa)
    }

    /// Bytes of the arena that holds all tensors while a session runs.
    pub fn arena_bytes(&self) -> usize {
        self.arena_bytes
    }

    /// Scratch bytes that each thread needs: those of the step that needs most.
    pub fn scratch_bytes(&self) -> usize {
        let scratch = self.steps.iter().map(|step| step.scratch);
        scratch.max().unwrap_or(0)
    }

    /// Bytes of all packed weights.
    pub fn blob_bytes(&self) -> usize {
        let lengths = self.steps.iter().map(|step| step.blob.len());
        lengths.fold(0, usize::saturating_add)
    }

    /// Whether the weights are used where the bytes of a saved plan lie.
    pub fn borrows_weights(&self) -> bool {
        matches!(self.blobs, Blobs::Borrowed(_))
    }

    pub(crate) fn place_of_tensor(&self, id: TensorId) -> Place {
        tensor_place(&self.tensors, id.index())
    }
}

/// Names a tensor in a message.
pub(crate) fn tensor_place(tensors: &[Tensor<'_>], index: usize) -> Place {
    let name = tensors.get(index).map(|tensor| tensor.name.as_ref());
    Place::Tensor(index, name.unwrap_or_default().into())
}

/// Names a step in a message.
pub(crate) fn step_place(steps: &[Step<'_>], index: usize) -> Place {
    let name = steps.get(index).map(|step| step.name.as_ref());
    Place::Step(index, name.unwrap_or_default().into())
}

impl Tensor<'_> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its element type; `qint8` is stored with the sign bit flipped.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Dimensions in storage order (channels last).
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Scale and zero point, where the dtype is quantized.
    pub fn qparams(&self) -> Option<QParams> {
        self.qparams
    }

    /// What kernels see of it.
    pub fn spec(&self) -> TensorSpec<'_> {
        TensorSpec {
            dtype: self.dtype,
            shape: &self.shape,
            qparams: self.qparams,
        }
    }

    /// The tensor that it shares its memory with, where it is only another shape or a part of it; else
    /// itself.
    pub fn storage(&self) -> TensorId {
        self.storage
    }

    /// Its bytes in the arena.
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset.saturating_add(self.bytes)
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn into_owned(self) -> Tensor<'static> {
        Tensor {
            name: Cow::Owned(self.name.into_owned()),
            dtype: self.dtype,
            shape: self.shape,
            qparams: self.qparams,
            storage: self.storage,
            offset: self.offset,
            bytes: self.bytes,
        }
    }
}

impl Step<'_> {
    /// The node's name in the model.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The pattern that was matched: `conv2d + relu`.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// The name of the dtype config that applies.
    pub fn dtype_config(&self) -> &str {
        &self.dtype_config
    }

    /// The kernel family.
    pub fn kernel(&self) -> &'static Kernel {
        self.kernel
    }

    /// Bytes of its packed weights.
    pub fn blob_bytes(&self) -> usize {
        self.blob.len()
    }

    /// Scratch bytes a thread needs for it.
    pub fn scratch_bytes(&self) -> usize {
        self.scratch
    }

    /// Multiply-adds that it takes; 0 where the operator is not made of them. A saved plan says it itself:
    /// a number to show, nothing to rely on.
    pub fn multiply_adds(&self) -> u64 {
        self.multiply_adds
    }

    /// What it reads.
    pub fn inputs(&self) -> &[TensorId] {
        &self.inputs
    }

    /// What it writes.
    pub fn output(&self) -> TensorId {
        self.output
    }

    /// How its work can be cut.
    pub fn split(&self) -> Split {
        self.split
    }

    pub(crate) fn into_owned(self) -> Step<'static> {
        Step {
            name: Cow::Owned(self.name.into_owned()),
            pattern: Cow::Owned(self.pattern.into_owned()),
            dtype_config: Cow::Owned(self.dtype_config.into_owned()),
            kernel: self.kernel,
            blob: self.blob,
            scratch: self.scratch,
            multiply_adds: self.multiply_adds,
            inputs: self.inputs,
            output: self.output,
            split: self.split,
        }
    }
}
