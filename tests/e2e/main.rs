//! Whole networks, and what happens to bad input on the way.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "tests fail by panicking"
)]

mod bad_input;
mod bad_json;
mod bias;
mod cat;
mod clamps;
mod decisions;
mod digits_accuracy;
mod digits_observers;
mod digits_plan;
mod digits_torch;
mod dynamic_models;
mod elementwise;
mod embedding;
mod engines;
mod equalize;
mod every_pair;
mod float_ops;
mod float_plan;
mod flow;
mod interpolate;
mod matmul;
mod movement;
mod onnx_models;
mod quantized_models;
mod recurrent;
mod sharing;
mod spatial;
mod weight_only;
