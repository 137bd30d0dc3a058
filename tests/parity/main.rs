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
mod queries;
mod verdicts;

use qconfig_backends::{
    EXECUTORCH, FBGEMM, NATIVE, NATIVE_AND_FP16, ONEDNN, QNNPACK, QNNPACK_PT2E, TENSORRT, X86,
};
use qconfig_core::BackendConfig;

/// The golden data of each backend, its table, and how many patterns and pairs PyTorch has.
const BACKENDS: [(&str, &BackendConfig, usize, usize); 9] = [
    ("qnnpack", &QNNPACK, 190, 404),
    ("fbgemm", &FBGEMM, 192, 225),
    ("x86", &X86, 192, 225),
    ("onednn", &ONEDNN, 221, 244),
    ("executorch", &EXECUTORCH, 84, 172),
    ("tensorrt", &TENSORRT, 149, 149),
    ("native", &NATIVE, 194, 227),
    ("native_and_fp16", &NATIVE_AND_FP16, 194, 328),
    ("qnnpack_pt2e", &QNNPACK_PT2E, 13, 13),
];
