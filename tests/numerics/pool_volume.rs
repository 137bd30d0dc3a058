//! Pools of volumes, adaptive pools and means over any axes. Where torch dequantizes, averages floats and
//! quantizes, one step is what it may be away.

use qconfig_core::KernelFamily;
use qconfig_core::kernel::{Kernel, NodeOp, NodeSpec};
use qconfig_kernels::{Q8AdaptiveAvgPool, Q8AvgPool, Q8MaxPool, Q8Mean};
use qconfig_tests::golden::{Case, Tensor};
use qconfig_tests::harness::{self, differences, steps};

use crate::node::{dtype, quantized, window3};

fn pool(
    name: &str,
    least: usize,
    kernel: &Kernel,
    most: u8,
    op: impl Fn(&Case<'_>, &Tensor<u8>, &Tensor<u8>) -> NodeOp,
) {
    harness::family(name, least, |case, tally| {
        let x = case.stored("x").channels_last();
        let y = case.stored("y").channels_last();
        let inputs = [quantized(dtype(name), &x.shape, case.qparams("x"))];
        let output = quantized(dtype(name), &y.shape, case.qparams("y"));
        let node = NodeSpec::new(op(case, &x, &y), &inputs, output);
        tally.check_with(case, kernel, &node, &[&x.data], |got| match most {
            0 => differences(got, &y.data),
            _ => steps(got, &y.data, most),
        });
    });
}

#[test]
fn max_three_dimensions_quint8() {
    pool(
        "max_pool3d_quint8",
        150,
        Q8MaxPool::KERNEL,
        0,
        |case, _, _| {
            let window = window3(case, &case.counts("kernel"));
            NodeOp::MaxPool3d { window }
        },
    );
}

#[test]
fn average_three_dimensions_quint8() {
    pool(
        "avg_pool3d_quint8",
        150,
        Q8AvgPool::KERNEL,
        1,
        |case, _, _| NodeOp::AvgPool3d {
            window: window3(case, &case.counts("kernel")),
            count_include_pad: case.flag("count_include_pad"),
            divisor_override: Some(case.count("divisor_override")).filter(|n| *n > 0),
        },
    );
}

#[test]
fn adaptive_average_quint8() {
    for (name, least) in [
        ("adaptive_avg_pool1d_any_quint8", 100),
        ("adaptive_avg_pool2d_any_quint8", 150),
        ("adaptive_avg_pool3d_any_quint8", 100),
    ] {
        let op = |_: &Case<'_>, _: &Tensor<u8>, _: &Tensor<u8>| NodeOp::AdaptiveAvgPool;
        pool(name, least, Q8AdaptiveAvgPool::KERNEL, 1, op);
    }
}

/// In torch's own order of axes: a mean knows no layout.
#[test]
fn mean_over_any_axes_quint8() {
    harness::family("mean_any_quint8", 200, |case, tally| {
        let (x, y) = (case.stored("x"), case.stored("y"));
        let axes = case.counts("axes");
        let axes = axes.iter().fold(0, |mask, axis| mask | 1 << axis);
        let inputs = [quantized(dtype("quint8"), &x.shape, case.qparams("x"))];
        let output = quantized(dtype("quint8"), &y.shape, case.qparams("y"));
        let node = NodeSpec::new(NodeOp::Mean { axes }, &inputs, output);
        tally.check_with(case, Q8Mean::KERNEL, &node, &[&x.data], |got| {
            steps(got, &y.data, 1)
        });
    });
}
