//! Quantize, dequantize, requantize.

use qconfig_core::kernel::{Activation, NodeOp, NodeSpec, QParams};
use qconfig_core::{DType, KernelFamily};
use qconfig_kernels::{Dequantize, Quantize, Requantize};
use qconfig_tests::harness::{self, bytes, float_differences};

use crate::node::{dtype, float, quantized};

fn quantize(name: &str) {
    harness::family(name, 200, |case, tally| {
        let (x, y) = (case.f32("x"), case.stored("y"));
        let node = NodeSpec {
            op: NodeOp::Quantize,
            activation: Activation::None,
            inputs: &[float(&x.shape)],
            output: quantized(dtype(name), &y.shape, case.qparams("y")),
            weight: None,
            bias: None,
            parameters: &[],
            reduce_range: false,
            divide: false,
        };
        tally.check(case, Quantize::KERNEL, &node, &[&bytes(&x.data)], &y.data);
    });
}

#[test]
fn quantize_quint8() {
    quantize("quantize_quint8");
}

#[test]
fn quantize_qint8() {
    quantize("quantize_qint8");
}

/// Channels are quantized one by one when weights are converted: each is a tensor of its own.
#[test]
fn quantize_per_channel_qint8() {
    harness::family("quantize_per_channel_qint8", 200, |case, tally| {
        let (x, y) = (case.f32("x"), case.stored("y"));
        let (scales, zero_points) = (case.f32("scales").data, case.i32("zero_points"));
        let columns = x.shape[1];
        let shape = [columns];
        for (c, (scale, zero_point)) in scales.iter().zip(zero_points).enumerate() {
            let row = c * columns..(c + 1) * columns;
            let qparams = QParams {
                scale: *scale,
                zero_point,
            };
            let node = NodeSpec {
                op: NodeOp::Quantize,
                activation: Activation::None,
                inputs: &[float(&shape)],
                output: quantized(DType::qint8, &shape, qparams),
                weight: None,
                bias: None,
                parameters: &[],
                reduce_range: false,
                divide: false,
            };
            let x = bytes(&x.data[row.clone()]);
            tally.check(case, Quantize::KERNEL, &node, &[&x], &y.data[row]);
        }
    });
}

fn dequantize(name: &str) {
    harness::family(name, 200, |case, tally| {
        let (x, y) = (case.stored("x"), case.f32("y"));
        let node = NodeSpec {
            op: NodeOp::Dequantize,
            activation: Activation::None,
            inputs: &[quantized(dtype(name), &x.shape, case.qparams("x"))],
            output: float(&y.shape),
            weight: None,
            bias: None,
            parameters: &[],
            reduce_range: false,
            divide: false,
        };
        tally.check_with(case, Dequantize::KERNEL, &node, &[&x.data], |got| {
            float_differences(got, &y.data)
        });
    });
}

#[test]
fn dequantize_quint8() {
    dequantize("dequantize_quint8");
}

#[test]
fn dequantize_qint8() {
    dequantize("dequantize_qint8");
}

fn requantize(from: &str, to: &str, least: usize) {
    harness::family(&format!("requantize_{from}_{to}"), least, |case, tally| {
        let (x, y) = (case.stored("x"), case.stored("y"));
        let node = NodeSpec {
            op: NodeOp::Requantize,
            activation: Activation::None,
            inputs: &[quantized(dtype(from), &x.shape, case.qparams("x"))],
            output: quantized(dtype(to), &y.shape, case.qparams("y")),
            weight: None,
            bias: None,
            parameters: &[],
            reduce_range: false,
            divide: false,
        };
        tally.check(case, Requantize::KERNEL, &node, &[&x.data], &y.data);
    });
}

#[test]
fn requantize_quint8_quint8() {
    requantize("quint8", "quint8", 200);
}

#[test]
fn requantize_qint8_qint8() {
    requantize("qint8", "qint8", 200);
}

#[test]
fn requantize_quint8_qint8() {
    requantize("quint8", "qint8", 100);
}

#[test]
fn requantize_qint8_quint8() {
    requantize("qint8", "quint8", 100);
}
