//! The same values as torch 2.8.0, to the bit, on every instruction set that this machine has and
//! however the work is cut.
//!
//! `engines` compares with the engines fbgemm, x86 and onednn, all others with qnnpack where it has the operator.
//!
//! Exceptions: `linear_dynamic_fp16` is compared within a tolerance where FBGEMM adds partial sums, and
//! recurrent layers are, because of their `tanh`s; see their modules.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "tests fail by panicking"
)]

mod activation;
mod add;
mod cat;
mod choose_qparams;
mod conv;
mod convert;
mod defects;
mod embedding;
mod engines;
mod interpolate;
mod linear;
mod linear_dynamic;
mod matmul;
mod mul;
mod node;
mod norm;
mod observers;
mod pool;
mod pool_volume;
mod prelu;
mod recurrent;
mod softmax;
mod unary;
mod volume;
