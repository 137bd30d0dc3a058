//! The parameters that the dynamic kernel chooses for its input. They stay inside the kernel, so they
//! are read off what it computes: with the identity as weight, `y = scale * (q(x) - zero_point)`.

use qconfig_core::kernel::{Activation, NodeOp, NodeSpec, WeightData, WeightSpec};
use qconfig_core::{DType, KernelFamily};
use qconfig_kernels::Q8LinearDynamic;
use qconfig_tests::harness::{self, bytes, float_differences};

use crate::node::float;

#[test]
fn choose_qparams() {
    harness::family("choose_qparams", 200, |case, tally| {
        let x = case.f32("x");
        let n = x.data.len();
        let shape = [1, n];
        let mut identity = vec![0i8; n * n];
        for at in 0..n {
            identity[at * n + at] = 1;
        }
        let weight = WeightSpec {
            dtype: DType::qint8,
            shape: &[n, n],
            data: WeightData::I8(&identity),
            scales: &[1.0],
            zero_points: &[0],
        };
        let reduce_range = case.flag("reduce_range");
        let node = NodeSpec {
            op: NodeOp::Linear,
            activation: Activation::None,
            inputs: &[float(&shape)],
            output: float(&shape),
            weight: Some(weight),
            bias: None,
            parameters: &[],
            reduce_range,
            divide: false,
        };
        let torch = case.qparams("y");
        let largest = if reduce_range { 127 } else { 255 };
        let expected: Vec<f32> = x
            .data
            .iter()
            .map(|x| {
                let steps = (x * (1.0 / torch.scale)).round_ties_even() as i64;
                let q = (steps + i64::from(torch.zero_point)).clamp(0, largest);
                (q - i64::from(torch.zero_point)) as f32 * torch.scale
            })
            .collect();
        let x = bytes(&x.data);
        tally.check_with(case, Q8LinearDynamic::KERNEL, &node, &[&x], |got| {
            float_differences(got, &expected)
        });
    });
}
