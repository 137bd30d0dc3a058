//! A plan as bytes: versioned, little-endian, checksummed, its weights on 64-byte boundaries.
//!
//! ```text
//! offset  bytes
//!      0      8  magic: "QCFGPLAN"
//!      8      4  version
//!     12      4  CRC-32 (IEEE) of everything from offset 16 on
//!     16      8  length of the whole
//!     24      8  length of the tables, which start at offset 64
//!     32      8  offset of the packed weights, a multiple of 64
//!     40      8  length of the packed weights
//!     48     16  zero
//!     64      .  tables: tensors, inputs, outputs, steps, each a u32 count and its records
//!      .      .  zeros up to the packed weights
//! ```
//! Integers are little-endian. A string is a `u32` length and UTF-8; a tensor is named by its `u32`
//! number. Records:
//! - tensor: name, dtype's name, `u32` rank and `u64` dimensions, `u8` 0 or 1 and then `f32` scale and
//!   `i32` zero point, `u32` number of the tensor whose memory it is (its own, or the one it is another shape
//!   or a part of), `u64` offset in the arena;
//! - input, output: tensor;
//! - step: name, pattern, dtype config, kernel's name, `u64` offset and `u64` length in the packed
//!   weights, `u64` scratch bytes, `u64` multiply-adds, `u32` count and tensors that it reads, tensor that it writes.

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use qconfig_core::kernel::{QParams, Split};
use qconfig_core::{DType, Kernel};

use crate::aligned::{ALIGN, AlignedBytes, is_aligned};
use crate::check::{self, Flaw};
use crate::place::Place;
use crate::plan::{Blobs, Plan, Step, Tensor, TensorId};

/// The version of saved plans that this crate writes, and the only one it reads.
pub const VERSION: u32 = 2;

const MAGIC: [u8; 8] = *b"QCFGPLAN";
const HEADER: usize = 64;
/// Where the checksummed part begins.
const CHECKED: usize = 16;

/// Why bytes are not a plan.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// They begin with something else.
    #[error("this is not a saved plan: it does not begin with QCFGPLAN")]
    Magic,
    /// Another version of this crate wrote them.
    #[error(
        "the plan has version {found}, this program reads {VERSION}; make the plan again with this version"
    )]
    Version {
        /// The version found.
        found: u32,
    },
    /// They end early, or go on where they should end.
    #[error(
        "the plan says that it has {expected} bytes, there are {found}; copy the file again, or make the plan again"
    )]
    Length {
        /// What the header says.
        expected: u64,
        /// What there is.
        found: usize,
    },
    /// They are not the bytes that were written.
    #[error(
        "the plan is damaged: its checksum is {found:08x}, its bytes give {computed:08x}; copy the file again, or make the plan again"
    )]
    Checksum {
        /// What the header says.
        found: u32,
        /// What the bytes give.
        computed: u32,
    },
    /// A field that cannot be.
    #[error("{place}, {field}: {problem}; make the plan again with this version")]
    Field {
        /// Where.
        place: Place,
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        problem: Problem,
    },
    /// The program has no kernel of that name.
    #[error(
        "{place} calls kernel {kernel:?}, which this program does not have; link the backend that the plan was made with, or make the plan again with this version"
    )]
    Kernel {
        /// The step.
        place: Place,
        /// The name.
        kernel: String,
    },
    /// A rule that every plan keeps.
    #[error("{0}; make the plan again with this version")]
    Flaw(#[from] Flaw),
    /// No memory to copy the packed weights of a plan that does not lie on a 64-byte boundary.
    #[error("no memory for {0} bytes of packed weights")]
    Memory(usize),
    /// The file could not be read.
    #[error("the file could not be read: {0}")]
    Read(String),
}

/// What is wrong with a field of a saved plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Problem {
    /// The bytes end before it does.
    Ends,
    /// A string that is not UTF-8.
    NotUtf8,
    /// Not the name of a dtype.
    NoDType,
    /// A value that the format does not have.
    Value,
    /// A number too large for this machine.
    TooLarge,
    /// A range outside what it counts in, or off its boundary.
    Range,
    /// Bytes that belong to nothing.
    Leftover,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Problem::Ends => "the bytes end in the middle of it",
            Problem::NotUtf8 => "not UTF-8",
            Problem::NoDType => "not the name of a dtype",
            Problem::Value => "a value that the format does not have",
            Problem::TooLarge => "too large for this machine",
            Problem::Range => "outside the bytes, or off its 64-byte boundary",
            Problem::Leftover => "bytes that belong to nothing",
        })
    }
}

impl<'a> Plan<'a> {
    /// The plan as bytes, the same for the same plan on any machine. Keep them on a 64-byte boundary
    /// (a memory map, [`AlignedBytes`], [`include_plan!`](crate::include_plan)) and a plan read from
    /// them uses the weights where they lie.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + self.blobs.as_slice().len());
        out.resize(HEADER, 0);
        self.write_tables(&mut out);
        let tables = out.len() - HEADER;
        pad(&mut out);

        let start = out.len();
        for step in &self.steps {
            pad(&mut out);
            out.extend_from_slice(self.blob(step));
        }
        let blobs = out.len() - start;

        let mut header = Vec::with_capacity(HEADER);
        put_u64(&mut header, out.len());
        put_u64(&mut header, tables);
        put_u64(&mut header, start);
        put_u64(&mut header, blobs);
        header.resize(HEADER - CHECKED, 0);
        let (head, body) = out.split_at_mut(HEADER);
        let (fixed, checked) = head.split_at_mut(CHECKED);
        checked.copy_from_slice(&header);
        let mut crc = crc32fast::Hasher::new();
        crc.update(checked);
        crc.update(body);
        let (magic, rest) = fixed.split_at_mut(8);
        magic.copy_from_slice(&MAGIC);
        let (version, sum) = rest.split_at_mut(4);
        version.copy_from_slice(&VERSION.to_le_bytes());
        sum.copy_from_slice(&crc.finalize().to_le_bytes());
        out
    }

    fn write_tables(&self, out: &mut Vec<u8>) {
        put_count(out, self.tensors.len());
        for tensor in &self.tensors {
            put_str(out, &tensor.name);
            put_str(out, tensor.dtype.name());
            put_count(out, tensor.shape.len());
            for dim in &tensor.shape {
                put_u64(out, *dim);
            }
            out.push(u8::from(tensor.qparams.is_some()));
            if let Some(QParams { scale, zero_point }) = tensor.qparams {
                out.extend_from_slice(&scale.to_le_bytes());
                out.extend_from_slice(&zero_point.to_le_bytes());
            }
            put_id(out, tensor.storage);
            put_u64(out, tensor.offset);
        }
        for ids in [&self.inputs, &self.outputs] {
            put_ids(out, ids);
        }
        put_count(out, self.steps.len());
        let mut end = 0usize;
        for step in &self.steps {
            put_str(out, &step.name);
            put_str(out, &step.pattern);
            put_str(out, &step.dtype_config);
            put_str(out, step.kernel.name);
            let start = end.next_multiple_of(ALIGN);
            end = start + self.blob(step).len();
            put_u64(out, start);
            put_u64(out, end - start);
            put_u64(out, step.scratch);
            out.extend_from_slice(&step.multiply_adds.to_le_bytes());
            put_ids(out, &step.inputs);
            put_id(out, step.output);
        }
    }

    /// The plan in bytes that [`Plan::to_bytes`] wrote; `kernels` finds kernels by name, as
    /// `BackendConfig::kernel_named` does. Names stay where they are, and so do the weights where
    /// `bytes` starts on a 64-byte boundary; elsewhere they are copied.
    ///
    /// Nothing in the bytes is trusted: whatever is in them, the plan runs inside its own memory.
    ///
    /// # Errors
    /// [`PlanError`] names the place.
    pub fn from_bytes(
        bytes: &'a [u8],
        kernels: impl Fn(&str) -> Option<&'static Kernel>,
    ) -> Result<Self, PlanError> {
        let (mut plan, blobs) = parse(bytes, &kernels)?;
        let borrowed = bytes.get(blobs).unwrap_or_default();
        plan.blobs = if is_aligned(borrowed) || borrowed.is_empty() {
            Blobs::Borrowed(borrowed)
        } else {
            let copy = AlignedBytes::copy_of(borrowed);
            Blobs::Owned {
                memory: copy.map_err(|_| PlanError::Memory(borrowed.len()))?,
                start: 0,
            }
        };
        plan.finish()
    }
}

impl Plan<'static> {
    /// As [`Plan::from_bytes`], of bytes that the plan then owns: the weights are not copied.
    ///
    /// # Errors
    /// As [`Plan::from_bytes`].
    pub fn from_aligned(
        bytes: AlignedBytes,
        kernels: impl Fn(&str) -> Option<&'static Kernel>,
    ) -> Result<Self, PlanError> {
        let (plan, blobs) = parse(&bytes, &kernels)?;
        let (tensors, steps) = (plan.tensors.into_iter(), plan.steps.into_iter());
        let plan = Plan {
            tensors: tensors.map(Tensor::into_owned).collect(),
            inputs: plan.inputs,
            outputs: plan.outputs,
            steps: steps.map(Step::into_owned).collect(),
            blobs: Blobs::Borrowed(&[]),
            arena_bytes: 0,
        };
        Plan {
            blobs: Blobs::Owned {
                memory: bytes,
                start: blobs.start,
            },
            ..plan
        }
        .finish()
    }

    /// As [`Plan::from_aligned`], of a file.
    ///
    /// # Errors
    /// As [`Plan::from_bytes`], and [`PlanError::Read`].
    #[cfg(feature = "std")]
    pub fn from_file(
        path: impl AsRef<std::path::Path>,
        kernels: impl Fn(&str) -> Option<&'static Kernel>,
    ) -> Result<Self, PlanError> {
        let read = |error: std::io::Error| PlanError::Read(error.to_string());
        let mut file = std::fs::File::open(path).map_err(read)?;
        let len = file.metadata().map_err(read)?.len();
        let len = usize::try_from(len).map_err(|_| PlanError::Memory(usize::MAX))?;
        let mut bytes = AlignedBytes::zeroed(len).map_err(|_| PlanError::Memory(len))?;
        std::io::Read::read_exact(&mut file, &mut bytes).map_err(read)?;
        Self::from_aligned(bytes, kernels)
    }
}

impl Plan<'_> {
    /// Holds what was read against the rules that every plan keeps.
    fn finish(mut self) -> Result<Self, PlanError> {
        let lives = check::check(
            &self.tensors,
            &self.inputs,
            &self.outputs,
            &mut self.steps,
            self.blobs.as_slice(),
        )?;
        self.arena_bytes = check::check_arena(&self.tensors, &lives, &self.inputs, &self.steps)?;
        Ok(self)
    }
}

/// The tables of a plan, its weights still to come from the range beside it.
fn parse<'a>(
    bytes: &'a [u8],
    kernels: &dyn Fn(&str) -> Option<&'static Kernel>,
) -> Result<(Plan<'a>, Range<usize>), PlanError> {
    let (tables, blobs) = header(bytes)?;
    let mut reader = Reader { rest: tables };
    let tensors = read_tensors(&mut reader)?;
    let top = || Place::Header;
    let inputs = read_ids(&mut reader, top, "number of inputs", Place::Input)?;
    let outputs = read_ids(&mut reader, top, "number of outputs", Place::Output)?;
    let steps = read_steps(&mut reader, blobs.len(), kernels)?;
    if !reader.rest.is_empty() {
        return Err(field(Place::Header, "table length", Problem::Leftover));
    }
    // zeros between the tables and the weights: nothing hides there
    let gap = bytes.get(HEADER + tables.len()..blobs.start);
    if gap.is_none_or(|gap| gap.iter().any(|byte| *byte != 0)) {
        return Err(field(Place::Header, "padding", Problem::Leftover));
    }
    let plan = Plan {
        tensors,
        inputs,
        outputs,
        steps,
        blobs: Blobs::Borrowed(&[]),
        arena_bytes: 0,
    };
    Ok((plan, blobs))
}

fn field(place: Place, field: &'static str, problem: Problem) -> PlanError {
    PlanError::Field {
        place,
        field,
        problem,
    }
}

/// Checks the header; gives the tables and where the weights are.
fn header(bytes: &[u8]) -> Result<(&[u8], Range<usize>), PlanError> {
    let Some((magic, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(PlanError::Magic);
    };
    if *magic != MAGIC {
        return Err(PlanError::Magic);
    }
    let place = || Place::Header;
    let mut reader = Reader { rest };
    let found = reader.u32(place, "version")?;
    if found != VERSION {
        return Err(PlanError::Version { found });
    }
    let sum = reader.u32(place, "checksum")?;
    let checked = reader.rest;
    let expected = reader.u64(place, "length")?;
    if u64::try_from(bytes.len()) != Ok(expected) {
        return Err(PlanError::Length {
            expected,
            found: bytes.len(),
        });
    }
    let computed = crc32fast::hash(checked);
    if computed != sum {
        return Err(PlanError::Checksum {
            found: sum,
            computed,
        });
    }
    let tables = reader.usize(place, "table length")?;
    let start = reader.usize(place, "offset of the packed weights")?;
    let len = reader.usize(place, "length of the packed weights")?;
    if reader
        .take(16, place, "padding")?
        .iter()
        .any(|byte| *byte != 0)
    {
        return Err(field(Place::Header, "padding", Problem::Value));
    }
    let tables = reader.rest.get(..tables);
    let tables = tables.ok_or_else(|| field(Place::Header, "table length", Problem::Range))?;
    // the weights are what remains, less than 64 bytes behind the tables
    let expected = (HEADER + tables.len()).next_multiple_of(ALIGN);
    if start != expected || start.checked_add(len) != Some(bytes.len()) {
        let name = "offset of the packed weights";
        return Err(field(Place::Header, name, Problem::Range));
    }
    Ok((tables, start..bytes.len()))
}

fn read_tensors<'a>(reader: &mut Reader<'a>) -> Result<Vec<Tensor<'a>>, PlanError> {
    let count = reader.u32(|| Place::Header, "number of tensors")?;
    // grows as records turn up: the count alone allocates nothing
    let mut tensors = Vec::new();
    for index in 0..count as usize {
        let place = || Place::Tensor(index, String::new());
        let name = reader.str(place, "name")?;
        let place = || Place::Tensor(index, name.to_string());
        let dtype = reader.str(place, "dtype")?;
        // the exact name: the format has no short forms
        let dtype = DType::from_name(dtype).filter(|found| found.name() == dtype);
        let dtype = dtype.ok_or_else(|| field(place(), "dtype", Problem::NoDType))?;
        let rank = reader.u32(place, "rank")?;
        let mut shape = Vec::new();
        for _ in 0..rank {
            shape.push(reader.usize(place, "shape")?);
        }
        let qparams = match reader.u8(place, "has scale and zero point")? {
            0 => None,
            1 => Some(QParams {
                scale: f32::from_le_bytes(reader.array(place, "scale")?),
                zero_point: i32::from_le_bytes(reader.array(place, "zero point")?),
            }),
            _ => return Err(field(place(), "has scale and zero point", Problem::Value)),
        };
        let bytes = check::tensor_bytes(place, dtype, &shape, qparams)?;
        tensors.push(Tensor {
            name: Cow::Borrowed(name),
            dtype,
            shape,
            qparams,
            storage: TensorId(reader.u32(place, "memory")?),
            offset: reader.usize(place, "offset")?,
            bytes,
        });
    }
    Ok(tensors)
}

/// A count and that many tensors; `each` is the place of one of them.
fn read_ids(
    reader: &mut Reader<'_>,
    place: impl Fn() -> Place,
    name: &'static str,
    each: impl Fn(usize) -> Place,
) -> Result<Vec<TensorId>, PlanError> {
    let count = reader.u32(place, name)?;
    let mut ids = Vec::new();
    for index in 0..count as usize {
        ids.push(TensorId(reader.u32(|| each(index), "tensor")?));
    }
    Ok(ids)
}

fn read_steps<'a>(
    reader: &mut Reader<'a>,
    blobs: usize,
    kernels: &dyn Fn(&str) -> Option<&'static Kernel>,
) -> Result<Vec<Step<'a>>, PlanError> {
    let count = reader.u32(|| Place::Header, "number of steps")?;
    let mut steps = Vec::new();
    let mut blob_end = 0usize;
    for index in 0..count as usize {
        let place = || Place::Step(index, String::new());
        let name = reader.str(place, "name")?;
        let place = || Place::Step(index, name.to_string());
        let pattern = reader.str(place, "pattern")?;
        let dtype_config = reader.str(place, "dtype config")?;
        let kernel_name = reader.str(place, "kernel")?;
        let kernel = kernels(kernel_name).ok_or_else(|| PlanError::Kernel {
            place: place(),
            kernel: kernel_name.to_string(),
        })?;
        let start = reader.usize(place, "offset of its packed weights")?;
        let len = reader.usize(place, "length of its packed weights")?;
        // one behind the other, so that the same bytes do not count twice
        let end = start.checked_add(len).filter(|end| *end <= blobs);
        let Some(end) = end.filter(|_| start == blob_end.next_multiple_of(ALIGN)) else {
            let name = "offset of its packed weights";
            return Err(field(place(), name, Problem::Range));
        };
        blob_end = end;
        let scratch = reader.usize(place, "scratch")?;
        let multiply_adds = reader.u64(place, "multiply-adds")?;
        let inputs = read_ids(reader, place, "number of inputs", |_| place())?;
        steps.push(Step {
            name: Cow::Borrowed(name),
            pattern: Cow::Borrowed(pattern),
            dtype_config: Cow::Borrowed(dtype_config),
            kernel,
            blob: start..end,
            scratch,
            multiply_adds,
            inputs,
            output: TensorId(reader.u32(place, "output")?),
            split: Split {
                units: 0,
                unit_bytes: 0,
                output_bytes: 0,
                grain: 1,
            },
        });
    }
    if blob_end != blobs {
        return Err(field(Place::Blobs, "length", Problem::Leftover));
    }
    Ok(steps)
}

/// Takes fields off the front of bytes.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(
        &mut self,
        len: usize,
        place: impl Fn() -> Place,
        name: &'static str,
    ) -> Result<&'a [u8], PlanError> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            return Err(field(place(), name, Problem::Ends));
        };
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(
        &mut self,
        place: impl Fn() -> Place,
        name: &'static str,
    ) -> Result<[u8; N], PlanError> {
        let Some((taken, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(field(place(), name, Problem::Ends));
        };
        self.rest = rest;
        Ok(*taken)
    }

    fn u8(&mut self, place: impl Fn() -> Place, name: &'static str) -> Result<u8, PlanError> {
        Ok(u8::from_le_bytes(self.array(place, name)?))
    }

    fn u32(&mut self, place: impl Fn() -> Place, name: &'static str) -> Result<u32, PlanError> {
        Ok(u32::from_le_bytes(self.array(place, name)?))
    }

    fn u64(&mut self, place: impl Fn() -> Place, name: &'static str) -> Result<u64, PlanError> {
        Ok(u64::from_le_bytes(self.array(place, name)?))
    }

    fn usize(&mut self, place: impl Fn() -> Place, name: &'static str) -> Result<usize, PlanError> {
        let value = self.u64(&place, name)?;
        usize::try_from(value).map_err(|_| field(place(), name, Problem::TooLarge))
    }

    fn str(&mut self, place: impl Fn() -> Place, name: &'static str) -> Result<&'a str, PlanError> {
        let len = self.u32(&place, name)?;
        let bytes = self.take(len as usize, &place, name)?;
        core::str::from_utf8(bytes).map_err(|_| field(place(), name, Problem::NotUtf8))
    }
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(ALIGN), 0);
}

fn put_u64(out: &mut Vec<u8>, value: usize) {
    // no machine has wider addresses
    out.extend_from_slice(&(value as u64).to_le_bytes());
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    // tensors, their dimensions and steps in memory stay far below 2^32
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_str(out: &mut Vec<u8>, text: &str) {
    put_count(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn put_id(out: &mut Vec<u8>, id: TensorId) {
    out.extend_from_slice(&id.0.to_le_bytes());
}

fn put_ids(out: &mut Vec<u8>, ids: &[TensorId]) {
    put_count(out, ids.len());
    for id in ids {
        put_id(out, *id);
    }
}

#[cfg(test)]
#[path = "hostile.rs"]
mod hostile;
