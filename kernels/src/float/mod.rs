//! Operators on `float32` tensors: what a plan runs where a node is not quantized. They belong to no backend;
//! one table says which kernel an operator has.
//!
//! Sums of products are chains of fused multiply-adds in a fixed order; all else is made of separately rounded
//! steps, so that loops which the compiler vectorizes for each instruction set give the same bits.

mod binary;
mod cat;
mod choose;
mod depthwise;
mod layer;
mod loops;
mod math;
mod matmul;
mod norm;
mod pad;
mod prelu;
pub(crate) mod product;
mod reduce;
mod select;
mod softmax;
mod to_float;
mod unary;

use qconfig_core::kernel::{Kernel, KernelFamily, NodeOp};

pub use binary::F32Binary;
pub use cat::F32Cat;
pub use choose::F32Where;
pub use layer::{F32Conv, F32ConvTranspose, F32Linear};
pub use matmul::F32MatMul;
pub use norm::F32Norm;
pub use pad::F32Pad;
pub use prelu::F32PRelu;
pub use reduce::F32Reduce;
pub use select::F32Select;
pub use softmax::F32Softmax;
pub use to_float::ToFloat;
pub use unary::F32Unary;

pub(crate) use loops::{Cells, Loop, cells, cells_mut, get, variant, vectorized};

use crate::{
    F32AdaptiveAvgPool, F32Embedding, F32Interpolate, F32Pool, F32Recurrent, Rearrange, Reshape,
    WeightOnlyLinear,
};

/// Every one of them.
pub const FLOAT: &[&Kernel] = &[
    F32Linear::KERNEL,
    WeightOnlyLinear::KERNEL,
    F32Conv::KERNEL,
    F32ConvTranspose::KERNEL,
    F32Binary::KERNEL,
    F32Unary::KERNEL,
    F32PRelu::KERNEL,
    F32MatMul::KERNEL,
    F32Embedding::KERNEL,
    F32Softmax::KERNEL,
    F32Norm::KERNEL,
    F32Reduce::KERNEL,
    F32Pool::KERNEL,
    F32AdaptiveAvgPool::KERNEL,
    F32Cat::KERNEL,
    F32Where::KERNEL,
    F32Pad::KERNEL,
    F32Select::KERNEL,
    F32Interpolate::KERNEL,
    F32Recurrent::KERNEL,
    ToFloat::KERNEL,
    Rearrange::KERNEL,
];

/// The kernel that computes an operator on `float32` tensors, where there is one.
///
/// ```
/// use qconfig_core::kernel::NodeOp;
/// let kernel = qconfig_kernels::float(&NodeOp::Linear).unwrap();
/// assert_eq!(kernel.name, "f32_linear");
/// ```
pub fn float(op: &NodeOp) -> Option<&'static Kernel> {
    Some(match op {
        NodeOp::Linear => F32Linear::KERNEL,
        NodeOp::LinearWeightOnly { .. } => WeightOnlyLinear::KERNEL,
        NodeOp::Conv { .. } | NodeOp::Conv3d { .. } => F32Conv::KERNEL,
        NodeOp::ConvTranspose { .. } => F32ConvTranspose::KERNEL,
        NodeOp::Add | NodeOp::Mul | NodeOp::Binary(_) => F32Binary::KERNEL,
        NodeOp::Unary(_) | NodeOp::Clamp => F32Unary::KERNEL,
        NodeOp::PRelu => F32PRelu::KERNEL,
        NodeOp::MatMul { .. } => F32MatMul::KERNEL,
        NodeOp::Embedding | NodeOp::EmbeddingBag { .. } => F32Embedding::KERNEL,
        NodeOp::Softmax { .. } => F32Softmax::KERNEL,
        NodeOp::BatchNorm { .. } | NodeOp::GroupNorm { .. } | NodeOp::LayerNorm { .. } => {
            F32Norm::KERNEL
        }
        NodeOp::Mean { .. } | NodeOp::GlobalAvgPool | NodeOp::Reduce { .. } => F32Reduce::KERNEL,
        NodeOp::MaxPool { .. }
        | NodeOp::MaxPool3d { .. }
        | NodeOp::AvgPool { .. }
        | NodeOp::AvgPool3d { .. } => F32Pool::KERNEL,
        NodeOp::AdaptiveAvgPool => F32AdaptiveAvgPool::KERNEL,
        NodeOp::Cat { .. } => F32Cat::KERNEL,
        NodeOp::Where => F32Where::KERNEL,
        NodeOp::Pad { .. } => F32Pad::KERNEL,
        NodeOp::Select { .. } => F32Select::KERNEL,
        NodeOp::Interpolate(_) => F32Interpolate::KERNEL,
        NodeOp::Recurrent { .. } => F32Recurrent::KERNEL,
        NodeOp::ToFloat => ToFloat::KERNEL,
        NodeOp::Reshape => Reshape::KERNEL,
        NodeOp::Rearrange(_) => Rearrange::KERNEL,
        _ => return None,
    })
}
