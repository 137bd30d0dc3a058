//! The products of an attention layer: 12 heads, 128 positions, 64 columns each.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use qconfig_core::kernel::{Call, KernelFamily, NodeOp, NodeSpec, QParams, TensorSpec};
use qconfig_core::{DType, Isa};
use qconfig_kernels::Q8MatMul;

/// Heads, positions, columns of a head.
const SIZES: [usize; 3] = [12, 128, 64];

fn product(c: &mut Criterion, name: &str, [m, k, n]: [usize; 3], transposed: bool, zero: i32) {
    let [heads, ..] = SIZES;
    let quantized = |shape, scale, zero_point| TensorSpec {
        dtype: DType::quint8,
        shape,
        qparams: Some(QParams { scale, zero_point }),
    };
    let right = if transposed { [n, k] } else { [k, n] };
    let shapes = [[heads, m, k], [heads, right[0], right[1]], [heads, m, n]];
    let inputs = [
        quantized(&shapes[0], 0.02, 120),
        quantized(&shapes[1], 0.02, zero),
    ];
    let node = NodeSpec::new(
        NodeOp::MatMul { transposed },
        &inputs,
        quantized(&shapes[2], 0.5, 128),
    );
    let kernel = Q8MatMul::KERNEL;
    let Ok(sizes) = (kernel.sizes)(&node) else {
        return;
    };
    let mut blob = vec![0; sizes.blob];
    assert_eq!((kernel.pack)(&node, &mut blob), Ok(()));
    let bytes = |count: usize, step: usize| -> Vec<u8> {
        (0..count).map(|at| (at * step % 253) as u8).collect()
    };
    let (a, b) = (bytes(heads * m * k, 29), bytes(heads * k * n, 37));
    let Ok(split) = (kernel.split)(&blob, &[a.len(), b.len()]) else {
        return;
    };
    let mut output = vec![0; split.output_bytes];
    let mut scratch = vec![0; sizes.scratch];
    for isa in Isa::available() {
        let mut group = c.benchmark_group(format!("matmul {}", (kernel.variant)(&blob, isa)));
        group.throughput(Throughput::Elements((2 * heads * m * k * n) as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let call = Call {
                    blob: &blob,
                    inputs: &[black_box(&a), &b],
                    output: &mut output,
                    units: 0..split.units,
                    scratch: &mut scratch,
                    isa,
                };
                (kernel.run)(call)
            });
        });
        group.finish();
    }
}

fn all(c: &mut Criterion) {
    let [_, positions, columns] = SIZES;
    let scores = [positions, columns, positions];
    product(c, "scores", scores, true, 128);
    product(c, "scores, zero points", scores, true, 100);
    let context = [positions, positions, columns];
    product(c, "context", context, false, 128);
    product(c, "one position", [1, columns, positions], true, 128);
}

criterion_group!(benches, all);
criterion_main!(benches);
