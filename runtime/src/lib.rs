//! How a quantized model runs: a [`Plan`] says what to call on which bytes, a [`Session`] owns the
//! memory and the threads and does it.
//!
//! A plan is made once, by a [`PlanBuilder`] or from the bytes of a saved one; making it chooses
//! kernels, packs weights and gives every tensor its place in one arena. Running it then allocates
//! nothing, locks nothing and asks nothing of the environment.
//!
//! ```
//! # mod toy { include!("../tests/toy/mod.rs"); }
//! use qconfig_core::{DType, Isa};
//! use qconfig_runtime::{PlanBuilder, Session, SessionOptions, StepInfo, TensorInfo};
//!
//! let mut builder = PlanBuilder::new();
//! let info = |name| TensorInfo { name, dtype: DType::uint8, shape: &[1, 4], qparams: None };
//! let x = builder.tensor(info("x"))?;
//! let y = builder.tensor(info("y"))?;
//! builder.input(x)?;
//! builder.step(StepInfo::new("next", &toy::ADD_ONE, toy::OP, &[x], y))?;
//! builder.output(y)?;
//! let plan = builder.finish()?;
//!
//! let mut session = Session::new(&plan, SessionOptions::with_isa(Isa::SCALAR))?;
//! session.input_mut(0)?.copy_from_slice(&[1, 2, 3, 4]);
//! session.run()?;
//! assert_eq!(session.output(0)?, [2, 3, 4, 5]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod aligned;
mod arena;
mod builder;
mod check;
mod file;
mod place;
mod plan;
#[cfg(feature = "std")]
mod pool;
#[cfg(feature = "std")]
mod profile;
mod session;

pub use aligned::{ALIGN, Aligned, AlignedBytes};
pub use builder::{BuildError, PlanBuilder, StepInfo, TensorInfo};
pub use check::Flaw;
pub use file::{PlanError, Problem, VERSION};
pub use place::Place;
pub use plan::{MAX_INPUTS, Plan, Step, Tensor, TensorId};
#[cfg(feature = "std")]
pub use pool::{Pool, WorkerPanicked};
#[cfg(feature = "std")]
pub use profile::{Profile, StepProfile};
pub use session::{
    BufferError, MAX_THREADS, PlanRef, RunError, Session, SessionError, SessionOptions,
};
