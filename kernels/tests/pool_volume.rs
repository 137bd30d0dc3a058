//! Pools of volumes, adaptive pools, and means over any axes, against their definitions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use harness::*;
use proptest::prelude::{ProptestConfig, proptest};
use qconfig_core::DType;
use qconfig_core::kernel::{Activation, Kernel, KernelFamily, NodeOp, QParams, Window3};
use qconfig_kernels::{Q8AdaptiveAvgPool, Q8AvgPool, Q8MaxPool, Q8Mean};

const CASES: u64 = 1_200;

/// What all of these have: dtype, parameters, activation.
struct Params {
    dtype: DType,
    from: QParams,
    to: QParams,
    activation: Activation,
}

impl Params {
    fn random(rng: &mut Rng) -> Self {
        let dtype = rng.dtype();
        let from = QParams {
            scale: rng.scale().clamp(1e-20, 1e20),
            zero_point: rng.zero_point(dtype),
        };
        let to = QParams {
            scale: (from.scale * (0.5 + rng.unit())).clamp(1e-20, 1e20),
            zero_point: rng.zero_point(dtype),
        };
        Self {
            dtype,
            from,
            to,
            activation: rng.activation(to.scale),
        }
    }

    fn mean(&self, sum: i64, cells: usize, divisor: usize) -> u8 {
        let flip = flip(self.dtype);
        let (za, zo) = (self.from.zero_point + flip, self.to.zero_point + flip);
        let sum = sum - i64::from(za) * cells as i64;
        let scaled = if cells == 0 {
            0.0
        } else {
            sum as i32 as f32 * (self.from.scale / (self.to.scale * divisor as f32))
        };
        let q = (f64::from(scaled).round_ties_even() + f64::from(zo)).clamp(0.0, 255.0) as u8;
        activate(q, self.activation, self.to.scale, zo)
    }
}

fn channels(rng: &mut Rng) -> usize {
    if rng.chance(8) {
        rng.below(60..150)
    } else {
        rng.below(1..40)
    }
}

/// The cells along one axis that an output sees: their positions, and how many lie in the padded input.
type Seen = Vec<(Vec<usize>, usize)>;

/// A random axis: input size, window numbers, what each output sees.
fn axis(rng: &mut Rng, dilated: bool) -> (usize, [usize; 5], Seen) {
    let (kernel, stride) = (rng.below(1..4), rng.below(1..4));
    let dilation = if dilated { rng.below(1..3) } else { 1 };
    let (before, after) = (rng.below(0..kernel), rng.below(0..kernel));
    let size = rng.below(1..6);
    let span = dilation * (kernel - 1) + 1;
    let padded = size + before + after;
    let floor = if padded < span {
        1
    } else {
        (padded - span) / stride + 1
    };
    // ceil mode: one more, if it starts inside
    let outputs = floor + usize::from(rng.chance(2) && floor * stride < padded);
    let seen = (0..outputs).map(|o| {
        let cells = (0..kernel).map(|tap| o * stride + tap * dilation);
        let cells: Vec<usize> = cells.filter(|at| *at < padded).collect();
        let inside = cells
            .iter()
            .filter(|at| (before..before + size).contains(at));
        (inside.map(|at| at - before).collect(), cells.len())
    });
    let seen = seen.collect();
    (size, [kernel, stride, before, after, dilation], seen)
}

/// Calls with the bytes that each output sees and how many cells lie in the padded input.
fn each(
    input: &[u8],
    [batch, d, h, w, c]: [usize; 5],
    axes: &[Seen; 3],
    mut of: impl FnMut(&[u8], usize) -> u8,
) -> Vec<u8> {
    let mut output = Vec::new();
    for n in 0..batch {
        for (zs, pz) in &axes[0] {
            for (ys, py) in &axes[1] {
                for (xs, px) in &axes[2] {
                    for channel in 0..c {
                        let mut seen = Vec::new();
                        for z in zs {
                            for y in ys {
                                for x in xs {
                                    let at = ((n * d + z) * h + y) * w + x;
                                    seen.push(input[at * c + channel]);
                                }
                            }
                        }
                        output.push(of(&seen, pz * py * px));
                    }
                }
            }
        }
    }
    output
}

fn sum(seen: &[u8]) -> i64 {
    seen.iter().map(|q| i64::from(*q)).sum()
}

struct Volume {
    input: [usize; 5],
    output: [usize; 5],
    window: Window3,
    axes: [Seen; 3],
}

fn volume(rng: &mut Rng, dilated: bool) -> Volume {
    let drawn = [axis(rng, dilated), axis(rng, dilated), axis(rng, dilated)];
    let of = |at: usize| [drawn[0].1[at], drawn[1].1[at], drawn[2].1[at]];
    let (n, c) = (rng.below(1..3), channels(rng));
    let ([front, top, left], [back, bottom, right]) = (of(2), of(3));
    let outputs = [drawn[0].2.len(), drawn[1].2.len(), drawn[2].2.len()];
    Volume {
        input: [n, drawn[0].0, drawn[1].0, drawn[2].0, c],
        output: [n, outputs[0], outputs[1], outputs[2], c],
        window: Window3 {
            kernel: of(0),
            stride: of(1),
            padding: [front, top, left, back, bottom, right],
            dilation: of(4),
        },
        axes: drawn.map(|axis| axis.2),
    }
}

#[test]
fn max_pool_equals_its_definition() {
    report();
    for seed in 0..cases(CASES) {
        let rng = &mut Rng::new(seed);
        let (params, case) = (Params::random(rng), volume(rng, true));
        let bytes = rng.bytes(case.input.iter().product());
        let zero_point = params.from.zero_point + flip(params.dtype);
        let expected = each(&bytes, case.input, &case.axes, |seen, _| {
            let most = seen.iter().copied().max().unwrap_or(0);
            activate(most, params.activation, params.from.scale, zero_point)
        });
        let window = case.window;
        let inputs = [tensor(params.dtype, &case.input, Some(params.from))];
        let output = tensor(params.dtype, &case.output, Some(params.from));
        let op = NodeOp::MaxPool3d { window };
        let spec = node(op, params.activation, &inputs, output);
        check(Q8MaxPool::KERNEL, &spec, &[bytes], &expected, rng);
    }
}

#[test]
fn average_pool_equals_its_definition() {
    for seed in 0..cases(CASES) {
        let rng = &mut Rng::new(seed);
        let (params, case) = (Params::random(rng), volume(rng, false));
        let count_include_pad = rng.chance(2);
        let divisor_override = rng.chance(3).then(|| rng.below(1..30));
        let bytes = rng.bytes(case.input.iter().product());
        let expected = each(&bytes, case.input, &case.axes, |seen, padded| {
            let counted = if count_include_pad {
                padded
            } else {
                seen.len()
            };
            params.mean(sum(seen), seen.len(), divisor_override.unwrap_or(counted))
        });
        let op = NodeOp::AvgPool3d {
            window: case.window,
            count_include_pad,
            divisor_override,
        };
        let inputs = [tensor(params.dtype, &case.input, Some(params.from))];
        let output = tensor(params.dtype, &case.output, Some(params.to));
        let spec = node(op, params.activation, &inputs, output);
        check(Q8AvgPool::KERNEL, &spec, &[bytes], &expected, rng);
    }
}

/// What the outputs of an adaptive pool see along an axis.
fn shares(size: usize, outputs: usize) -> Seen {
    let share = |i: usize| {
        let start = (i as f64 * size as f64 / outputs as f64).floor() as usize;
        let end = ((i + 1) as f64 * size as f64 / outputs as f64).ceil() as usize;
        ((start..end).collect(), end - start)
    };
    (0..outputs).map(share).collect()
}

/// The shape of so many axes, the last of three.
fn ranked([n, d, h, w, c]: [usize; 5], rank: usize) -> Vec<usize> {
    [&[n], &[d, h, w][3 - rank..], &[c]].concat()
}

fn adaptive(rng: &mut Rng) -> (usize, [usize; 5], [usize; 5], [Seen; 3]) {
    let rank = rng.below(1..4);
    let most = [40, 12, 7][rank - 1];
    let mut sizes = [[1; 3]; 2];
    for size in &mut sizes {
        for size in &mut size[3 - rank..] {
            *size = rng.below(1..most);
        }
    }
    let [[d, h, w], [od, oh, ow]] = sizes;
    let (n, c) = (rng.below(1..3), channels(rng));
    let axes = [0, 1, 2].map(|axis| shares(sizes[0][axis], sizes[1][axis]));
    (rank, [n, d, h, w, c], [n, od, oh, ow, c], axes)
}

#[test]
fn adaptive_pool_equals_its_definition() {
    for seed in 0..cases(CASES) {
        let rng = &mut Rng::new(seed);
        let params = Params::random(rng);
        let (rank, from, to, axes) = adaptive(rng);
        let bytes = rng.bytes(from.iter().product());
        let expected = each(&bytes, from, &axes, |seen, _| {
            params.mean(sum(seen), seen.len(), seen.len())
        });
        let (from, to) = (ranked(from, rank), ranked(to, rank));
        let inputs = [tensor(params.dtype, &from, Some(params.from))];
        let output = tensor(params.dtype, &to, Some(params.to));
        let spec = node(NodeOp::AdaptiveAvgPool, params.activation, &inputs, output);
        check(Q8AdaptiveAvgPool::KERNEL, &spec, &[bytes], &expected, rng);
    }
}

/// A shape and the axes to average.
fn axes(rng: &mut Rng) -> (Vec<usize>, u32) {
    let rank = rng.below(1..6);
    let size = |rng: &mut Rng| {
        if rng.chance(6) {
            1
        } else {
            rng.below(1..[400, 40, 14, 8, 5][rank - 1])
        }
    };
    let shape = (0..rank).map(|_| size(rng)).collect();
    (shape, rng.below(0..1 << rank) as u32)
}

#[test]
fn mean_equals_its_definition() {
    for seed in 0..cases(2 * CASES) {
        let rng = &mut Rng::new(seed);
        let params = Params::random(rng);
        let (shape, mask) = axes(rng);
        let bytes = rng.bytes(shape.iter().product());
        let averaged = |axis: usize| mask >> axis & 1 == 1;
        // the sums of all outputs, by the position of each input
        let ones: Vec<usize> = shape
            .iter()
            .enumerate()
            .map(|(axis, size)| if averaged(axis) { 1 } else { *size })
            .collect();
        let outputs: usize = ones.iter().product();
        let cells = bytes.len() / outputs;
        let mut sums = vec![0i64; outputs];
        for (at, q) in bytes.iter().enumerate() {
            let (mut rest, mut place, mut to) = (at, 1, 0);
            for axis in (0..shape.len()).rev() {
                if !averaged(axis) {
                    to += rest % shape[axis] * place;
                    place *= shape[axis];
                }
                rest /= shape[axis];
            }
            sums[to] += i64::from(*q);
        }
        let expected: Vec<u8> = sums
            .iter()
            .map(|sum| params.mean(*sum, cells, cells))
            .collect();
        let kept: Vec<usize> = (0..shape.len())
            .filter(|axis| !averaged(*axis))
            .map(|axis| shape[axis])
            .collect();
        let out = match (rng.chance(2), kept.as_slice()) {
            (true, _) => ones,
            (_, []) => vec![1],
            _ => kept,
        };
        let inputs = [tensor(params.dtype, &shape, Some(params.from))];
        let output = tensor(params.dtype, &out, Some(params.to));
        let op = NodeOp::Mean { axes: mask };
        let spec = node(op, params.activation, &inputs, output);
        check(Q8Mean::KERNEL, &spec, &[bytes], &expected, rng);
    }
}

#[test]
fn nodes_that_do_not_fit_are_refused() {
    let q = Some(QParams {
        scale: 0.5,
        zero_point: 3,
    });
    let refused = |kernel: &Kernel, op, from: &[usize], to: &[usize]| {
        let inputs = [tensor(DType::quint8, from, q)];
        let output = tensor(DType::quint8, to, q);
        (kernel.sizes)(&node(op, Activation::None, &inputs, output)).is_err()
    };
    let adaptive = NodeOp::AdaptiveAvgPool;
    let kernel = Q8AdaptiveAvgPool::KERNEL;
    assert!(!refused(kernel, adaptive, &[1, 4, 4, 8], &[1, 3, 5, 8]));
    assert!(refused(kernel, adaptive, &[1, 4, 4, 8], &[1, 3, 5, 7]));
    assert!(refused(kernel, adaptive, &[1, 4, 4, 8], &[2, 3, 5, 8]));
    assert!(refused(kernel, adaptive, &[1, 4, 4, 8], &[1, 3, 8]));
    assert!(refused(kernel, adaptive, &[1, 8], &[1, 8]));
    assert!(refused(kernel, adaptive, &[1, 4, 0, 8], &[1, 3, 5, 8]));
    let mean = |axes| NodeOp::Mean { axes };
    let kernel = Q8Mean::KERNEL;
    assert!(!refused(kernel, mean(0b10), &[2, 3, 4], &[2, 4]));
    assert!(!refused(kernel, mean(0b10), &[2, 3, 4], &[2, 1, 4]));
    assert!(refused(kernel, mean(0b10), &[2, 3, 4], &[3, 4]));
    assert!(refused(kernel, mean(0b1000), &[2, 3, 4], &[2, 3, 4]));
    assert!(refused(kernel, mean(0b10), &[2, 0, 4], &[2, 4]));
    let window = Window3 {
        kernel: [2; 3],
        stride: [2; 3],
        padding: [0; 6],
        dilation: [1; 3],
    };
    let pool = NodeOp::MaxPool3d { window };
    let (kernel, from) = (Q8MaxPool::KERNEL, [1, 4, 4, 4, 8]);
    assert!(!refused(kernel, pool, &from, &[1, 2, 2, 2, 8]));
    assert!(refused(kernel, pool, &from, &[1, 3, 2, 2, 8]));
    assert!(refused(kernel, pool, &from, &[1, 2, 2, 2, 9]));
    assert!(refused(kernel, pool, &[1, 4, 4, 8], &[1, 2, 2, 8]));
}

fn attacked(kernel: &Kernel, op: NodeOp, from: &[usize], to: &[usize], rng: &mut Rng) {
    let params = Params::random(rng);
    let inputs = [tensor(params.dtype, from, Some(params.from))];
    let output = tensor(params.dtype, to, Some(params.from));
    let bytes = rng.bytes(from.iter().product());
    let spec = node(op, Activation::Relu, &inputs, output);
    attack_all(kernel, &spec, &[bytes], rng);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(25) as u32, ..ProptestConfig::default() })]

    #[test]
    fn damaged_blobs_are_errors(seed: u64) {
        let rng = &mut Rng::new(seed);
        let case = volume(rng, false);
        let window = case.window;
        attacked(Q8MaxPool::KERNEL, NodeOp::MaxPool3d { window }, &case.input, &case.output, rng);
        let op = NodeOp::AvgPool3d { window, count_include_pad: rng.chance(2), divisor_override: None };
        attacked(Q8AvgPool::KERNEL, op, &case.input, &case.output, rng);
        let (rank, from, to, _) = adaptive(rng);
        attacked(Q8AdaptiveAvgPool::KERNEL, NodeOp::AdaptiveAvgPool, &ranked(from, rank), &ranked(to, rank), rng);
        let (shape, mask) = axes(rng);
        let ones: Vec<usize> =
            shape.iter().enumerate().map(|(axis, size)| if mask >> axis & 1 == 1 { 1 } else { *size }).collect();
        attacked(Q8Mean::KERNEL, NodeOp::Mean { axes: mask }, &shape, &ones, rng);
    }
}
