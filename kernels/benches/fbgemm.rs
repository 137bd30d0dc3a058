//! Kernels with FBGEMM's numerics beside those of the same nodes with QNNPACK's: what the float bias costs.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark"
)]

use criterion::{Criterion, criterion_group, criterion_main};
use qconfig_core::kernel::{
    Activation, Call, Kernel, KernelFamily, NodeOp, NodeSpec, QParams, RecurrentCell, TensorSpec,
    Unary, WeightData, WeightSpec, Window, Window3,
};
use qconfig_core::{DType, Isa};
use qconfig_kernels::{
    Q8Add, Q8Conv, Q8ConvTranspose, Q8Linear, Q8LinearDynamic, Q8Lut, Q8Recurrent, fbgemm,
};

fn quantized(shape: &[usize], scale: f32) -> TensorSpec<'_> {
    TensorSpec {
        dtype: DType::quint8,
        shape,
        qparams: Some(QParams {
            scale,
            zero_point: 12,
        }),
    }
}

fn float(shape: &[usize]) -> TensorSpec<'_> {
    TensorSpec {
        dtype: DType::float32,
        shape,
        qparams: None,
    }
}

/// The node on both kernels, QNNPACK's first.
fn both(c: &mut Criterion, name: &str, kernels: [&Kernel; 2], spec: &NodeSpec<'_>) {
    let isa = Isa::detect();
    let inputs: Vec<Vec<u8>> = spec
        .inputs
        .iter()
        .map(|tensor| {
            let len: usize = tensor.shape.iter().product();
            if tensor.dtype == DType::float32 {
                (0..len)
                    .flat_map(|i| ((i * 37 % 251) as f32 * 0.01 - 1.0).to_ne_bytes())
                    .collect()
            } else {
                (0..len).map(|i| (i * 37 % 251) as u8).collect()
            }
        })
        .collect();
    let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    let lengths: Vec<usize> = inputs.iter().map(|input| input.len()).collect();
    let mut group = c.benchmark_group(name);
    for kernel in kernels {
        let sizes = (kernel.sizes)(spec).unwrap();
        let mut blob = vec![0; sizes.blob];
        (kernel.pack)(spec, &mut blob).unwrap();
        let split = (kernel.split)(&blob, &lengths).unwrap();
        let (mut output, mut scratch) = (vec![0; split.output_bytes], vec![0; sizes.scratch]);
        group.bench_function(kernel.name, |b| {
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

/// Channels, their weights and biases.
struct Weights {
    data: Vec<i8>,
    scales: Vec<f32>,
    zero_points: Vec<i32>,
    bias: Vec<f32>,
}

impl Weights {
    fn new(outputs: usize, k: usize) -> Self {
        Self {
            data: (0..outputs * k).map(|i| (i * 31 % 255) as i8).collect(),
            scales: vec![0.003; outputs],
            zero_points: vec![0; outputs],
            bias: vec![0.1; outputs],
        }
    }

    fn spec<'a>(&'a self, shape: &'a [usize]) -> WeightSpec<'a> {
        WeightSpec {
            dtype: DType::qint8,
            shape,
            data: WeightData::I8(&self.data),
            scales: &self.scales,
            zero_points: &self.zero_points,
        }
    }
}

fn linear(c: &mut Criterion) {
    for [m, n, k] in [[3136, 64, 64], [512, 512, 512], [1, 1000, 1280]] {
        let (weights, shape) = (Weights::new(n, k), [n, k]);
        let (from, to) = ([m, k], [m, n]);
        let inputs = [quantized(&from, 0.02)];
        let spec = NodeSpec {
            activation: Activation::Relu,
            weight: Some(weights.spec(&shape)),
            bias: Some(&weights.bias),
            ..NodeSpec::new(NodeOp::Linear, &inputs, quantized(&to, 0.5))
        };
        let kernels = [Q8Linear::KERNEL, fbgemm::Q8Linear::KERNEL];
        both(c, &format!("linear {m}x{n}x{k}"), kernels, &spec);
        let inputs = [float(&from)];
        let spec = NodeSpec {
            inputs: &inputs,
            output: float(&to),
            ..spec
        };
        let kernels = [Q8LinearDynamic::KERNEL, fbgemm::Q8LinearDynamic::KERNEL];
        both(c, &format!("dynamic linear {m}x{n}x{k}"), kernels, &spec);
    }
}

fn conv(c: &mut Criterion) {
    for (name, size, channels, outputs, k, groups) in [
        ("convolution 3x3 56x56x64", 56, 64, 64, 3, 1),
        ("convolution 3x3 28x28x128", 28, 128, 128, 3, 1),
        ("convolution 1x1 56x56x64 to 256", 56, 64, 256, 1, 1),
        ("convolution 1x1 56x56x24 to 24", 56, 24, 24, 1, 1),
        ("convolution 5x5 28x28x16", 28, 16, 16, 5, 1),
        ("depthwise 3x3 56x56x64", 56, 64, 64, 3, 64),
        ("depthwise 5x5 14x14x240", 14, 240, 240, 5, 240),
    ] {
        let weights = Weights::new(outputs, k * k * channels / groups);
        let shape = [outputs, k, k, channels / groups];
        let (from, to) = ([1, size, size, channels], [1, size, size, outputs]);
        let inputs = [quantized(&from, 0.02)];
        let window = Window {
            kernel: [k; 2],
            stride: [1; 2],
            padding: [k / 2; 4],
            dilation: [1; 2],
        };
        let spec = NodeSpec {
            activation: Activation::Relu,
            weight: Some(weights.spec(&shape)),
            bias: Some(&weights.bias),
            ..NodeSpec::new(
                NodeOp::Conv { window, groups },
                &inputs,
                quantized(&to, 0.5),
            )
        };
        both(c, name, [Q8Conv::KERNEL, fbgemm::Q8Conv::KERNEL], &spec);
    }
    let (weights, shape) = (Weights::new(32, 16 * 64), [32, 4, 4, 64]);
    let inputs = [quantized(&[1, 14, 14, 64], 0.02)];
    let op = NodeOp::ConvTranspose {
        window: Window3 {
            kernel: [1, 4, 4],
            stride: [1, 2, 2],
            padding: [0, 1, 1, 0, 1, 1],
            dilation: [1; 3],
        },
        output_padding: [0; 3],
        groups: 1,
    };
    let spec = NodeSpec {
        weight: Some(weights.spec(&shape)),
        bias: Some(&weights.bias),
        ..NodeSpec::new(op, &inputs, quantized(&[1, 28, 28, 32], 0.5))
    };
    let kernels = [Q8ConvTranspose::KERNEL, fbgemm::Q8ConvTranspose::KERNEL];
    both(
        c,
        "transposed convolution 4x4/2 14x14x64 to 32",
        kernels,
        &spec,
    );
}

fn elementwise(c: &mut Criterion) {
    let shape = [1, 56, 56, 64];
    let inputs = [quantized(&shape, 0.021), quantized(&shape, 0.033)];
    let spec = NodeSpec::new(NodeOp::Add, &inputs, quantized(&shape, 0.041));
    let kernels = [Q8Add::KERNEL, fbgemm::Q8Add::KERNEL];
    both(c, "add 56x56x64", kernels, &spec);
    let op = NodeOp::Unary(Unary::Hardswish);
    let spec = NodeSpec::new(op, &inputs[..1], quantized(&shape, 0.041));
    let kernels = [Q8Lut::KERNEL, fbgemm::Q8Lut::KERNEL];
    both(c, "hardswish 56x56x64", kernels, &spec);
}

fn recurrent(c: &mut Criterion) {
    let (steps, features) = (20, 128);
    let (weights, shape) = (
        Weights::new(4 * features, features),
        [4 * features, features],
    );
    let weight = weights.spec(&shape);
    let bias = WeightSpec::float(&weights.bias);
    let (from, to) = ([steps, 1, features], [(steps + 2) * features]);
    let inputs = [float(&from)];
    let op = NodeOp::Recurrent {
        cell: RecurrentCell::Lstm,
        layers: 1,
        bidirectional: false,
        batch_first: false,
    };
    let spec = NodeSpec {
        parameters: &[weight, weight, bias, bias],
        ..NodeSpec::new(op, &inputs, float(&to))
    };
    let kernels = [Q8Recurrent::KERNEL, fbgemm::Q8Recurrent::KERNEL];
    both(c, "LSTM of 128, 20 steps", kernels, &spec);
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .without_plots()
        .warm_up_time(std::time::Duration::from_millis(200))
        .measurement_time(std::time::Duration::from_millis(800))
        .sample_size(30);
    targets = linear, conv, elementwise, recurrent
}
criterion_main!(benches);
