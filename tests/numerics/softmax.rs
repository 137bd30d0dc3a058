use qconfig_core::KernelFamily;
use qconfig_core::kernel::{NodeOp, NodeSpec};
use qconfig_kernels::Q8Softmax;
use qconfig_tests::harness;

use crate::node::{dtype, quantized};

#[test]
fn quint8() {
    harness::family("softmax_quint8", 200, |case, tally| {
        let (x, y) = (case.stored("x"), case.stored("y"));
        let of = dtype("softmax_quint8");
        let inputs = [quantized(of, &x.shape, case.qparams("x"))];
        let axis = case.count("axis");
        let output = quantized(of, &y.shape, case.qparams("y"));
        let node = NodeSpec::new(NodeOp::Softmax { axis }, &inputs, output);
        tally.check(case, Q8Softmax::KERNEL, &node, &[&x.data], &y.data);
    });
}
