//! How operators are computed, quantized ones and those that stay float: one folder an operator, the scalar
//! reference beside each instruction set, all equal to the bit.
#![cfg_attr(not(feature = "std"), no_std)]

mod add;
mod affine;
mod blob;
mod broadcast;
mod cat;
mod clamp;
mod constant;
mod depthwise;
mod dequantize;
mod embedding;
mod f16_linear_dynamic;
pub mod fbgemm;
mod float;
mod gemm;
mod glue;
mod interpolate;
mod layout;
mod lut;
mod matmul;
mod mul;
#[cfg(target_arch = "aarch64")]
mod neon;
mod norm;
mod output;
mod peak;
mod pool;
mod prelu;
mod q8_conv;
mod q8_conv_transpose;
mod q8_linear;
mod q8_linear_dynamic;
mod q8_lut;
mod quantize;
mod rearrange;
mod recurrent;
mod requantize;
mod reshape;
mod smooth;
mod softmax;
mod spatial;
mod units;
#[cfg(target_arch = "x86_64")]
mod vector;
mod volume;
mod weight_only;

pub use add::Q8Add;
pub use cat::Q8Cat;
pub use clamp::Q8Clamp;
pub use constant::Constant;
pub use depthwise::Q8Depthwise;
pub use dequantize::Dequantize;
pub use embedding::{EmbeddingRowwise, F32Embedding};
pub use f16_linear_dynamic::F16LinearDynamic;
pub use float::{
    F32Binary, F32Cat, F32Conv, F32ConvTranspose, F32Linear, F32MatMul, F32Norm, F32PRelu, F32Pad,
    F32Reduce, F32Select, F32Softmax, F32Unary, F32Where, FLOAT, ToFloat, float,
};
pub use glue::{GLUE, glue};
pub use interpolate::{F32Interpolate, Q8Interpolate};
pub use layout::{ToChannelsFirst, ToChannelsLast};
pub use matmul::Q8MatMul;
pub use mul::Q8Mul;
pub use norm::{Q8BatchNorm, Q8GroupNorm, Q8LayerNorm};
pub use peak::multiply_adds;
#[cfg(feature = "std")]
pub use peak::peak;
pub use pool::{
    F32AdaptiveAvgPool, F32Pool, Q8AdaptiveAvgPool, Q8AvgPool, Q8GlobalAvgPool, Q8MaxPool, Q8Mean,
};
pub use prelu::Q8PRelu;
pub use q8_conv::Q8Conv;
pub use q8_conv_transpose::Q8ConvTranspose;
pub use q8_linear::Q8Linear;
pub use q8_linear_dynamic::{Q8LinearDynamic, dynamic_qparams};
pub use q8_lut::{Q8Lut, binary, padded_position, scalar_qparams, unary};
pub use quantize::Quantize;
pub use rearrange::Rearrange;
pub use recurrent::{F16Recurrent, F32Recurrent, Q8Recurrent};
pub use requantize::Requantize;
pub use reshape::Reshape;
pub use softmax::Q8Softmax;
pub use weight_only::WeightOnlyLinear;
