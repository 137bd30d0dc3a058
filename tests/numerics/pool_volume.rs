//! Pools of volumes, adaptive pools and means over any axes. Where torch dequantizes, averages floats and
//! quantizes, one step is what it may be away.

use qconfig_core::KernelFamily;
use qconfig_core::kernel::{Kernel, NodeOp, NodeSpec};
use qconfig_kernels::{Q8AdaptiveAvgPool, Q8AvgPool, Q8MaxPool, Q8Mean};
use qconfig_tests::golden::Case;
use qconfig_tests::harness::{self, steps};

use crate::node::{Visit, dtype, quantized, window3};
use crate::pool::Op;

/// A pool of anything.
pub fn node(name: &str, case: &Case<'_>, op: Op, visit: Visit<'_>) {
    let x = case.stored("x").channels_last();
    let y = case.stored("y").channels_last();
    let inputs = [quantized(dtype(name), &x.shape, case.qparams("x"))];
    let output = quantized(dtype(name), &y.shape, case.qparams("y"));
    let node = NodeSpec::new(op(case, &x, &y), &inputs, output);
    visit(&node, &[&x.data], &y.data);
}

fn pool(name: &str, least: usize, kernel: &Kernel, most: u8, op: Op) {
    harness::family(name, least, |case, tally| {
        node(name, case, op, &mut |node, inputs, y| {
            tally.check_with(case, kernel, node, inputs, |got| steps(got, y, most));
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
        pool(name, least, Q8AdaptiveAvgPool::KERNEL, 1, |_, _, _| {
            NodeOp::AdaptiveAvgPool
        });
    }
}

/// In torch's own order of axes: a mean knows no layout.
#[test]
fn mean_over_any_axes_quint8() {
    let name = "mean_any_quint8";
    harness::family(name, 200, |case, tally| {
        mean(name, case, &mut |node, inputs, y| {
            tally.check_with(case, Q8Mean::KERNEL, node, inputs, |got| steps(got, y, 1));
        });
    });
}

/// A mean over any axes.
pub fn mean(name: &str, case: &Case<'_>, visit: Visit<'_>) {
    let (x, y) = (case.stored("x"), case.stored("y"));
    let axes = case.counts("axes");
    let axes = axes.iter().fold(0, |mask, axis| mask | 1 << axis);
    let inputs = [quantized(dtype(name), &x.shape, case.qparams("x"))];
    let output = quantized(dtype(name), &y.shape, case.qparams("y"));
    let node = NodeSpec::new(NodeOp::Mean { axes }, &inputs, output);
    visit(&node, &[&x.data], &y.data);
}
