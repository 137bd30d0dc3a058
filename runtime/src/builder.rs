//! How a plan is made.

use alloc::borrow::Cow;
use alloc::collections::TryReserveError;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use qconfig_core::kernel::{
    Activation, NodeOp, NodeSpec, QParams, Refusal, Split, TensorSpec, WeightSpec,
};
use qconfig_core::{DType, Kernel};

use crate::aligned::{AlignedBytes, align_up};
use crate::arena;
use crate::check::{self, Flaw};
use crate::place::Place;
use crate::plan::{Blobs, Plan, Step, Tensor, TensorId};

/// An activation to be.
#[derive(Clone, Copy, Debug)]
pub struct TensorInfo<'a> {
    /// Its name, for tables and messages.
    pub name: &'a str,
    /// Its element type.
    pub dtype: DType,
    /// Dimensions in storage order (channels last).
    pub shape: &'a [usize],
    /// Present exactly where `dtype` is quantized.
    pub qparams: Option<QParams>,
}

/// A kernel call to be. The shapes and types of its activations are those of the tensors.
#[derive(Clone, Copy, Debug)]
pub struct StepInfo<'a> {
    /// The node's name, for tables and messages.
    pub name: &'a str,
    /// The pattern that was matched: `conv2d + relu`.
    pub pattern: &'a str,
    /// The name of the dtype config that applies.
    pub dtype_config: &'a str,
    /// The kernel that the backend binds to them.
    pub kernel: &'static Kernel,
    /// The operator and its attributes.
    pub op: NodeOp,
    /// What is fused behind it.
    pub activation: Activation,
    /// The weight, where the operator has one.
    pub weight: Option<WeightSpec<'a>>,
    /// Bias in real values, one for each output channel.
    pub bias: Option<&'a [f32]>,
    /// What the operator has beside one weight and one bias ([`NodeSpec::parameters`]).
    pub parameters: &'a [WeightSpec<'a>],
    /// For dynamic kernels: quantize activations to 7 bits.
    pub reduce_range: bool,
    /// For static kernels with a weight: round factors as ONNX Runtime ([`NodeSpec::divide`]).
    pub divide: bool,
    /// What it reads.
    pub inputs: &'a [TensorId],
    /// What it writes.
    pub output: TensorId,
}

impl<'a> StepInfo<'a> {
    /// A step without weight, bias and activation; pattern and dtype config are left empty.
    pub fn new(
        name: &'a str,
        kernel: &'static Kernel,
        op: NodeOp,
        inputs: &'a [TensorId],
        output: TensorId,
    ) -> Self {
        Self {
            name,
            pattern: "",
            dtype_config: "",
            kernel,
            op,
            activation: Activation::None,
            weight: None,
            bias: None,
            parameters: &[],
            reduce_range: false,
            divide: false,
            inputs,
            output,
        }
    }
}

/// Why a plan cannot be made.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A kernel does not take its node.
    #[error("{place}: kernel `{kernel}` refuses it: {refusal}")]
    Refused {
        /// The step.
        place: Place,
        /// The kernel.
        kernel: &'static str,
        /// Its reason.
        #[source]
        refusal: Refusal,
    },
    /// A rule that every plan keeps.
    #[error(transparent)]
    Flaw(#[from] Flaw),
    /// A tensor that would, by way of others, be another shape or a part of itself.
    #[error("{0} cannot be another shape of itself")]
    AliasOfItself(Place),
    /// A tensor that is already another shape of one.
    #[error("{0} is already another shape of a tensor")]
    AliasTwice(Place),
    /// More tensors than a 32-bit number counts.
    #[error("a plan has at most {} tensors", u32::MAX)]
    TooManyTensors,
    /// No memory for the packed weights.
    #[error("{place}: no memory for {bytes} bytes of packed weights")]
    Memory {
        /// The step.
        place: Place,
        /// How many bytes.
        bytes: usize,
    },
}

/// Gathers tensors and steps, packs the weights, and makes a [`Plan`].
///
/// Steps are added in the order they run in; an example is at the top of the crate.
#[derive(Debug, Default)]
pub struct PlanBuilder {
    tensors: Vec<Tensor<'static>>,
    inputs: Vec<TensorId>,
    outputs: Vec<TensorId>,
    steps: Vec<Step<'static>>,
    blobs: Vec<AlignedBytes>,
}

impl PlanBuilder {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tensor. Each must then be an input, the output of a step, or another shape
    /// ([`PlanBuilder::alias`]) or a part ([`PlanBuilder::view`]) of one.
    ///
    /// # Errors
    /// [`BuildError::Flaw`] where the quantization parameters do not fit the dtype or the bytes
    /// cannot be counted.
    pub fn tensor(&mut self, info: TensorInfo<'_>) -> Result<TensorId, BuildError> {
        let index = self.tensors.len();
        let place = || Place::Tensor(index, info.name.into());
        let bytes = check::tensor_bytes(place, info.dtype, info.shape, info.qparams)?;
        let id = u32::try_from(index).ok().filter(|id| *id < u32::MAX);
        let id = TensorId(id.ok_or(BuildError::TooManyTensors)?);
        self.tensors.push(Tensor {
            name: Cow::Owned(info.name.to_string()),
            dtype: info.dtype,
            shape: info.shape.to_vec(),
            qparams: info.qparams,
            storage: id,
            offset: 0,
            bytes,
        });
        Ok(id)
    }

    /// Makes a tensor the next input: the caller fills it before a run.
    ///
    /// # Errors
    /// [`BuildError::Flaw`] for a tensor of another builder.
    pub fn input(&mut self, id: TensorId) -> Result<(), BuildError> {
        self.known(id, || Place::Input(self.inputs.len()))?;
        self.inputs.push(id);
        Ok(())
    }

    /// Makes a tensor the next output: the caller reads it after a run.
    ///
    /// # Errors
    /// [`BuildError::Flaw`] for a tensor of another builder.
    pub fn output(&mut self, id: TensorId) -> Result<(), BuildError> {
        self.known(id, || Place::Output(self.outputs.len()))?;
        self.outputs.push(id);
        Ok(())
    }

    /// Makes `to` another shape of `from`: the same bytes, so that a reshape costs nothing.
    ///
    /// # Errors
    /// [`BuildError::Flaw`] where they differ in dtype, length or quantization parameters;
    /// [`BuildError::AliasTwice`] and [`BuildError::AliasOfItself`].
    pub fn alias(&mut self, from: TensorId, to: TensorId) -> Result<(), BuildError> {
        let place = |id: TensorId| check_place(&self.tensors, id);
        let old = self.known(from, || place(to))?.bytes;
        if old != self.known(to, || place(to))?.bytes {
            let (place, other, what) = (place(to), place(from), "length");
            return Err(Flaw::Alias { place, other, what }.into());
        }
        self.view(from, 0, to)
    }

    /// Makes `to` a part of `from`, its bytes from `offset` on: a range of the outermost dimension, or
    /// one of several results that a kernel writes behind each other, costs nothing.
    ///
    /// # Errors
    /// As [`PlanBuilder::alias`], and [`BuildError::Flaw`] where `to` would reach beyond the end of
    /// `from` or begin in the middle of an element.
    pub fn view(&mut self, from: TensorId, offset: usize, to: TensorId) -> Result<(), BuildError> {
        let place = |id: TensorId| check_place(&self.tensors, id);
        let old = self.known(from, || place(to))?;
        let new = self.known(to, || place(to))?;
        if let Some(what) = check::unfit(old, new, Some(offset)) {
            let (place, other) = (place(to), place(from));
            return Err(Flaw::Alias { place, other, what }.into());
        }
        if new.storage != to {
            return Err(BuildError::AliasTwice(place(to)));
        }
        if self.owner(from).0 == to {
            return Err(BuildError::AliasOfItself(place(to)));
        }
        if let Some(tensor) = self.tensors.get_mut(to.index()) {
            tensor.storage = from;
            tensor.offset = offset;
        }
        Ok(())
    }

    /// Adds a kernel call behind those before it and packs its weights.
    ///
    /// # Errors
    /// [`BuildError::Refused`] where the kernel does not take the node; [`BuildError::Flaw`] for a
    /// tensor of another builder or too many inputs; [`BuildError::Memory`].
    pub fn step(&mut self, info: StepInfo<'_>) -> Result<(), BuildError> {
        let place = || Place::Step(self.steps.len(), info.name.into());
        if info.inputs.len() > crate::MAX_INPUTS {
            let found = info.inputs.len();
            return Err(Flaw::Inputs {
                place: place(),
                found,
            }
            .into());
        }
        let mut inputs: Vec<TensorSpec<'_>> = Vec::with_capacity(info.inputs.len());
        for id in info.inputs {
            inputs.push(self.known(*id, place)?.spec());
        }
        let node = NodeSpec {
            op: info.op,
            activation: info.activation,
            inputs: &inputs,
            output: self.known(info.output, place)?.spec(),
            weight: info.weight,
            bias: info.bias,
            parameters: info.parameters,
            reduce_range: info.reduce_range,
            divide: info.divide,
        };
        let refused = |refusal| BuildError::Refused {
            place: place(),
            kernel: info.kernel.name,
            refusal,
        };
        let sizes = (info.kernel.sizes)(&node).map_err(refused)?;
        let memory = |_: TryReserveError| BuildError::Memory {
            place: place(),
            bytes: sizes.blob,
        };
        let mut blob = AlignedBytes::zeroed(sizes.blob).map_err(memory)?;
        (info.kernel.pack)(&node, &mut blob).map_err(refused)?;

        let owned = |text: &str| Cow::Owned(String::from(text));
        let step = Step {
            name: owned(info.name),
            pattern: owned(info.pattern),
            dtype_config: owned(info.dtype_config),
            kernel: info.kernel,
            blob: 0..0,
            scratch: sizes.scratch,
            multiply_adds: node.multiply_adds(),
            inputs: info.inputs.to_vec(),
            output: info.output,
            split: Split {
                units: 0,
                unit_bytes: 0,
                output_bytes: 0,
                grain: 1,
            },
        };
        self.steps.push(step);
        self.blobs.push(blob);
        Ok(())
    }

    /// Checks the whole, gives every tensor its place in the arena, and makes the plan.
    ///
    /// # Errors
    /// [`BuildError::Flaw`] for the first rule that is broken; [`BuildError::Memory`].
    pub fn finish(mut self) -> Result<Plan<'static>, BuildError> {
        let blobs = self.gather()?;
        let mut resolved = Vec::with_capacity(self.tensors.len());
        for index in 0..self.tensors.len() {
            let Ok(id) = u32::try_from(index) else { break };
            let (owner, offset) = self.owner(TensorId(id));
            resolved.push((owner, offset));
        }
        for (tensor, (owner, offset)) in self.tensors.iter_mut().zip(resolved) {
            (tensor.storage, tensor.offset) = (owner, offset);
        }
        let lives = check::check(
            &self.tensors,
            &self.inputs,
            &self.outputs,
            &mut self.steps,
            &blobs,
        )?;
        arena::place(&mut self.tensors, &lives).ok_or(Flaw::TooLarge(Place::Arena))?;
        let arena_bytes = check::check_arena(&self.tensors, &lives, &self.inputs, &self.steps)?;
        Ok(Plan {
            tensors: self.tensors,
            inputs: self.inputs,
            outputs: self.outputs,
            steps: self.steps,
            blobs: Blobs::Owned {
                memory: blobs,
                start: 0,
            },
            arena_bytes,
        })
    }

    /// One buffer of all packed weights, each on a boundary.
    fn gather(&mut self) -> Result<AlignedBytes, BuildError> {
        let mut end = 0usize;
        for (index, (step, blob)) in self.steps.iter_mut().zip(&self.blobs).enumerate() {
            let range = align_up(end).and_then(|start| Some(start..start.checked_add(blob.len())?));
            let place = Place::Step(index, step.name.to_string());
            step.blob = range.ok_or(Flaw::TooLarge(place))?;
            end = step.blob.end;
        }
        let mut all = AlignedBytes::zeroed(end).map_err(|_| BuildError::Memory {
            place: Place::Blobs,
            bytes: end,
        })?;
        for (step, blob) in self.steps.iter().zip(self.blobs.drain(..)) {
            if let Some(target) = all.get_mut(step.blob.clone()) {
                target.copy_from_slice(&blob);
            }
        }
        Ok(all)
    }

    fn known(
        &self,
        id: TensorId,
        place: impl FnOnce() -> Place,
    ) -> Result<&Tensor<'static>, BuildError> {
        let found = self.tensors.get(id.index());
        found.ok_or_else(|| {
            let (tensor, tensors) = (id.index(), self.tensors.len());
            let place = place();
            Flaw::UnknownTensor {
                place,
                tensor,
                tensors,
            }
            .into()
        })
    }

    /// Whose memory a tensor is, through any number of aliases, and where in it; there is no cycle.
    fn owner(&self, mut id: TensorId) -> (TensorId, usize) {
        let mut offset = 0usize;
        while let Some(tensor) = self.tensors.get(id.index())
            && tensor.storage != id
        {
            // each lies inside the next one, so the sum is at most the owner's length
            offset = offset.saturating_add(tensor.offset);
            id = tensor.storage;
        }
        (id, offset)
    }
}

fn check_place(tensors: &[Tensor<'_>], id: TensorId) -> Place {
    crate::plan::tensor_place(tensors, id.index())
}
