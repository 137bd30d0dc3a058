//! The stages of `backend_config!` and `op_groups!`, an ordinary library: tokens in, tokens out.
//!
//! Read [`ast`] first: its comments are the grammar. [`parse`] reads it, [`model`] resolves names and
//! spreads groups, [`check`] holds every rule against it, [`expand`] writes the Rust. [`diag`] is what
//! a user is told. The rules themselves are `qconfig-core`'s, so that a config that comes as JSON is
//! held against the same ones.
#![forbid(unsafe_code)]

pub mod ast;
pub mod check;
pub mod diag;
pub mod expand;
#[cfg(feature = "tools")]
pub mod format;
#[cfg(feature = "tools")]
pub mod import;
pub mod model;
pub mod parse;
mod source;
pub mod suggest;
mod vocabulary;

pub use source::{backend_config, kernels, op_groups};
