//! Float kernels: multiply-adds a second.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark fails by panicking"
)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use qconfig_core::kernel::{
    Call, Kernel, KernelFamily, NodeOp, NodeSpec, TensorSpec, Unary, WeightSpec, Window,
};
use qconfig_core::{DType, Isa};
use qconfig_kernels::{F32Conv, F32Linear, F32Unary};

fn spec(shape: &[usize]) -> TensorSpec<'_> {
    TensorSpec {
        dtype: DType::float32,
        shape,
        qparams: None,
    }
}

fn measure(c: &mut Criterion, name: &str, kernel: &Kernel, node: &NodeSpec<'_>) {
    let sizes = (kernel.sizes)(node).unwrap();
    let mut blob = vec![0; sizes.blob];
    (kernel.pack)(node, &mut blob).unwrap();
    let input = vec![0u8; node.inputs[0].bytes().unwrap()];
    let split = (kernel.split)(&blob, &[input.len()]).unwrap();
    let mut scratch = vec![0; sizes.scratch];
    let mut output = vec![0; split.output_bytes];
    let isa = Isa::detect();
    let mut group = c.benchmark_group("float");
    let elements = (split.output_bytes / 4) as u64;
    group.throughput(Throughput::Elements(match node.multiply_adds() {
        0 => elements,
        n => 2 * n,
    }));
    group.bench_function(name, |b| {
        b.iter(|| {
            let call = Call {
                blob: black_box(&blob),
                inputs: &[black_box(&input)],
                output: &mut output,
                units: 0..split.units,
                scratch: &mut scratch,
                isa,
            };
            (kernel.run)(call).unwrap();
        });
    });
}

fn weight<'a>(shape: &'a [usize], data: &'a [f32]) -> Option<WeightSpec<'a>> {
    Some(WeightSpec {
        shape,
        ..WeightSpec::float(data)
    })
}

fn linear(c: &mut Criterion) {
    for (rows, k, outputs) in [(1, 768, 768), (128, 768, 768)] {
        let data = vec![0.5; k * outputs];
        let (from, to, of) = ([rows, k], [rows, outputs], [outputs, k]);
        let inputs = [spec(&from)];
        let node = NodeSpec {
            weight: weight(&of, &data),
            ..NodeSpec::new(NodeOp::Linear, &inputs, spec(&to))
        };
        let name = format!("linear {rows}x{k}x{outputs}");
        measure(c, &name, F32Linear::KERNEL, &node);
    }
}

fn conv(c: &mut Criterion) {
    for (name, size, channels, outputs, kernel, groups) in [
        ("conv 3x3 56x56x64", 56, 64, 64, 3, 1),
        ("conv 3x3 14x14x256", 14, 256, 256, 3, 1),
        ("conv 1x1 28x28x128", 28, 128, 128, 1, 1),
        ("depthwise 3x3 56x56x128", 56, 128, 128, 3, 128),
    ] {
        let of = [outputs, kernel, kernel, channels / groups];
        let data = vec![0.5; of.iter().product()];
        let (from, to) = ([1, size, size, channels], [1, size, size, outputs]);
        let inputs = [spec(&from)];
        let window = Window {
            kernel: [kernel; 2],
            stride: [1; 2],
            padding: [kernel / 2; 4],
            dilation: [1; 2],
        };
        let node = NodeSpec {
            weight: weight(&of, &data),
            ..NodeSpec::new(NodeOp::Conv { window, groups }, &inputs, spec(&to))
        };
        measure(c, name, F32Conv::KERNEL, &node);
    }
}

fn unary(c: &mut Criterion) {
    let shape = [1 << 16];
    let inputs = [spec(&shape)];
    for function in [Unary::Silu, Unary::Gelu { tanh: false }] {
        let node = NodeSpec::new(NodeOp::Unary(function), &inputs, spec(&shape));
        measure(c, &format!("{function:?}"), F32Unary::KERNEL, &node);
    }
}

criterion_group!(benches, linear, conv, unary);
criterion_main!(benches);
