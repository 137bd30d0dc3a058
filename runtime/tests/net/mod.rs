//! A small network of the real kernels, with a branch and a reshape.
#![allow(dead_code, reason = "shared by several tests")]

use qconfig_core::DType;
use qconfig_core::kernel::{
    Activation, Kernel, KernelFamily, NodeOp, QParams, WeightData, WeightSpec, Window,
};
use qconfig_kernels::{Dequantize, Q8Add, Q8Conv, Q8GlobalAvgPool, Q8Linear, Q8MaxPool, Quantize};
use qconfig_runtime::{Plan, PlanBuilder, StepInfo, TensorId, TensorInfo};

pub(crate) const KERNELS: &[&Kernel] = &[
    Quantize::KERNEL,
    Dequantize::KERNEL,
    Q8Conv::KERNEL,
    Q8Add::KERNEL,
    Q8MaxPool::KERNEL,
    Q8GlobalAvgPool::KERNEL,
    Q8Linear::KERNEL,
];

pub(crate) fn find(name: &str) -> Option<&'static Kernel> {
    KERNELS.iter().copied().find(|kernel| kernel.name == name)
}

pub(crate) const INPUT: usize = 2 * 12 * 12 * 3;
pub(crate) const OUTPUT: usize = 2 * 10;

/// Numbers without a pattern, in `-1.0..1.0`.
pub(crate) fn noise(seed: u32, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

struct Net {
    builder: PlanBuilder,
    dtype: DType,
}

impl Net {
    fn q8(&mut self, name: &str, shape: &[usize], scale: f32) -> TensorId {
        let zero_point = if self.dtype == DType::qint8 { -3 } else { 121 };
        let info = TensorInfo {
            name,
            dtype: self.dtype,
            shape,
            qparams: Some(QParams { scale, zero_point }),
        };
        self.builder.tensor(info).expect("a tensor")
    }

    fn f32(&mut self, name: &str, shape: &[usize]) -> TensorId {
        let info = TensorInfo {
            name,
            dtype: DType::float32,
            shape,
            qparams: None,
        };
        self.builder.tensor(info).expect("a tensor")
    }

    fn step(
        &mut self,
        name: &str,
        kernel: &'static Kernel,
        op: NodeOp,
        inputs: &[TensorId],
        output: TensorId,
    ) {
        let step = StepInfo::new(name, kernel, op, inputs, output);
        self.builder.step(step).expect("a step");
    }

    /// With a weight of noise, per channel, and a bias.
    fn weighted(
        &mut self,
        name: &str,
        op: NodeOp,
        shape: &[usize],
        input: TensorId,
        output: TensorId,
    ) {
        let channels = shape[0];
        let weight: Vec<i8> = noise(7, shape.iter().product())
            .iter()
            .map(|x| (x * 127.0) as i8)
            .collect();
        let scales: Vec<f32> = (0..channels).map(|at| 0.004 + 0.0001 * at as f32).collect();
        let zero_points = vec![0; channels];
        let bias = noise(9, channels);
        let kernel = match op {
            NodeOp::Linear => Q8Linear::KERNEL,
            _ => Q8Conv::KERNEL,
        };
        let inputs = [input];
        let step = StepInfo {
            pattern: "conv2d + relu",
            dtype_config: "weighted_int8",
            activation: Activation::Relu,
            weight: Some(WeightSpec {
                dtype: DType::qint8,
                shape,
                data: WeightData::I8(&weight),
                scales: &scales,
                zero_points: &zero_points,
            }),
            bias: Some(&bias),
            ..StepInfo::new(name, kernel, op, &inputs, output)
        };
        self.builder.step(step).expect("a step");
    }
}

fn window(kernel: usize, stride: usize, padding: usize) -> Window {
    Window {
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [padding; 4],
        dilation: [1; 2],
    }
}

pub(crate) fn plan(dtype: DType) -> Plan<'static> {
    let mut net = Net {
        builder: PlanBuilder::new(),
        dtype,
    };
    let conv = |groups| NodeOp::Conv {
        window: window(3, 1, 1),
        groups,
    };
    let image = net.f32("image", &[2, 12, 12, 3]);
    let x = net.q8("x", &[2, 12, 12, 3], 1.0 / 100.0);
    let a = net.q8("a", &[2, 12, 12, 16], 0.05);
    let b = net.q8("b", &[2, 12, 12, 16], 0.05);
    let sum = net.q8("sum", &[2, 12, 12, 16], 0.08);
    let small = net.q8("small", &[2, 6, 6, 16], 0.08);
    let mean = net.q8("mean", &[2, 1, 1, 16], 0.08);
    let flat = net.q8("flat", &[2, 16], 0.08);
    let scores = net.q8("scores", &[2, 10], 0.03);
    let out = net.f32("out", &[2, 10]);
    net.builder.input(image).expect("known");
    net.step("quantize", Quantize::KERNEL, NodeOp::Quantize, &[image], x);
    net.weighted("conv1", conv(1), &[16, 3, 3, 3], x, a);
    net.weighted("conv2", conv(4), &[16, 3, 3, 4], a, b);
    net.step("add", Q8Add::KERNEL, NodeOp::Add, &[a, b], sum);
    let pool = NodeOp::MaxPool {
        window: window(2, 2, 0),
    };
    net.step("pool", Q8MaxPool::KERNEL, pool, &[sum], small);
    net.step(
        "mean",
        Q8GlobalAvgPool::KERNEL,
        NodeOp::GlobalAvgPool,
        &[small],
        mean,
    );
    net.builder.alias(mean, flat).expect("same bytes");
    net.weighted("linear", NodeOp::Linear, &[10, 16], flat, scores);
    net.step(
        "dequantize",
        Dequantize::KERNEL,
        NodeOp::Dequantize,
        &[scores],
        out,
    );
    net.builder.output(out).expect("known");
    net.builder.finish().expect("a plan")
}
