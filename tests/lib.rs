//! What the tests share: readers of the golden data, and a harness around kernels.
//!
//! Everything here serves tests and fails by panicking.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

pub mod golden;
pub mod harness;
pub mod qconfigs;
