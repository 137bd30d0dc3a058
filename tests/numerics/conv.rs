use qconfig_core::KernelFamily;
use qconfig_core::kernel::{NodeOp, NodeSpec};
use qconfig_kernels::{Q8Conv, Q8Depthwise};
use qconfig_tests::golden::{Archive, Case};
use qconfig_tests::harness::{self, Tally};

use crate::node::{Visit, Weight, dtype, quantized, relu, window};

/// A convolution of one or two dimensions.
pub fn node(name: &str, case: &Case<'_>, visit: Visit<'_>) {
    let (x, y) = (
        case.stored("x").channels_last(),
        case.stored("y").channels_last(),
    );
    let weight = Weight::of(case);
    let shape = weight.spec().shape;
    let node = NodeSpec {
        op: NodeOp::Conv {
            window: window(case, &shape[1..shape.len() - 1], &x.shape, &y.shape),
            groups: case.count("groups"),
        },
        activation: relu(case),
        inputs: &[quantized(dtype(name), &x.shape, case.qparams("x"))],
        output: quantized(dtype(name), &y.shape, case.qparams("y")),
        weight: Some(weight.spec()),
        bias: weight.bias(),
        parameters: &[],
        reduce_range: false,
        divide: false,
    };
    visit(&node, &[&x.data], &y.data);
}

fn conv(name: &str) {
    harness::family(name, 200, |case, tally| {
        node(name, case, &mut |node, inputs, y| {
            tally.check(case, Q8Conv::KERNEL, node, inputs, y);
        });
    });
}

/// The cases whose groups have one input channel, by the kernel that is only for them.
#[test]
fn depthwise() {
    let mut tally = Tally::new("depthwise, from conv1d_* and conv2d_*");
    for name in [
        "conv1d_quint8",
        "conv1d_qint8",
        "conv2d_quint8",
        "conv2d_qint8",
    ] {
        let archive = Archive::open(&format!("numerics/{name}.npz"));
        for case in archive.cases() {
            if case.count("groups") == case.stored("x").shape[1] {
                node(name, &case, &mut |node, inputs, y| {
                    tally.check(&case, Q8Depthwise::KERNEL, node, inputs, y);
                });
            }
        }
    }
    tally.finish(150);
}

#[test]
fn one_dimension_quint8() {
    conv("conv1d_quint8");
}

#[test]
fn one_dimension_qint8() {
    conv("conv1d_qint8");
}

#[test]
fn two_dimensions_quint8() {
    conv("conv2d_quint8");
}

#[test]
fn two_dimensions_qint8() {
    conv("conv2d_qint8");
}
