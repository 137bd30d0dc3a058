//! What can be said about a quantized backend: dtypes, constraints, operators, patterns, configs,
//! qconfigs, verdicts. No heap, no start-up code, `no_std`.
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
#[cfg_attr(not(test), allow(unused_extern_crates))]
extern crate alloc;

mod dtype;
mod isa;
pub mod kernel;

pub use dtype::DType;
pub use isa::{Isa, IsaError, IsaLevel};
pub use kernel::{Dispatch, Kernel, KernelFamily};
