//! How quantized operators are computed: one folder an operator, the scalar reference beside each
//! instruction set, all equal to the bit.
#![cfg_attr(not(feature = "std"), no_std)]

mod add;
mod affine;
mod blob;
mod clamp;
mod dequantize;
mod lut;
mod quantize;
mod requantize;
mod units;
#[cfg(target_arch = "x86_64")]
mod vector;

pub use add::Q8Add;
pub use clamp::Q8Clamp;
pub use dequantize::Dequantize;
pub use quantize::Quantize;
pub use requantize::Requantize;
