use qconfig_core::kernel::{NodeOp, NodeSpec, WeightData, WeightSpec};
use qconfig_core::{DType, KernelFamily};
use qconfig_kernels::{F16LinearDynamic, Q8LinearDynamic};
use qconfig_tests::golden::Case;
use qconfig_tests::harness::{self, bytes, float_differences, floats};

use crate::node::{Visit, Weight, float, relu};

/// A dynamic linear layer with weights of 8 bits.
pub fn node(case: &Case<'_>, visit: Visit<'_>) {
    let (x, y, weight) = (case.f32("x"), case.f32("y"), Weight::of(case));
    let node = NodeSpec {
        op: NodeOp::Linear,
        activation: relu(case),
        inputs: &[float(&x.shape)],
        output: float(&y.shape),
        weight: Some(weight.spec()),
        bias: weight.bias(),
        parameters: &[],
        reduce_range: case.fields.contains_key("reduce_range") && case.flag("reduce_range"),
        divide: false,
    };
    visit(&node, &[&bytes(&x.data)], &bytes(&y.data));
}

#[test]
fn eight_bits() {
    harness::family("linear_dynamic", 200, |case, tally| {
        node(case, &mut |node, inputs, y| {
            tally.check_with(case, Q8LinearDynamic::KERNEL, node, inputs, |got| {
                float_differences(got, &floats(y))
            });
        });
    });
}

/// FBGEMM computes rows below `full_rows` in columns below `full_columns` as one chain of fused
/// multiply-adds: those are equal to the bit. The rest it adds up from partial sums: those agree
/// within what that many roundings can make of the terms' magnitudes.
#[test]
fn half_precision() {
    let (mut exact, mut close, mut differ) = (0, 0, 0);
    harness::family("linear_dynamic_fp16", 200, |case, tally| {
        let (x, y, w) = (case.f32("x"), case.f32("y"), case.f32("w"));
        let bias = case.f32_if_any("bias");
        let weight = WeightSpec {
            dtype: DType::float16,
            shape: &w.shape,
            data: WeightData::F32(&w.data),
            scales: &[],
            zero_points: &[],
        };
        let node = NodeSpec {
            op: NodeOp::Linear,
            activation: relu(case),
            inputs: &[float(&x.shape)],
            output: float(&y.shape),
            weight: Some(weight),
            bias: bias.as_ref().map(|bias| bias.data.as_slice()),
            parameters: &[],
            reduce_range: false,
            divide: false,
        };
        let (k, columns) = (x.shape[1], y.shape[1]);
        let (full_rows, full_columns) = (case.count("full_rows"), case.count("full_columns"));
        exact += full_rows * full_columns;
        close += y.data.len() - full_rows * full_columns;
        // the sum of the terms' magnitudes, for an error bound
        let magnitude = |row: usize, column: usize| {
            let (x, w) = (&x.data[row * k..][..k], &w.data[column * k..][..k]);
            let terms = x.iter().zip(w);
            terms.fold(0.0f64, |sum, (x, w)| {
                sum + f64::from(x * w.clamp(-65_504.0, 65_504.0)).abs()
            }) + bias
                .as_ref()
                .map_or(0.0, |bias| f64::from(bias.data[column].abs()))
        };
        let xs = bytes(&x.data);
        tally.check_with(case, F16LinearDynamic::KERNEL, &node, &[&xs], |got| {
            let mut found = Vec::new();
            for (at, (got, expected)) in floats(got).iter().zip(&y.data).enumerate() {
                let (row, column) = (at / columns, at % columns);
                if got == expected {
                    continue;
                }
                let bound = if row < full_rows && column < full_columns {
                    0.0
                } else {
                    f64::from(f32::EPSILON) * (k + 2) as f64 * magnitude(row, column)
                };
                if (f64::from(*got) - f64::from(*expected)).abs() > bound {
                    found.push(format!(
                        "element {at} is {got:?}, torch's is {expected:?}, within {bound:e} asked for"
                    ));
                }
            }
            found
        });
        let scalar = harness::run(
            F16LinearDynamic::KERNEL,
            &node,
            &[&xs],
            qconfig_core::Isa::SCALAR,
            1,
        );
        differ += scalar.map_or(0, |got| float_differences(&got, &y.data).len());
    });
    println!(
        "linear_dynamic_fp16: {exact} elements equal to the bit; of {close} within the bound, {differ} differ in a bit"
    );
}
