use qconfig_core::KernelFamily;
use qconfig_core::kernel::{NodeOp, NodeSpec};
use qconfig_kernels::Q8Linear;
use qconfig_tests::golden::Case;
use qconfig_tests::harness;

use crate::node::{Visit, Weight, dtype, quantized, relu};

/// A linear layer.
pub fn node(name: &str, case: &Case<'_>, visit: Visit<'_>) {
    let (x, y, weight) = (case.stored("x"), case.stored("y"), Weight::of(case));
    let node = NodeSpec {
        op: NodeOp::Linear,
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

fn linear(name: &str) {
    harness::family(name, 200, |case, tally| {
        node(name, case, &mut |node, inputs, y| {
            tally.check(case, Q8Linear::KERNEL, node, inputs, y);
        });
    });
}

#[test]
fn quint8() {
    linear("linear_quint8");
}

#[test]
fn qint8() {
    linear("linear_qint8");
}
