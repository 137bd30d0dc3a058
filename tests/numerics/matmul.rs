use qconfig_core::KernelFamily;
use qconfig_core::kernel::{NodeOp, NodeSpec};
use qconfig_kernels::Q8MatMul;
use qconfig_tests::harness;

use crate::node::{dtype, quantized};

fn matmul(name: &str, least: usize) {
    harness::family(name, least, |case, tally| {
        let (a, b, y) = (case.stored("a"), case.stored("b"), case.stored("y"));
        let inputs = [
            quantized(dtype(name), &a.shape, case.qparams("a")),
            quantized(dtype(name), &b.shape, case.qparams("b")),
        ];
        let output = quantized(dtype(name), &y.shape, case.qparams("y"));
        let node = NodeSpec::new(NodeOp::MatMul { transposed: false }, &inputs, output);
        tally.check(case, Q8MatMul::KERNEL, &node, &[&a.data, &b.data], &y.data);
    });
}

#[test]
fn quint8() {
    matmul("matmul_quint8", 150);
}

#[test]
fn qint8() {
    matmul("matmul_qint8", 70);
}
