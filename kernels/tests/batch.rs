//! A batch of n gives what n single runs give, to the bit: on every instruction set, in one, two and three
//! parts. Not so where activations are quantized on the fly, by parameters of the whole batch, as torch's are.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use harness::*;
use qconfig_core::kernel::{
    Activation, Call, Interpolation, InterpolationMode, Kernel, KernelFamily, NodeOp, NodeSpec,
    QParams, TensorSpec, Unary, WeightData, WeightSpec, Window, Window3,
};
use qconfig_core::{DType, Isa};
use qconfig_kernels::*;

/// A node whose outermost axis is the batch, in inputs and output.
struct Node {
    kernel: &'static Kernel,
    op: NodeOp,
    activation: Activation,
    /// Shapes without the batch.
    inputs: Vec<(DType, Vec<usize>, Option<QParams>)>,
    output: (DType, Vec<usize>, Option<QParams>),
    weight: Vec<i8>,
    weight_shape: Vec<usize>,
    scales: Vec<f32>,
    zero_points: Vec<i32>,
    halves: Vec<f32>,
    parameters: Vec<Vec<f32>>,
}

impl Node {
    fn new(
        rng: &mut Rng,
        kernel: &'static Kernel,
        op: NodeOp,
        inputs: &[&[usize]],
        output: &[usize],
    ) -> Self {
        let dtype = rng.dtype();
        let qparams = |rng: &mut Rng| QParams {
            scale: 0.01 + rng.unit() * 0.05,
            zero_point: rng.zero_point(dtype),
        };
        let inputs = inputs
            .iter()
            .map(|shape| (dtype, shape.to_vec(), Some(qparams(rng))))
            .collect();
        let to = qparams(rng);
        Self {
            kernel,
            op,
            activation: rng.activation(to.scale),
            inputs,
            output: (dtype, output.to_vec(), Some(to)),
            weight: Vec::new(),
            weight_shape: Vec::new(),
            scales: Vec::new(),
            zero_points: Vec::new(),
            halves: Vec::new(),
            parameters: Vec::new(),
        }
    }

    fn plain(mut self) -> Self {
        self.activation = Activation::None;
        self
    }

    /// With the input's parameters on the other side too.
    fn shared(mut self) -> Self {
        self.output.2 = self.inputs[0].2;
        self
    }

    fn weights(mut self, rng: &mut Rng, shape: &[usize]) -> Self {
        let channels = if rng.chance(2) { 1 } else { shape[0] };
        let asymmetric = rng.chance(3);
        self.weight = (0..shape.iter().product())
            .map(|_| rng.bits() as i8)
            .collect();
        self.weight_shape = shape.to_vec();
        self.scales = (0..channels).map(|_| 0.002 + rng.unit() * 0.01).collect();
        self.zero_points = (0..channels)
            .map(|_| if asymmetric { rng.bits() as i8 } else { 0 }.into())
            .collect();
        self
    }

    fn floats(mut self, rng: &mut Rng, counts: &[usize]) -> Self {
        self.parameters = counts
            .iter()
            .map(|count| (0..*count).map(|_| 0.1 + rng.unit()).collect())
            .collect();
        self
    }

    fn with<T>(&self, batch: usize, f: impl FnOnce(&NodeSpec<'_>) -> T) -> T {
        let batched = |shape: &[usize]| [&[batch], shape].concat();
        let shapes: Vec<Vec<usize>> = self.inputs.iter().map(|(_, s, _)| batched(s)).collect();
        let inputs: Vec<TensorSpec<'_>> = self
            .inputs
            .iter()
            .zip(&shapes)
            .map(|((dtype, _, qparams), shape)| tensor(*dtype, shape, *qparams))
            .collect();
        let output = batched(&self.output.1);
        let parameters: Vec<WeightSpec<'_>> = self
            .parameters
            .iter()
            .map(|p| WeightSpec::float(p))
            .collect();
        let weight = WeightSpec {
            dtype: if self.halves.is_empty() {
                DType::qint8
            } else {
                DType::float16
            },
            shape: &self.weight_shape,
            data: if self.halves.is_empty() {
                WeightData::I8(&self.weight)
            } else {
                WeightData::F32(&self.halves)
            },
            scales: &self.scales,
            zero_points: &self.zero_points,
        };
        f(&NodeSpec {
            weight: (!self.weight_shape.is_empty()).then_some(weight),
            parameters: &parameters,
            ..node(
                self.op,
                self.activation,
                &inputs,
                tensor(self.output.0, &output, self.output.2),
            )
        })
    }

    /// Bytes of each input for one element of the batch.
    fn bytes(&self) -> Vec<usize> {
        let size = |(dtype, shape, _): &(DType, Vec<usize>, _)| {
            shape.iter().product::<usize>() * dtype.bits() as usize / 8
        };
        self.inputs.iter().map(size).collect()
    }

    fn run(&self, batch: usize, inputs: &[&[u8]], isa: Isa, parts: usize) -> Vec<u8> {
        self.with(batch, |spec| {
            let blob = pack(self.kernel, spec);
            let sizes = (self.kernel.sizes)(spec).expect("as before");
            let lengths: Vec<usize> = inputs.iter().map(|input| input.len()).collect();
            let split = (self.kernel.split)(&blob, &lengths).expect("its own blob");
            let mut output = vec![0xEE; split.output_bytes];
            for part in 0..parts {
                let units = split.units * part / parts..split.units * (part + 1) / parts;
                (self.kernel.run)(Call {
                    blob: &blob,
                    inputs,
                    output: &mut output[split.bytes(&units)],
                    units,
                    scratch: &mut vec![0xBB; sizes.scratch],
                    isa,
                })
                .expect("a valid call");
            }
            output
        })
    }

    fn check(&self, rng: &mut Rng) {
        let batch = rng.below(2..5);
        let sizes = self.bytes();
        let inputs: Vec<Vec<u8>> = sizes
            .iter()
            .zip(&self.inputs)
            .map(|(size, (dtype, ..))| match dtype {
                DType::float32 => (0..batch * size / 4)
                    .flat_map(|_| (rng.unit() * 4.0 - 2.0).to_ne_bytes())
                    .collect(),
                _ => rng.bytes(batch * size),
            })
            .collect();
        let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
        for isa in levels() {
            let singles: Vec<u8> = (0..batch)
                .flat_map(|at| {
                    let one: Vec<&[u8]> = inputs
                        .iter()
                        .zip(&sizes)
                        .map(|(all, size)| &all[at * size..][..*size])
                        .collect();
                    self.run(1, &one, isa, 1)
                })
                .collect();
            for parts in 1..4 {
                let all = self.run(batch, &inputs, isa, parts);
                assert!(
                    all == singles,
                    "{isa}, {parts} parts: {} of {batch} is not {batch} of one: {:?} {:?}",
                    self.kernel.name,
                    self.op,
                    self.inputs
                );
            }
        }
    }
}

fn window(rng: &mut Rng) -> (Window, [usize; 2], [usize; 2]) {
    let kernel = [rng.below(1..4), rng.below(1..4)];
    let stride = [rng.below(1..3), rng.below(1..3)];
    let pad = [
        rng.below(0..2).min(kernel[0] / 2),
        rng.below(0..2).min(kernel[1] / 2),
    ];
    let size = [rng.below(3..12), rng.below(3..12)];
    let out = [0, 1].map(|at| (size[at] + 2 * pad[at] - kernel[at]) / stride[at] + 1);
    let window = Window {
        kernel,
        stride,
        padding: [pad[0], pad[1], pad[0], pad[1]],
        dilation: [1, 1],
    };
    (window, size, out)
}

fn volume(rng: &mut Rng) -> (Window3, [usize; 3], [usize; 3]) {
    let (window, [h, w], [oh, ow]) = window(rng);
    let [top, left, bottom, right] = window.padding;
    let d = rng.below(2..5);
    let window = Window3 {
        kernel: [2, window.kernel[0], window.kernel[1]],
        stride: [1, window.stride[0], window.stride[1]],
        padding: [0, top, left, 0, bottom, right],
        dilation: [1; 3],
    };
    (window, [d, h, w], [d - 1, oh, ow])
}

/// Convolutions and products with a weight.
fn weighted(rng: &mut Rng) -> Node {
    let (ci, co) = (rng.below(1..40), rng.below(1..70));
    match rng.below(0..7) {
        0 => {
            let rows = rng.below(1..30);
            Node::new(
                rng,
                Q8Linear::KERNEL,
                NodeOp::Linear,
                &[&[rows, ci]],
                &[rows, co],
            )
            .weights(rng, &[co, ci])
        }
        1 => {
            let (window, [h, w], [oh, ow]) = window(rng);
            let [kh, kw] = window.kernel;
            let op = NodeOp::Conv { window, groups: 1 };
            Node::new(rng, Q8Conv::KERNEL, op, &[&[h, w, ci]], &[oh, ow, co])
                .weights(rng, &[co, kh, kw, ci])
        }
        2 => {
            // tiles, where there is no dot product
            let window = Window {
                kernel: [3, 3],
                stride: [1, 1],
                padding: [1; 4],
                dilation: [1, 1],
            };
            let (ci, h, w) = (16 * rng.below(1..3), rng.below(8..14), rng.below(8..14));
            let op = NodeOp::Conv { window, groups: 1 };
            let mut node = Node::new(rng, Q8Conv::KERNEL, op, &[&[h, w, ci]], &[h, w, co])
                .weights(rng, &[co, 3, 3, ci]);
            node.zero_points.fill(0);
            node
        }
        3 => {
            let (window, [h, w], [oh, ow]) = window(rng);
            let [kh, kw] = window.kernel;
            let op = NodeOp::Conv { window, groups: ci };
            Node::new(rng, Q8Depthwise::KERNEL, op, &[&[h, w, ci]], &[oh, ow, ci])
                .weights(rng, &[ci, kh, kw, 1])
        }
        4 => {
            let (window, [d, h, w], [od, oh, ow]) = volume(rng);
            let [kd, kh, kw] = window.kernel;
            let op = NodeOp::Conv3d { window, groups: 1 };
            Node::new(
                rng,
                Q8Conv::KERNEL,
                op,
                &[&[d, h, w, ci]],
                &[od, oh, ow, co],
            )
            .weights(rng, &[co, kd, kh, kw, ci])
        }
        5 => {
            let (window, _, [od, oh, ow]) = volume(rng);
            let [kd, kh, kw] = window.kernel;
            let size = |at: usize| {
                let n = [od, oh, ow][at];
                let padding = window.padding[at] + window.padding[at + 3];
                ((n - 1) * window.stride[at] + window.kernel[at]).saturating_sub(padding)
            };
            let out = [size(0), size(1), size(2), co];
            if out.contains(&0) {
                return weighted(rng);
            }
            let op = NodeOp::ConvTranspose {
                window,
                output_padding: [0; 3],
                groups: 1,
            };
            Node::new(rng, Q8ConvTranspose::KERNEL, op, &[&[od, oh, ow, ci]], &out)
                .weights(rng, &[co, kd, kh, kw, ci])
        }
        _ => {
            let rows = rng.below(1..30);
            let mut node = Node::new(
                rng,
                F16LinearDynamic::KERNEL,
                NodeOp::Linear,
                &[&[rows, ci]],
                &[rows, co],
            );
            let float = |shape: &[usize]| (DType::float32, shape.to_vec(), None);
            node.inputs = vec![float(&[rows, ci])];
            node.output = float(&[rows, co]);
            node.weight_shape = vec![co, ci];
            node.halves = (0..co * ci).map(|_| rng.unit() - 0.5).collect();
            node.plain()
        }
    }
}

/// Everything else that takes images.
fn unweighted(rng: &mut Rng) -> Node {
    let c = rng.below(1..70);
    let (window, [h, w], [oh, ow]) = window(rng);
    let (image, pooled) = ([h, w, c], [oh, ow, c]);
    let same = |rng: &mut Rng, kernel: &'static Kernel, op: NodeOp| {
        Node::new(rng, kernel, op, &[&image], &image)
    };
    match rng.below(0..16) {
        0 => {
            let other = rng.pick(&[image, [1, 1, c], [h, w, 1]]);
            Node::new(rng, Q8Add::KERNEL, NodeOp::Add, &[&image, &other], &image)
        }
        1 => {
            let other = rng.pick(&[image, [1, 1, c], [h, w, 1]]);
            Node::new(rng, Q8Mul::KERNEL, NodeOp::Mul, &[&image, &other], &image)
        }
        2 => {
            let (m, k, n) = (rng.below(1..30), rng.below(1..40), rng.below(1..70));
            let transposed = rng.chance(2);
            let right = if transposed { [n, k] } else { [k, n] };
            let op = NodeOp::MatMul { transposed };
            Node::new(rng, Q8MatMul::KERNEL, op, &[&[m, k], &right], &[m, n])
        }
        3 => {
            let axis = rng.below(1..4);
            let mut out = image;
            out[axis - 1] *= 2;
            let op = NodeOp::Cat { axis };
            Node::new(rng, Q8Cat::KERNEL, op, &[&image, &image], &out).plain()
        }
        4 => {
            let mut node = same(rng, Q8Softmax::KERNEL, NodeOp::Softmax { axis: 3 }).plain();
            node.output.2 = Some(QParams {
                scale: 1.0 / 256.0,
                zero_point: -flip(node.output.0),
            });
            node
        }
        5 => same(rng, Q8Lut::KERNEL, NodeOp::Unary(Unary::Hardswish)),
        6 => same(rng, Q8PRelu::KERNEL, NodeOp::PRelu).floats(rng, &[c]),
        7 => {
            let mut node = same(rng, Q8Clamp::KERNEL, NodeOp::Clamp).shared();
            node.activation = Activation::Relu;
            node
        }
        8 => {
            let op = NodeOp::MaxPool { window };
            Node::new(rng, Q8MaxPool::KERNEL, op, &[&image], &pooled).shared()
        }
        9 => {
            let op = NodeOp::AvgPool {
                window,
                count_include_pad: rng.chance(2),
                divisor_override: None,
            };
            Node::new(rng, Q8AvgPool::KERNEL, op, &[&image], &pooled)
        }
        10 => {
            let op = NodeOp::AdaptiveAvgPool;
            Node::new(rng, Q8AdaptiveAvgPool::KERNEL, op, &[&image], &[2, 3, c])
        }
        11 => {
            let op = NodeOp::Mean { axes: 0b110 };
            Node::new(rng, Q8Mean::KERNEL, op, &[&image], &[1, 1, c])
        }
        12 => same(rng, Q8BatchNorm::KERNEL, NodeOp::BatchNorm { eps: 1e-5 })
            .floats(rng, &[c, c, c, c]),
        13 => {
            let op = NodeOp::GroupNorm {
                groups: 1,
                eps: 1e-5,
            };
            same(rng, Q8GroupNorm::KERNEL, op).floats(rng, &[c, c])
        }
        14 => {
            let op = NodeOp::LayerNorm { axes: 1, eps: 1e-5 };
            same(rng, Q8LayerNorm::KERNEL, op).floats(rng, &[c, c])
        }
        _ => {
            let op = NodeOp::Interpolate(Interpolation {
                mode: InterpolationMode::Linear,
                step: [1.0, 0.5, 0.5],
            });
            let out = [2 * h, 2 * w, c];
            Node::new(rng, Q8Interpolate::KERNEL, op, &[&image], &out)
                .shared()
                .plain()
        }
    }
}

#[test]
fn products_of_a_batch_are_those_of_its_parts() {
    report();
    for seed in 0..cases(1_200) {
        let rng = &mut Rng::new(seed);
        weighted(rng).check(rng);
    }
}

#[test]
fn other_operators_of_a_batch_are_those_of_its_parts() {
    for seed in 0..cases(2_000) {
        let rng = &mut Rng::new(seed);
        unweighted(rng).check(rng);
    }
}
