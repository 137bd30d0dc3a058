//! Tables of rows: the packed bytes are torch's, and so are sums and maxima. Torch's mean is that of the float
//! operator, which adds values where ours adds terms: within roundings of the sum.

use qconfig_core::kernel::{BagMode, NodeOp, NodeSpec, WeightData, WeightSpec};
use qconfig_core::{DType, KernelFamily};
use qconfig_kernels::EmbeddingRowwise;
use qconfig_tests::golden::Case;
use qconfig_tests::harness::{self, Tally, bytes, float_differences, floats};

use crate::node::float;

/// Where the rows of a blob begin.
const HEADER: usize = 64;

fn check(case: &Case<'_>, tally: &mut Tally, dtype: DType) {
    let (w, y, rows) = (case.f32("w"), case.f32("y"), case.stored("rows"));
    let zero_points = case.f32_if_any("zero_points").map(|all| all.data);
    let scales = case.f32_if_any("scales").map_or(Vec::new(), |all| all.data);
    let integers = case.flag("module").then(|| case.stored("q"));
    let parameters: Vec<WeightSpec<'_>> =
        zero_points.iter().map(|z| WeightSpec::float(z)).collect();
    let (indices, offsets) = (case.i32("indices"), case.i32("offsets"));
    let weights = case.f32_if_any("weights");
    let mode = match case.word("mode") {
        "mean" => BagMode::Mean,
        "max" => BagMode::Max,
        _ => BagMode::Sum,
    };
    let is_lookup = case.word("mode") == "lookup";
    let of = |dtype, shape| qconfig_core::kernel::TensorSpec {
        dtype,
        shape,
        qparams: None,
    };
    let table = WeightSpec {
        dtype,
        shape: &w.shape,
        data: match &integers {
            Some(integers) => WeightData::U8(&integers.data),
            None => WeightData::F32(&w.data),
        },
        scales: &scales,
        zero_points: &[],
    };
    let (count, bags) = ([indices.len()], [offsets.len()]);
    for wide in [DType::int32, DType::int64] {
        let list = |values: &[i32]| -> Vec<u8> {
            match wide {
                DType::int32 => values.iter().flat_map(|x| x.to_ne_bytes()).collect(),
                _ => values
                    .iter()
                    .flat_map(|x| i64::from(*x).to_ne_bytes())
                    .collect(),
            }
        };
        let mut inputs = vec![(of(wide, &count), list(&indices))];
        if !is_lookup {
            inputs.push((of(wide, &bags), list(&offsets)));
        }
        if let Some(weights) = &weights {
            inputs.push((float(&weights.shape), bytes(&weights.data)));
        }
        let specs: Vec<_> = inputs.iter().map(|(spec, _)| *spec).collect();
        let buffers: Vec<&[u8]> = inputs.iter().map(|(_, bytes)| bytes.as_slice()).collect();
        let node = NodeSpec {
            weight: Some(table),
            parameters: &parameters,
            ..NodeSpec::new(
                if is_lookup {
                    NodeOp::Embedding
                } else {
                    NodeOp::EmbeddingBag {
                        mode,
                        include_last_offset: case.flag("include_last_offset"),
                        padding_idx: None,
                    }
                },
                &specs,
                float(&y.shape),
            )
        };
        let kernel = EmbeddingRowwise::KERNEL;
        let mut blob = vec![0; (kernel.sizes)(&node).unwrap().blob];
        (kernel.pack)(&node, &mut blob).unwrap();
        let packed = harness::differences(&blob[HEADER..], &rows.data);
        tally.count(&format!("{} packed", case.name()), rows.data.len(), &packed);
        tally.check_with(case, kernel, &node, &buffers, |got| {
            if mode != BagMode::Mean {
                return float_differences(got, &y.data);
            }
            let largest = w.data.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            let pairs = floats(got).into_iter().zip(&y.data).enumerate();
            pairs
                .filter(|(_, (got, torch))| {
                    (got - *torch).abs() > 1e-5 * torch.abs() + 1e-6 * largest
                })
                .map(|(at, (got, torch))| format!("element {at} is {got}, torch's is {torch}"))
                .collect()
        });
    }
}

#[test]
fn eight_bits() {
    harness::family("embedding_byte", 1000, |case, tally| {
        check(case, tally, DType::quint8);
    });
}

#[test]
fn four_bits() {
    harness::family("embedding_4bit", 1000, |case, tally| {
        check(case, tally, DType::quint4x2);
    });
}
