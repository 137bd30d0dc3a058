//! The same data and the same decisions as torch 2.8.0.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "tests fail by panicking"
)]

mod backend;
mod mapping;
mod table;
mod verdicts;
