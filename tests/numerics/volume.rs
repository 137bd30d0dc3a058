//! Convolutions of volumes, and transposed ones.

use qconfig_core::KernelFamily;
use qconfig_core::kernel::{NodeOp, NodeSpec};
use qconfig_kernels::{Q8Conv, Q8ConvTranspose};
use qconfig_tests::golden::Case;
use qconfig_tests::harness;

use crate::node::{Visit, Weight, dtype, quantized, relu, window3};

/// A convolution of volumes, or a transposed one.
pub fn node(name: &str, case: &Case<'_>, transposed: bool, visit: Visit<'_>) {
    let (x, y) = (
        case.stored("x").channels_last(),
        case.stored("y").channels_last(),
    );
    let weight = if transposed {
        Weight::transposed(case)
    } else {
        Weight::of(case)
    };
    let shape = weight.spec().shape;
    let window = window3(case, &shape[1..shape.len() - 1]);
    let groups = case.count("groups");
    let op = if transposed {
        let mut output_padding = [0; 3];
        let more = case.counts("output_padding");
        output_padding[3 - more.len()..].copy_from_slice(&more);
        NodeOp::ConvTranspose {
            window,
            output_padding,
            groups,
        }
    } else {
        NodeOp::Conv3d { window, groups }
    };
    let inputs = [quantized(dtype(name), &x.shape, case.qparams("x"))];
    let node = NodeSpec {
        activation: relu(case),
        weight: Some(weight.spec()),
        bias: weight.bias(),
        ..NodeSpec::new(
            op,
            &inputs,
            quantized(dtype(name), &y.shape, case.qparams("y")),
        )
    };
    visit(&node, &[&x.data], &y.data);
}

fn conv(name: &str, least: usize, transposed: bool) {
    let kernel = if transposed {
        Q8ConvTranspose::KERNEL
    } else {
        Q8Conv::KERNEL
    };
    harness::family(name, least, |case, tally| {
        node(name, case, transposed, &mut |node, inputs, y| {
            tally.check(case, kernel, node, inputs, y);
        });
    });
}

#[test]
fn three_dimensions_quint8() {
    conv("conv3d_quint8", 200, false);
}

#[test]
fn transposed_one_dimension_quint8() {
    conv("conv_transpose1d_quint8", 200, true);
}

#[test]
fn transposed_two_dimensions_quint8() {
    conv("conv_transpose2d_quint8", 200, true);
}

#[test]
fn transposed_one_dimension_qint8() {
    conv("conv_transpose1d_qint8", 100, true);
}

#[test]
fn transposed_two_dimensions_qint8() {
    conv("conv_transpose2d_qint8", 100, true);
}
