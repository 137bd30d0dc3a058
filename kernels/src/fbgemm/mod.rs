//! Kernels with the numerics of PyTorch's engines fbgemm, x86 and onednn, beside those of the same names with
//! QNNPACK's: what those engines compute otherwise. All else is one formula in all engines, or within a step of
//! each other's, and has one kernel.
//!
//! With an exact `i32` sum `acc` of `(a - za) * (w - zw)`,
//!
//! - quantized layers and convolutions: `out = clamp(rne((f32(acc) + bias_f) * mult) + zo)` with
//!   `mult = (sa * sw) / so`; `bias_f = bias / (sa * sw)` where each output channel has a scale,
//!   `bias * f32(1.0 / (sa * sw))` where there is one for all (FBGEMM, `ReQuantizeOutput` with a float bias;
//!   oneDNN is within a step of it);
//! - dynamic layers: `y = fma(f32(acc), xs * sw, bias)`, with `reduce_range` honoured;
//! - sums: `quantize(sa * (a - za) + sb * (b - zb))` (ATen);
//! - functions: `quantize(f(x))` without exception (ATen).
//!
//! Torch itself multiplies pairs of products into 16 bits where the CPU has no dot-product instruction, and in its
//! depthwise kernel everywhere: these saturate with activations of 8 bits. Here no sum does.

use qconfig_core::kernel::{Kernel, Signature};
use qconfig_core::{DType, KernelFamily};

use crate::volume::Convolution;
use crate::{
    add, gemm, lut, q8_conv, q8_conv_transpose, q8_linear, q8_linear_dynamic, q8_lut, recurrent,
};

const QUANTIZED: &[DType] = &[DType::quint8, DType::qint8];

/// [`Q8Linear`](crate::Q8Linear) with FBGEMM's scales and biases. See the module.
#[derive(Clone, Copy, Debug)]
pub struct Q8Linear;

impl KernelFamily for Q8Linear {
    const KERNEL: &'static Kernel = &Kernel {
        name: q8_linear::FBGEMM.tag.kernel,
        signature: q8_conv::SIGNATURE,
        sizes: |node| q8_linear::sizes(q8_linear::FBGEMM, node),
        pack: |node, blob| q8_linear::pack(q8_linear::FBGEMM, node, blob),
        split: |blob, inputs| gemm::split_image(q8_linear::FBGEMM, blob, inputs),
        run: |call| gemm::run_image(q8_linear::FBGEMM, call),
        variant: |blob, isa| gemm::variant_of(q8_linear::FBGEMM, blob, isa),
    };
}

/// [`Q8LinearDynamic`](crate::Q8LinearDynamic) whose product and bias are one fused multiply-add. See the module.
#[derive(Clone, Copy, Debug)]
pub struct Q8LinearDynamic;

impl KernelFamily for Q8LinearDynamic {
    const KERNEL: &'static Kernel = &Kernel {
        name: q8_linear_dynamic::FBGEMM.tag.kernel,
        signature: q8_linear_dynamic::SIGNATURE,
        sizes: |node| q8_linear_dynamic::sizes(q8_linear_dynamic::FBGEMM, node),
        pack: |node, blob| q8_linear_dynamic::pack(q8_linear_dynamic::FBGEMM, node, blob),
        split: |blob, inputs| q8_linear_dynamic::split(q8_linear_dynamic::FBGEMM, blob, inputs),
        run: |call| q8_linear_dynamic::run(q8_linear_dynamic::FBGEMM, call),
        variant: |blob, isa| gemm::variant_of(q8_linear_dynamic::FBGEMM, blob, isa),
    };
}

/// [`Q8Conv`](crate::Q8Conv) with FBGEMM's scales and biases. See the module.
#[derive(Clone, Copy, Debug)]
pub struct Q8Conv;

impl KernelFamily for Q8Conv {
    const KERNEL: &'static Kernel = &Kernel {
        name: q8_conv::FBGEMM.name(),
        signature: q8_conv::SIGNATURE,
        sizes: |node| q8_conv::FBGEMM.sizes(node),
        pack: |node, blob| q8_conv::FBGEMM.pack(node, blob),
        split: |blob, inputs| q8_conv::FBGEMM.split(blob, inputs),
        run: |call| q8_conv::FBGEMM.run(call),
        variant: |blob, isa| q8_conv::FBGEMM.variant(blob, isa),
    };
}

/// [`Q8ConvTranspose`](crate::Q8ConvTranspose) with FBGEMM's scales and biases. See the module.
#[derive(Clone, Copy, Debug)]
pub struct Q8ConvTranspose;

impl KernelFamily for Q8ConvTranspose {
    const KERNEL: &'static Kernel = &Kernel {
        name: q8_conv_transpose::FBGEMM.tag.kernel,
        signature: q8_conv::SIGNATURE,
        sizes: |node| q8_conv_transpose::sizes(q8_conv_transpose::FBGEMM, node),
        pack: |node, blob| q8_conv_transpose::pack(q8_conv_transpose::FBGEMM, node, blob),
        split: |blob, inputs| q8_conv_transpose::FBGEMM.split(blob, inputs),
        run: |call| q8_conv_transpose::FBGEMM.run(call),
        variant: |_, isa| Convolution::variant(isa),
    };
}

/// [`Q8Add`](crate::Q8Add) in ATen's form, whatever the scales. See the module.
#[derive(Clone, Copy, Debug)]
pub struct Q8Add;

impl KernelFamily for Q8Add {
    const KERNEL: &'static Kernel = &Kernel {
        name: add::FBGEMM.tag.kernel,
        signature: Signature::activations(QUANTIZED, QUANTIZED),
        sizes: |node| add::FBGEMM.sizes(node),
        pack: |node, blob| add::FBGEMM.pack(node, blob),
        split: |blob, inputs| add::FBGEMM.split(blob, inputs),
        run: |call| add::FBGEMM.run(call),
        variant: |blob, isa| add::FBGEMM.variant(blob, isa),
    };
}

/// [`Q8Lut`](crate::Q8Lut) in ATen's form: hardswish and tanh are rounded before the zero point is added. See the
/// module.
#[derive(Clone, Copy, Debug)]
pub struct Q8Lut;

impl KernelFamily for Q8Lut {
    const KERNEL: &'static Kernel = &Kernel {
        name: q8_lut::FBGEMM.tag.kernel,
        signature: Signature::activations(QUANTIZED, QUANTIZED),
        sizes: |node| q8_lut::FBGEMM.sizes(node),
        pack: |node, blob| q8_lut::FBGEMM.pack(node, blob),
        split: |blob, inputs| q8_lut::FBGEMM.split(blob, inputs),
        run: |call| q8_lut::FBGEMM.run(call),
        variant: |_, isa| lut::variant(isa),
    };
}

/// [`Q8Recurrent`](crate::Q8Recurrent) of [`Q8LinearDynamic`]s with fused biases. See the module.
#[derive(Clone, Copy, Debug)]
pub struct Q8Recurrent;

impl KernelFamily for Q8Recurrent {
    const KERNEL: &'static Kernel = &Kernel {
        name: recurrent::FBGEMM.tag.kernel,
        signature: q8_linear_dynamic::SIGNATURE,
        sizes: |node| recurrent::sizes(recurrent::FBGEMM, node),
        pack: |node, blob| recurrent::pack(recurrent::FBGEMM, node, blob),
        split: |blob, inputs| recurrent::split(recurrent::FBGEMM, blob, inputs),
        run: |call| recurrent::run(recurrent::FBGEMM, call),
        variant: |_, isa| gemm::variant(isa),
    };
}
