//! Normalizations. torch normalizes in floats, and one step is what it may be away.

use qconfig_core::KernelFamily;
use qconfig_core::kernel::{Kernel, NodeOp, NodeSpec, WeightSpec};
use qconfig_kernels::{Q8BatchNorm, Q8GroupNorm, Q8LayerNorm};
use qconfig_tests::golden::Case;
use qconfig_tests::harness::{self, steps};

use crate::node::{Visit, dtype, quantized, relu};

/// A normalization with the parameters of these names.
pub fn node(name: &str, case: &Case<'_>, names: &[&str], op: NodeOp, visit: Visit<'_>) {
    let (mut x, mut y) = (case.stored("x"), case.stored("y"));
    if case.count("axes") == 0 {
        (x, y) = (x.channels_last(), y.channels_last());
    }
    let values: Vec<Vec<f32>> = names.iter().map(|name| case.f32(name).data).collect();
    let parameters: Vec<WeightSpec<'_>> = values
        .iter()
        .map(|values| WeightSpec::float(values))
        .collect();
    let inputs = [quantized(dtype(name), &x.shape, case.qparams("x"))];
    let node = NodeSpec {
        activation: relu(case),
        parameters: &parameters,
        ..NodeSpec::new(
            op,
            &inputs,
            quantized(dtype(name), &y.shape, case.qparams("y")),
        )
    };
    visit(&node, &[&x.data], &y.data);
}

fn norm(
    name: &str,
    least: usize,
    kernel: &Kernel,
    names: &[&str],
    op: impl Fn(&Case<'_>, f32) -> NodeOp,
) {
    harness::family(name, least, |case, tally| {
        let op = op(case, case.number("eps") as f32);
        node(name, case, names, op, &mut |node, inputs, y| {
            tally.check_with(case, kernel, node, inputs, |got| steps(got, y, 1));
        });
    });
}

#[test]
fn batch_norm() {
    for (name, least) in [("batch_norm_quint8", 100), ("batch_norm_qint8", 60)] {
        let names = ["w", "bias", "mean", "var"];
        norm(name, least, Q8BatchNorm::KERNEL, &names, |_, eps| {
            NodeOp::BatchNorm { eps }
        });
    }
}

#[test]
fn group_and_instance_norm() {
    for name in ["group_norm_quint8", "instance_norm_quint8"] {
        norm(
            name,
            100,
            Q8GroupNorm::KERNEL,
            &["w", "bias"],
            |case, eps| {
                let groups = case.count("groups");
                NodeOp::GroupNorm { groups, eps }
            },
        );
    }
}

#[test]
fn layer_norm() {
    let names = ["w", "bias"];
    norm(
        "layer_norm_quint8",
        100,
        Q8LayerNorm::KERNEL,
        &names,
        |case, eps| {
            let axes = case.count("axes");
            NodeOp::LayerNorm { axes, eps }
        },
    );
}
