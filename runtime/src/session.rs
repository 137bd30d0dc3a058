//! The memory and the threads that a plan runs on.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::{Deref, Range};

use qconfig_core::kernel::{BlobError, Call, Split};
use qconfig_core::{DType, Isa, Kernel};

use crate::aligned::{AlignedBytes, align_up};
use crate::arena;
use crate::place::Place;
use crate::plan::{MAX_INPUTS, Plan, Tensor, TensorId, step_place};
#[cfg(feature = "std")]
use crate::pool::Pool;

/// Most threads a session may have: their parts of a step lie in an array on the stack.
pub const MAX_THREADS: usize = 64;

/// How a session runs.
///
/// ```
/// use qconfig_core::Isa;
/// use qconfig_runtime::SessionOptions;
/// let options = SessionOptions { threads: 2, ..SessionOptions::with_isa(Isa::SCALAR) };
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionOptions {
    /// Threads that compute, the caller's among them; 1 to [`MAX_THREADS`]. The result is the same
    /// to the bit for any number.
    pub threads: usize,
    /// The instruction set that kernels use; the result is the same to the bit for any of them.
    pub isa: Isa,
    /// Give every tensor memory of its own, so that [`Session::tensor_bytes`] can show what is in
    /// it after a run.
    pub keep_all: bool,
    /// Most bytes that the session may allocate: a small damaged file can ask for a lot.
    pub memory_limit: usize,
}

impl SessionOptions {
    /// One thread and that instruction set; at most 2 GiB.
    pub const fn with_isa(isa: Isa) -> Self {
        Self {
            threads: 1,
            isa,
            keep_all: false,
            memory_limit: if usize::BITS > 32 { 2 << 30 } else { 1 << 30 },
        }
    }

    /// One thread and the instruction set that `QCONFIG_ISA` asks for, else the best one. The
    /// environment is read here and never again.
    ///
    /// # Errors
    /// Where `QCONFIG_ISA` names no instruction set, or one that this CPU lacks.
    #[cfg(feature = "std")]
    pub fn new() -> Result<Self, qconfig_core::IsaError> {
        Isa::from_env().map(Self::with_isa)
    }
}

/// Why a session cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// More memory than the options allow.
    #[error(
        "the plan needs {needed} bytes to run, {limit} are allowed; raise `memory_limit` if you trust it"
    )]
    MemoryLimit {
        /// Arena and scratch.
        needed: usize,
        /// [`SessionOptions::memory_limit`].
        limit: usize,
    },
    /// More memory than there is.
    #[error("no memory for {needed} bytes")]
    Memory {
        /// Arena and scratch.
        needed: usize,
    },
    /// No threads, or too many.
    #[error("{0} threads are not possible, 1 to {MAX_THREADS} are")]
    Threads(usize),
    /// The system starts no more threads.
    #[cfg(feature = "std")]
    #[error("could not start {threads} threads: {error}")]
    Spawn {
        /// How many were asked for.
        threads: usize,
        /// What the system says.
        #[source]
        error: std::io::Error,
    },
}

/// What a caller hands over or asks for does not fit the plan.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BufferError {
    /// There is no such input or output, or the tensor is another plan's.
    #[error("there is no {place}: the plan has {count}")]
    Unknown {
        /// What was asked for.
        place: Place,
        /// How many there are.
        count: usize,
    },
    /// The tensor has another element type.
    #[error("{place} is {found}, not {asked}")]
    DType {
        /// The tensor.
        place: Place,
        /// Its dtype.
        found: DType,
        /// The dtype of the caller's buffer.
        asked: DType,
    },
    /// The buffer has another number of elements.
    #[error("{place} has {expected} elements, the buffer {found}")]
    Length {
        /// The tensor.
        place: Place,
        /// Its elements.
        expected: usize,
        /// The buffer's.
        found: usize,
    },
    /// Its memory was used again by other tensors.
    #[error("{0} is not kept; ask for `keep_all` in the options")]
    NotKept(Place),
}

/// Why a run ended early. The outputs are then unspecified bytes.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The kernel refuses its packed data or its buffers.
    #[error("{place}: {error}")]
    Kernel {
        /// The step.
        place: Place,
        /// What the kernel says.
        #[source]
        error: BlobError,
    },
    /// The kernel panicked on another thread: a bug of the kernel.
    #[error("{0}: the kernel panicked on a worker thread")]
    Panicked(Place),
    /// The step's tensors lie on each other; plans are checked for it before.
    #[error("{0}: its output overlaps its inputs")]
    Overlap(Place),
}

/// A plan that a session owns, shares or borrows; made by `into` of either.
#[derive(Debug)]
#[non_exhaustive]
pub enum PlanRef<'p> {
    /// Its own.
    Owned(Plan<'p>),
    /// Another's.
    Borrowed(&'p Plan<'p>),
    /// Shared with others.
    Shared(Arc<Plan<'p>>),
}

impl<'p> Deref for PlanRef<'p> {
    type Target = Plan<'p>;

    fn deref(&self) -> &Plan<'p> {
        match self {
            PlanRef::Owned(plan) => plan,
            PlanRef::Borrowed(plan) => plan,
            PlanRef::Shared(plan) => plan,
        }
    }
}

impl<'p> From<Plan<'p>> for PlanRef<'p> {
    fn from(plan: Plan<'p>) -> Self {
        PlanRef::Owned(plan)
    }
}

impl<'p> From<&'p Plan<'_>> for PlanRef<'p> {
    fn from(plan: &'p Plan<'_>) -> Self {
        PlanRef::Borrowed(plan)
    }
}

impl<'p> From<Arc<Plan<'p>>> for PlanRef<'p> {
    fn from(plan: Arc<Plan<'p>>) -> Self {
        PlanRef::Shared(plan)
    }
}

/// A plan with memory and threads of its own. One session serves one caller at a time; several may
/// share a plan.
#[derive(Debug)]
pub struct Session<'p> {
    plan: PlanRef<'p>,
    isa: Isa,
    kept: bool,
    arena: AlignedBytes,
    /// One for each thread.
    scratch: Vec<AlignedBytes>,
    tasks: Vec<Task>,
    /// Of each tensor.
    ranges: Vec<Range<usize>>,
    #[cfg(feature = "std")]
    pool: Option<Pool>,
}

/// A step, with all that can be known before the run.
#[derive(Debug)]
struct Task {
    kernel: &'static Kernel,
    inputs: Vec<Range<usize>>,
    output: Range<usize>,
    split: Split,
    scratch: usize,
    /// How many threads share it; 1 without `std`.
    #[cfg_attr(
        not(feature = "std"),
        allow(dead_code, reason = "there are no threads")
    )]
    parts: usize,
}

/// A thread's part of a step.
#[cfg(feature = "std")]
struct Part<'r> {
    output: &'r mut [u8],
    units: Range<usize>,
    scratch: &'r mut [u8],
    result: Result<(), BlobError>,
}

impl<'p> Session<'p> {
    /// Allocates memory, starts threads and cuts the work; running then does none of it.
    ///
    /// # Errors
    /// [`SessionError`] where memory or threads cannot be had.
    pub fn new(
        plan: impl Into<PlanRef<'p>>,
        options: SessionOptions,
    ) -> Result<Self, SessionError> {
        let plan = plan.into();
        let threads = options.threads;
        if threads == 0 || threads > MAX_THREADS || (cfg!(not(feature = "std")) && threads > 1) {
            return Err(SessionError::Threads(threads));
        }
        let (ranges, arena_bytes) = layout(&plan, options.keep_all);
        let scratch_bytes = align_up(plan.scratch_bytes()).unwrap_or(usize::MAX);
        let needed = scratch_bytes
            .saturating_mul(threads)
            .saturating_add(arena_bytes);
        if needed > options.memory_limit {
            let limit = options.memory_limit;
            return Err(SessionError::MemoryLimit { needed, limit });
        }
        let memory =
            |bytes| AlignedBytes::zeroed(bytes).map_err(|_| SessionError::Memory { needed });

        let tasks: Vec<Task> = plan
            .steps()
            .iter()
            .map(|step| task(step, &ranges, threads))
            .collect();
        Ok(Self {
            isa: options.isa,
            kept: options.keep_all,
            arena: memory(arena_bytes)?,
            scratch: (0..threads)
                .map(|_| memory(scratch_bytes))
                .collect::<Result<_, _>>()?,
            ranges,
            #[cfg(feature = "std")]
            pool: pool(&tasks)?,
            tasks,
            plan,
        })
    }

    /// The plan it runs.
    pub fn plan(&self) -> &Plan<'p> {
        &self.plan
    }

    /// The instruction set that its kernels use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Bytes it has allocated for tensors and scratch.
    pub fn memory_bytes(&self) -> usize {
        let scratch = self
            .scratch
            .iter()
            .map(|scratch| scratch.len())
            .sum::<usize>();
        self.arena.len() + scratch
    }

    /// The bytes of an input, to be filled. They stay as they are through any number of runs.
    ///
    /// # Errors
    /// [`BufferError::Unknown`].
    pub fn input_mut(&mut self, index: usize) -> Result<&mut [u8], BufferError> {
        let range = self.range(self.input_id(index)?);
        Ok(self.arena.get_mut(range).unwrap_or_default())
    }

    /// Fills a `float32` input.
    ///
    /// # Errors
    /// [`BufferError`] where there is no such input, or it has another dtype or length.
    pub fn set_input_f32(&mut self, index: usize, values: &[f32]) -> Result<(), BufferError> {
        self.fill(index, DType::float32, values, |x| x.to_ne_bytes())
    }

    /// Fills an `int32` input: indices of a table.
    ///
    /// # Errors
    /// [`BufferError`] where there is no such input, or it has another dtype or length.
    pub fn set_input_i32(&mut self, index: usize, values: &[i32]) -> Result<(), BufferError> {
        self.fill(index, DType::int32, values, |x| x.to_ne_bytes())
    }

    /// Fills an `int64` input: indices of a table.
    ///
    /// # Errors
    /// [`BufferError`] where there is no such input, or it has another dtype or length.
    pub fn set_input_i64(&mut self, index: usize, values: &[i64]) -> Result<(), BufferError> {
        self.fill(index, DType::int64, values, |x| x.to_ne_bytes())
    }

    fn fill<T: Copy, const N: usize>(
        &mut self,
        index: usize,
        dtype: DType,
        values: &[T],
        to_bytes: impl Fn(T) -> [u8; N],
    ) -> Result<(), BufferError> {
        let id = self.input_id(index)?;
        self.expect(id, dtype, values.len())?;
        let range = self.range(id);
        let bytes = self.arena.get_mut(range).unwrap_or_default();
        for (bytes, value) in bytes.as_chunks_mut::<N>().0.iter_mut().zip(values) {
            *bytes = to_bytes(*value);
        }
        Ok(())
    }

    /// The bytes of an output, as the last run left them.
    ///
    /// # Errors
    /// [`BufferError::Unknown`].
    pub fn output(&self, index: usize) -> Result<&[u8], BufferError> {
        Ok(self.bytes(self.output_id(index)?))
    }

    /// Copies a `float32` output.
    ///
    /// # Errors
    /// [`BufferError`] where there is no such output, or it has another dtype or length.
    pub fn output_f32(&self, index: usize, values: &mut [f32]) -> Result<(), BufferError> {
        let id = self.output_id(index)?;
        self.expect(id, DType::float32, values.len())?;
        for (value, bytes) in values.iter_mut().zip(self.bytes(id).as_chunks().0) {
            *value = f32::from_ne_bytes(*bytes);
        }
        Ok(())
    }

    /// The bytes of any tensor, as the last run left them.
    ///
    /// # Errors
    /// [`BufferError::NotKept`] unless the options had `keep_all`, [`BufferError::Unknown`] for the
    /// id of another plan.
    pub fn tensor_bytes(&self, id: TensorId) -> Result<&[u8], BufferError> {
        if self.plan.tensor(id).is_none() {
            return Err(BufferError::Unknown {
                place: self.plan.place_of_tensor(id),
                count: self.plan.tensors().len(),
            });
        }
        if !self.kept {
            return Err(BufferError::NotKept(self.plan.place_of_tensor(id)));
        }
        Ok(self.bytes(id))
    }

    /// The real values of any `float32`, `quint8` or `qint8` tensor, as the last run left them: what
    /// to hold against a float model.
    ///
    /// # Errors
    /// As [`Session::tensor_bytes`], and [`BufferError::DType`] for other dtypes.
    pub fn tensor_f32(&self, id: TensorId) -> Result<Vec<f32>, BufferError> {
        let bytes = self.tensor_bytes(id)?;
        let Some(tensor) = self.plan.tensor(id) else {
            return Ok(Vec::new());
        };
        let (qparams, offset) = match (tensor.dtype(), tensor.qparams()) {
            (DType::float32, _) => {
                let values = bytes.as_chunks().0.iter();
                return Ok(values.map(|bytes| f32::from_ne_bytes(*bytes)).collect());
            }
            // qint8 is stored as q + 128
            (DType::quint8, Some(qparams)) => (qparams, 0),
            (DType::qint8, Some(qparams)) => (qparams, 128),
            (found, _) => {
                return Err(BufferError::DType {
                    place: self.plan.place_of_tensor(id),
                    found,
                    asked: DType::float32,
                });
            }
        };
        let zero = qparams.zero_point + offset;
        let real = |stored: &u8| qparams.scale * (i32::from(*stored) - zero) as f32;
        Ok(bytes.iter().map(real).collect())
    }

    /// Computes the outputs from the inputs. Allocates nothing, locks nothing.
    ///
    /// # Errors
    /// [`RunError`] where a kernel refuses its packed data, as only a plan from damaged bytes makes it do, or
    /// where an index that the caller set is outside its table.
    pub fn run(&mut self) -> Result<(), RunError> {
        self.run_each(|_| {})
    }

    /// As [`Session::run`], and tells when each step is done.
    pub(crate) fn run_each(&mut self, mut done: impl FnMut(usize)) -> Result<(), RunError> {
        for index in 0..self.tasks.len() {
            self.run_step(index)?;
            done(index);
        }
        Ok(())
    }

    fn run_step(&mut self, index: usize) -> Result<(), RunError> {
        let place = || step_place(self.plan.steps(), index);
        let Some((task, step)) = self.tasks.get(index).zip(self.plan.steps().get(index)) else {
            return Ok(());
        };
        if task.split.units == 0 {
            return Ok(());
        }
        let blob = self.plan.blob(step);
        let mut inputs = [&[][..]; MAX_INPUTS];
        let Some((inputs, output)) = carve(&mut self.arena, task, &mut inputs) else {
            return Err(RunError::Overlap(place()));
        };
        let kernel = |error| RunError::Kernel {
            place: place(),
            error,
        };

        #[cfg(feature = "std")]
        if let Some(pool) = &mut self.pool
            && task.parts > 1
        {
            let mut parts = [const { None }; MAX_THREADS];
            cut(task, output, &mut self.scratch, &mut parts);
            let parts = parts.get_mut(..task.parts).unwrap_or_default();
            let isa = self.isa;
            let ran = pool.scope(parts, |part| {
                if let Some(part) = part {
                    part.result = (task.kernel.run)(Call {
                        blob,
                        inputs,
                        output: &mut *part.output,
                        units: part.units.clone(),
                        scratch: &mut *part.scratch,
                        isa,
                    });
                }
            });
            ran.map_err(|_| RunError::Panicked(place()))?;
            return parts
                .iter()
                .flatten()
                .try_for_each(|part| part.result)
                .map_err(kernel);
        }

        let scratch = self.scratch.first_mut().map(|scratch| &mut **scratch);
        let scratch = scratch.and_then(|scratch| scratch.get_mut(..task.scratch));
        (task.kernel.run)(Call {
            blob,
            inputs,
            output,
            units: 0..task.split.units,
            scratch: scratch.unwrap_or_default(),
            isa: self.isa,
        })
        .map_err(kernel)
    }

    fn range(&self, id: TensorId) -> Range<usize> {
        self.ranges.get(id.index()).cloned().unwrap_or_default()
    }

    fn bytes(&self, id: TensorId) -> &[u8] {
        self.arena.get(self.range(id)).unwrap_or_default()
    }

    fn input_id(&self, index: usize) -> Result<TensorId, BufferError> {
        let inputs = self.plan.inputs();
        inputs.get(index).copied().ok_or(BufferError::Unknown {
            place: Place::Input(index),
            count: inputs.len(),
        })
    }

    fn output_id(&self, index: usize) -> Result<TensorId, BufferError> {
        let outputs = self.plan.outputs();
        outputs.get(index).copied().ok_or(BufferError::Unknown {
            place: Place::Output(index),
            count: outputs.len(),
        })
    }

    fn expect(&self, id: TensorId, dtype: DType, len: usize) -> Result<(), BufferError> {
        let Some(tensor) = self.plan.tensor(id) else {
            return Ok(());
        };
        let place = || self.plan.place_of_tensor(id);
        if tensor.dtype() != dtype {
            return Err(BufferError::DType {
                place: place(),
                found: tensor.dtype(),
                asked: dtype,
            });
        }
        let expected = tensor.spec().elements().unwrap_or(0);
        if expected != len {
            return Err(BufferError::Length {
                place: place(),
                expected,
                found: len,
            });
        }
        Ok(())
    }
}

/// Where each tensor lies, and how much memory that takes.
fn layout(plan: &Plan<'_>, apart: bool) -> (Vec<Range<usize>>, usize) {
    if apart {
        let mut tensors = plan.tensors().to_vec();
        let bytes = arena::place_apart(&mut tensors).unwrap_or(usize::MAX);
        return (tensors.iter().map(Tensor::range).collect(), bytes);
    }
    let ranges = plan.tensors().iter().map(Tensor::range).collect();
    (ranges, plan.arena_bytes())
}

fn task(step: &crate::plan::Step<'_>, ranges: &[Range<usize>], threads: usize) -> Task {
    let range = |id: &TensorId| ranges.get(id.index()).cloned().unwrap_or_default();
    let split = step.split();
    Task {
        kernel: step.kernel(),
        inputs: step.inputs().iter().map(range).collect(),
        output: range(&step.output()),
        split,
        scratch: step.scratch_bytes(),
        // a thread that gets less than a grain costs more than it brings
        parts: (split.units / split.grain.max(1)).clamp(1, threads),
    }
}

/// As many threads as the widest step can use.
#[cfg(feature = "std")]
fn pool(tasks: &[Task]) -> Result<Option<Pool>, SessionError> {
    let threads = tasks.iter().map(|task| task.parts).max().unwrap_or(1);
    if threads < 2 {
        return Ok(None);
    }
    match Pool::new(threads) {
        Ok(pool) => Ok(Some(pool)),
        Err(error) => Err(SessionError::Spawn { threads, error }),
    }
}

/// A step's inputs and output, out of one arena.
fn carve<'r, 'i>(
    arena: &'r mut [u8],
    task: &Task,
    inputs: &'i mut [&'r [u8]; MAX_INPUTS],
) -> Option<(&'i [&'r [u8]], &'r mut [u8])> {
    let Range { start, end } = task.output;
    let (before, rest) = arena.split_at_mut_checked(start)?;
    let (output, after) = rest.split_at_mut_checked(end.checked_sub(start)?)?;
    let (before, after) = (&*before, &*after);
    let inputs = inputs.get_mut(..task.inputs.len())?;
    for (input, range) in inputs.iter_mut().zip(&task.inputs) {
        *input = if range.end <= start {
            before.get(range.clone())?
        } else {
            after.get(range.start.checked_sub(end)?..range.end.checked_sub(end)?)?
        };
    }
    Some((inputs, output))
}

/// Cuts the units of a step into as many even, contiguous parts as threads share it.
#[cfg(feature = "std")]
fn cut<'r>(
    task: &Task,
    mut output: &'r mut [u8],
    scratch: &'r mut [AlignedBytes],
    parts: &mut [Option<Part<'r>>; MAX_THREADS],
) {
    let (each, more) = (task.split.units / task.parts, task.split.units % task.parts);
    let mut start = 0;
    for (index, (part, scratch)) in parts.iter_mut().zip(scratch).take(task.parts).enumerate() {
        let units = start..start + each + usize::from(index < more);
        start = units.end;
        let bytes = task.split.bytes(&units).len();
        let Some((mine, rest)) = output.split_at_mut_checked(bytes) else {
            return;
        };
        output = rest;
        *part = Some(Part {
            output: mine,
            units,
            scratch: scratch.get_mut(..task.scratch).unwrap_or_default(),
            result: Ok(()),
        });
    }
}
