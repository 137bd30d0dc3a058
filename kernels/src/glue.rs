//! The kernels that join quantized patterns to floats, to constants and to each other; they belong to no
//! backend.

use qconfig_core::{Kernel, KernelFamily};

use crate::{Constant, Dequantize, Quantize, Requantize, Reshape, ToChannelsFirst, ToChannelsLast};

/// Every one of them.
pub const GLUE: &[&Kernel] = &[
    Quantize::KERNEL,
    Dequantize::KERNEL,
    Requantize::KERNEL,
    Reshape::KERNEL,
    Constant::KERNEL,
    ToChannelsFirst::KERNEL,
    ToChannelsLast::KERNEL,
];

/// The one of that name, or the kernel of that name which computes on floats, for plans that are read from
/// bytes.
///
/// ```
/// assert!(qconfig_kernels::glue("quantize").is_some());
/// assert!(qconfig_kernels::glue("f32_linear").is_some());
/// ```
pub fn glue(name: &str) -> Option<&'static Kernel> {
    let all = GLUE.iter().chain(crate::FLOAT);
    all.copied().find(|kernel| kernel.name == name)
}
