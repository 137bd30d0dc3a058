use qconfig_core::KernelFamily;
use qconfig_core::kernel::{Activation, NodeOp, NodeSpec};
use qconfig_kernels::Q8Clamp;
use qconfig_tests::harness;

use crate::node::{dtype, quantized};

fn clamp(name: &str) {
    harness::family(name, 200, |case, tally| {
        let (x, y) = (case.stored("x"), case.stored("y"));
        let bound = |name| case.number_if_any(name).map(|bound| bound as f32);
        let activation = match (bound("low"), bound("high")) {
            (Some(low), Some(high)) => Activation::Clamp { low, high },
            _ => Activation::Relu,
        };
        assert_eq!(case.word("kind") == "relu", activation == Activation::Relu);
        let node = NodeSpec {
            op: NodeOp::Clamp,
            activation,
            inputs: &[quantized(dtype(name), &x.shape, case.qparams("x"))],
            output: quantized(dtype(name), &y.shape, case.qparams("y")),
            weight: None,
            bias: None,
            parameters: &[],
            reduce_range: false,
            divide: false,
        };
        tally.check(case, Q8Clamp::KERNEL, &node, &[&x.data], &y.data);
    });
}

#[test]
fn clamp_quint8() {
    clamp("clamp_quint8");
}

#[test]
fn clamp_qint8() {
    clamp("clamp_qint8");
}
