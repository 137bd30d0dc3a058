//! Linear layers with weights of 4 and 8 bits at the shapes that language models have, beside `float32`, on every
//! instruction set of this machine, one thread.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark"
)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use qconfig_core::kernel::{
    Call, Kernel, KernelFamily, NodeOp, NodeSpec, TensorSpec, WeightData, WeightSpec,
};
use qconfig_core::{DType, Isa};
use qconfig_kernels::{F32Linear, WeightOnlyLinear};

const K: usize = 4096;
const N: usize = 4096;

fn spec(shape: &[usize]) -> TensorSpec<'_> {
    TensorSpec {
        dtype: DType::float32,
        shape,
        qparams: None,
    }
}

fn bench(c: &mut Criterion, name: &str, kernel: &Kernel, node: &NodeSpec<'_>) {
    let sizes = (kernel.sizes)(node).unwrap();
    let mut blob = vec![0; sizes.blob];
    (kernel.pack)(node, &mut blob).unwrap();
    let count = node.inputs[0].elements().unwrap();
    let input: Vec<u8> = (0..count)
        .flat_map(|at| ((at * 37 % 251) as f32 * 0.01 - 1.0).to_ne_bytes())
        .collect();
    let split = (kernel.split)(&blob, &[input.len()]).unwrap();
    let (mut output, mut scratch) = (vec![0; split.output_bytes], vec![0; sizes.scratch]);
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Elements(node.multiply_adds()));
    for isa in Isa::available().filter(|isa| *isa != Isa::SCALAR) {
        group.bench_function((kernel.variant)(&blob, isa), |b| {
            b.iter(|| {
                let call = Call {
                    blob: &blob,
                    inputs: &[&input],
                    output: &mut output,
                    units: 0..split.units,
                    scratch: &mut scratch,
                    isa,
                };
                (kernel.run)(call).unwrap();
            });
        });
    }
    group.finish();
}

fn weight_only(c: &mut Criterion) {
    for rows in [1, 32] {
        let (from, to) = ([rows, K], [rows, N]);
        let inputs = [spec(&from)];
        for (name, dtype, block, levels) in [
            ("4 bits in blocks of 32", DType::quint4x2, 32, 16),
            ("4 bits in blocks of 128", DType::quint4x2, 128, 16),
            ("8 bits per channel", DType::quint8, K, 256),
        ] {
            let data: Vec<u8> = (0..N * K)
                .map(|at| (at * 97 % 1021 % levels) as u8)
                .collect();
            let scales = vec![0.01; N * K / block];
            let zero_points = vec![levels as i32 / 2; scales.len()];
            let node = NodeSpec {
                weight: Some(WeightSpec {
                    dtype,
                    shape: &[N, K],
                    data: WeightData::U8(&data),
                    scales: &scales,
                    zero_points: &zero_points,
                }),
                ..NodeSpec::new(NodeOp::LinearWeightOnly { block }, &inputs, spec(&to))
            };
            let name = format!("{rows}x{K}x{N}, {name}");
            bench(c, &name, WeightOnlyLinear::KERNEL, &node);
        }
        let data = vec![0.01; N * K];
        let node = NodeSpec {
            weight: Some(WeightSpec {
                shape: &[N, K],
                ..WeightSpec::float(&data)
            }),
            ..NodeSpec::new(NodeOp::Linear, &inputs, spec(&to))
        };
        bench(
            c,
            &format!("{rows}x{K}x{N}, float32"),
            F32Linear::KERNEL,
            &node,
        );
    }
}

criterion_group!(benches, weight_only);
criterion_main!(benches);
