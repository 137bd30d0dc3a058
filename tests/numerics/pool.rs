use qconfig_core::KernelFamily;
use qconfig_core::kernel::{Activation, Kernel, NodeOp, NodeSpec};
use qconfig_kernels::{Q8AvgPool, Q8GlobalAvgPool, Q8MaxPool};
use qconfig_tests::golden::{Case, Tensor};
use qconfig_tests::harness;

use crate::node::{Visit, dtype, quantized, window};

/// What a case computes, from its input and output.
pub type Op = fn(&Case<'_>, &Tensor<u8>, &Tensor<u8>) -> NodeOp;

/// A pool of lines or images.
pub fn node(name: &str, case: &Case<'_>, op: Op, visit: Visit<'_>) {
    let x = case.stored("x").channels_last();
    let mut y = case.stored("y").channels_last();
    if y.shape.len() < x.shape.len() {
        // torch's mean drops the spatial axes
        y.shape = vec![y.shape[0], 1, 1, y.shape[1]];
    }
    let node = NodeSpec {
        op: op(case, &x, &y),
        activation: Activation::None,
        inputs: &[quantized(dtype(name), &x.shape, case.qparams("x"))],
        output: quantized(dtype(name), &y.shape, case.qparams("y")),
        weight: None,
        bias: None,
        parameters: &[],
        reduce_range: false,
        divide: false,
    };
    visit(&node, &[&x.data], &y.data);
}

fn pool(name: &str, kernel: &Kernel, op: Op) {
    harness::family(name, 200, |case, tally| {
        node(name, case, op, &mut |node, inputs, y| {
            tally.check(case, kernel, node, inputs, y);
        });
    });
}

fn max_pool(name: &str) {
    pool(name, Q8MaxPool::KERNEL, |case, x, y| NodeOp::MaxPool {
        window: window(case, &case.counts("kernel"), &x.shape, &y.shape),
    });
}

#[test]
fn max_one_dimension_quint8() {
    max_pool("max_pool1d_quint8");
}

#[test]
fn max_two_dimensions_quint8() {
    max_pool("max_pool2d_quint8");
}

#[test]
fn max_two_dimensions_qint8() {
    max_pool("max_pool2d_qint8");
}

#[test]
fn average_quint8() {
    pool("avg_pool2d_quint8", Q8AvgPool::KERNEL, average);
}

/// Of an average that counts the padding.
pub fn average(case: &Case<'_>, x: &Tensor<u8>, y: &Tensor<u8>) -> NodeOp {
    NodeOp::AvgPool {
        window: window(case, &case.counts("kernel"), &x.shape, &y.shape),
        count_include_pad: true,
        divisor_override: None,
    }
}

#[test]
fn global_average_quint8() {
    pool(
        "adaptive_avg_pool2d_quint8",
        Q8GlobalAvgPool::KERNEL,
        |_, _, _| NodeOp::GlobalAvgPool,
    );
}

#[test]
fn mean_quint8() {
    pool("mean_quint8", Q8GlobalAvgPool::KERNEL, |_, _, _| {
        NodeOp::GlobalAvgPool
    });
}
