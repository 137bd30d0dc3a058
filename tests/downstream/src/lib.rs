//! A backend of somebody's own on top of PyTorch's QNNPACK: one dtype config replaced, one pattern gone, one operator
//! that PyTorch does not have, with its kernel.
#![no_std]
#![deny(warnings)]

extern crate std;

pub mod kernel;
pub mod operator;

qconfig::backend_config! {
    /// QNNPACK on a chip that adds in seven bits and squares what is positive.
    pub backend CHIP = "chip" extends qconfig::backends::QNNPACK;

    dtype seven_bits = quint8 { quant in 0..=127 };
    override config default_quint8 { input: seven_bits, output: seven_bits }

    remove pattern nn::Hardswish;

    /// `max(x, 0)^2`
    pattern crate::operator::SquaredRelu: default_quint8 { kernel => crate::kernel::SquaredRelu; }
}

qconfig::kernels! {
    /// What the chip's small network runs.
    pub static NETWORK: chip;

    nn::Linear @ weighted_quint8;
    crate::operator::SquaredRelu @ default_quint8;
    kernel qconfig::kernels::Quantize;
    kernel qconfig::kernels::Dequantize;
    kernel qconfig::kernels::Requantize;
}
