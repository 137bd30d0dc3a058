use qconfig_core::KernelFamily;
use qconfig_core::kernel::{NodeOp, NodeSpec};
use qconfig_kernels::Q8Mul;
use qconfig_tests::harness;

use crate::node::{dtype, quantized, relu};

/// Logical order on both sides: the shapes broadcast alike.
fn mul(name: &str) {
    harness::family(name, 200, |case, tally| {
        let (a, b, y) = (case.stored("a"), case.stored("b"), case.stored("y"));
        let inputs = [
            quantized(dtype(name), &a.shape, case.qparams("a")),
            quantized(dtype(name), &b.shape, case.qparams("b")),
        ];
        let output = quantized(dtype(name), &y.shape, case.qparams("y"));
        let node = NodeSpec {
            activation: relu(case),
            ..NodeSpec::new(NodeOp::Mul, &inputs, output)
        };
        tally.check(case, Q8Mul::KERNEL, &node, &[&a.data, &b.data], &y.data);
    });
}

#[test]
fn quint8() {
    mul("mul_quint8");
}

#[test]
fn qint8() {
    mul("mul_qint8");
}
