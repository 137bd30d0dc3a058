//! Constants: whole and in parts, floats and quantized.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod harness;

use harness::{Rng, attack_all, cases, check, flip, quantize, tensor};
use qconfig_core::kernel::{NodeOp, NodeSpec, WeightSpec};
use qconfig_core::{DType, KernelFamily};
use qconfig_kernels::Constant;

#[test]
fn written_as_they_are_or_quantized() {
    let rng = &mut Rng::new(1);
    for case in 0..cases(1000) {
        let len = if case < 4 { 5000 } else { rng.below(1..300) };
        let values: Vec<f32> = (0..len).map(|_| rng.unit() * 8.0 - 4.0).collect();
        let dtype = rng.pick(&[DType::float32, DType::quint8, DType::qint8]);
        let qparams = (dtype != DType::float32).then(|| rng.qparams(dtype));
        let shape = [len];
        let spec = NodeSpec {
            weight: Some(WeightSpec {
                shape: &shape,
                ..WeightSpec::float(&values)
            }),
            ..NodeSpec::new(NodeOp::Constant, &[], tensor(dtype, &shape, qparams))
        };
        let expected: Vec<u8> = match qparams {
            None => values.iter().flat_map(|x| x.to_ne_bytes()).collect(),
            Some(to) => {
                let zero_point = to.zero_point + flip(dtype);
                let bytes = values.iter().map(|x| quantize(*x, to.scale, zero_point));
                bytes.collect()
            }
        };
        check(Constant::KERNEL, &spec, &[], &expected, rng);
        if case % 50 == 0 {
            attack_all(Constant::KERNEL, &spec, &[], rng);
        }
    }
}
