//! Add, mul, tables, pools and depthwise convolution at the shapes that image models have, on every instruction set
//! of this machine, one thread.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark"
)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use qconfig_core::kernel::{
    Activation, Call, Kernel, KernelFamily, NodeOp, NodeSpec, QParams, TensorSpec, Unary,
    WeightData, WeightSpec, Window,
};
use qconfig_core::{DType, Isa};
use qconfig_kernels::{Q8Add, Q8Depthwise, Q8GlobalAvgPool, Q8Lut, Q8MaxPool, Q8Mul};

const Q: QParams = QParams {
    scale: 0.02,
    zero_point: 12,
};

fn tensor(shape: &[usize], scale: f32) -> TensorSpec<'_> {
    TensorSpec {
        dtype: DType::quint8,
        shape,
        qparams: Some(QParams { scale, ..Q }),
    }
}

fn node<'a>(op: NodeOp, inputs: &'a [TensorSpec<'a>], output: TensorSpec<'a>) -> NodeSpec<'a> {
    let activation = Activation::Relu;
    NodeSpec {
        op,
        activation,
        inputs,
        output,
        weight: None,
        bias: None,
        parameters: &[],
        reduce_range: false,
        divide: false,
    }
}

fn bench(c: &mut Criterion, name: &str, kernel: &Kernel, spec: &NodeSpec<'_>, work: u64) {
    let sizes = (kernel.sizes)(spec).unwrap();
    let mut blob = vec![0; sizes.blob];
    (kernel.pack)(spec, &mut blob).unwrap();
    let inputs: Vec<Vec<u8>> = spec
        .inputs
        .iter()
        .map(|t| {
            (0..t.bytes().unwrap())
                .map(|i| (i * 37 % 251) as u8)
                .collect()
        })
        .collect();
    let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    let lengths: Vec<usize> = inputs.iter().map(|input| input.len()).collect();
    let split = (kernel.split)(&blob, &lengths).unwrap();
    let (mut output, mut scratch) = (vec![0; split.output_bytes], vec![0; sizes.scratch]);
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Elements(work));
    for isa in Isa::available() {
        group.bench_function((kernel.variant)(&blob, isa), |b| {
            b.iter(|| {
                let call = Call {
                    blob: &blob,
                    inputs: &inputs,
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

fn add(c: &mut Criterion) {
    let shape = [1, 56, 56, 64];
    for (name, scales) in [
        ("add", [0.021, 0.033, 0.041]),
        ("add with ties", [0.5, 1.0, 1.0]),
    ] {
        let inputs = [tensor(&shape, scales[0]), tensor(&shape, scales[1])];
        let spec = node(NodeOp::Add, &inputs, tensor(&shape, scales[2]));
        bench(
            c,
            &format!("{name} 1x56x56x64"),
            Q8Add::KERNEL,
            &spec,
            56 * 56 * 64,
        );
    }
}

fn mul(c: &mut Criterion) {
    let shape = [1, 56, 56, 64];
    for (name, second) in [
        ("mul 1x56x56x64", [1, 56, 56, 64]),
        ("mul by a gate, 1x56x56x64 and 1x1x1x64", [1, 1, 1, 64]),
    ] {
        let inputs = [tensor(&shape, 0.021), tensor(&second, 0.033)];
        let spec = node(NodeOp::Mul, &inputs, tensor(&shape, 0.041));
        bench(c, name, Q8Mul::KERNEL, &spec, 56 * 56 * 64);
    }
    let shape = [1, 28, 28, 72];
    let inputs = [tensor(&shape, 0.021), tensor(&[1, 1, 1, 72], 0.033)];
    let spec = node(NodeOp::Mul, &inputs, tensor(&shape, 0.041));
    let name = "mul by a gate, 1x28x28x72 and 1x1x1x72";
    bench(c, name, Q8Mul::KERNEL, &spec, 28 * 28 * 72);
}

fn table(c: &mut Criterion) {
    let shape = [1, 56, 56, 64];
    let inputs = [tensor(&shape, 0.05)];
    let op = NodeOp::Unary(Unary::Hardswish);
    let spec = node(op, &inputs, tensor(&shape, 0.04));
    let name = "hardswish 1x56x56x64";
    bench(c, name, Q8Lut::KERNEL, &spec, 56 * 56 * 64);
}

fn pools(c: &mut Criterion) {
    let inputs = [tensor(&[1, 112, 112, 64], Q.scale)];
    let window = Window {
        kernel: [3, 3],
        stride: [2, 2],
        padding: [1; 4],
        dilation: [1, 1],
    };
    let spec = node(
        NodeOp::MaxPool { window },
        &inputs,
        tensor(&[1, 56, 56, 64], Q.scale),
    );
    bench(
        c,
        "max pool 3x3/2 1x112x112x64",
        Q8MaxPool::KERNEL,
        &spec,
        56 * 56 * 64,
    );
    let inputs = [tensor(&[1, 7, 7, 1280], Q.scale)];
    let spec = node(
        NodeOp::GlobalAvgPool,
        &inputs,
        tensor(&[1, 1, 1, 1280], Q.scale),
    );
    bench(
        c,
        "global average pool 1x7x7x1280",
        Q8GlobalAvgPool::KERNEL,
        &spec,
        49 * 1280,
    );
}

fn depthwise(c: &mut Criterion) {
    let layers: [(usize, usize, usize, usize); 5] = [
        (56, 64, 3, 1),
        (112, 32, 3, 1),
        (112, 96, 3, 2),
        (14, 576, 3, 1),
        (14, 240, 5, 1),
    ];
    for (size, channels, k, stride) in layers {
        let shape = [1, size, size, channels];
        let output = [1, size.div_ceil(stride), size.div_ceil(stride), channels];
        let weights: Vec<i8> = (0..channels * k * k)
            .map(|i| (i * 31 % 255) as i8)
            .collect();
        let scales = vec![0.003; channels];
        let inputs = [tensor(&shape, 0.02)];
        let window = Window {
            kernel: [k; 2],
            stride: [stride; 2],
            padding: [k / 2; 4],
            dilation: [1, 1],
        };
        let mut spec = node(
            NodeOp::Conv {
                window,
                groups: channels,
            },
            &inputs,
            tensor(&output, 0.05),
        );
        let bias = vec![0.1; channels];
        spec.bias = Some(&bias);
        let zero_points = vec![0; channels];
        let weight_shape = [channels, k, k, 1];
        spec.weight = Some(WeightSpec {
            dtype: DType::qint8,
            shape: &weight_shape,
            data: WeightData::I8(&weights),
            scales: &scales,
            zero_points: &zero_points,
        });
        let name = format!("depthwise {k}x{k}/{stride} 1x{size}x{size}x{channels}");
        let products = output.iter().product::<usize>() * k * k;
        bench(c, &name, Q8Depthwise::KERNEL, &spec, products as u64);
    }
}

criterion_group!(benches, add, mul, table, pools, depthwise);
criterion_main!(benches);
