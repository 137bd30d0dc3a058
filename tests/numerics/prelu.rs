//! PReLU. ATen's vector bodies may be one step off, by the instruction set.

use qconfig_core::KernelFamily;
use qconfig_core::kernel::{NodeOp, NodeSpec, WeightSpec};
use qconfig_kernels::Q8PRelu;
use qconfig_tests::harness::{self, steps};

use crate::node::{dtype, quantized};

#[test]
fn quint8() {
    let name = "prelu_quint8";
    harness::family(name, 150, |case, tally| {
        let (x, y) = (
            case.stored("x").channels_last(),
            case.stored("y").channels_last(),
        );
        let slopes = case.f32("w").data;
        let parameters = [WeightSpec::float(&slopes)];
        let inputs = [quantized(dtype(name), &x.shape, case.qparams("x"))];
        let output = quantized(dtype(name), &y.shape, case.qparams("y"));
        let node = NodeSpec {
            parameters: &parameters,
            ..NodeSpec::new(NodeOp::PRelu, &inputs, output)
        };
        tally.check_with(case, Q8PRelu::KERNEL, &node, &[&x.data], |got| {
            steps(got, &y.data, 1)
        });
    });
}
