//! Pools against their definitions, one output at a time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use harness::*;
use proptest::prelude::{ProptestConfig, proptest};
use qconfig_core::DType;
use qconfig_core::kernel::{Activation, Kernel, KernelFamily, NodeOp, QParams, Window};
use qconfig_kernels::{Q8AvgPool, Q8GlobalAvgPool, Q8MaxPool};

const CASES: u64 = 2_000;

struct Case {
    dtype: DType,
    from: QParams,
    to: QParams,
    activation: Activation,
    input: [usize; 4],
    output: [usize; 4],
    window: Window,
}

fn channels(rng: &mut Rng) -> usize {
    if rng.chance(10) {
        rng.below(100..300)
    } else {
        rng.below(1..70)
    }
}

fn random(rng: &mut Rng, dilated: bool) -> Case {
    let dtype = rng.dtype();
    let one = rng.chance(6);
    let axis = |rng: &mut Rng, one: bool| -> (usize, usize, usize, usize, [usize; 2], usize) {
        if one {
            return (1, 1, 1, 1, [0, 0], 1);
        }
        let (kernel, stride) = (rng.below(1..5), rng.below(1..4));
        let dilation = if dilated { rng.below(1..4) } else { 1 };
        let padding = [rng.below(0..kernel), rng.below(0..kernel)];
        let size = rng.below(1..9);
        let span = dilation * (kernel - 1) + 1;
        let padded = size + padding[0] + padding[1];
        let floor = if padded < span {
            1
        } else {
            (padded - span) / stride + 1
        };
        // ceil mode: one more, if it starts inside
        let more = usize::from(rng.chance(2) && floor * stride < padded);
        (size, kernel, stride, floor + more, padding, dilation)
    };
    let (h, kh, sh, oh, [top, bottom], dh) = axis(rng, one);
    let (w, kw, sw, ow, [left, right], dw) = axis(rng, false);
    let (n, c) = (rng.below(1..3), channels(rng));
    let from = rng.qparams(dtype);
    let to = QParams {
        scale: from.scale * (0.5 + rng.unit()),
        zero_point: rng.zero_point(dtype),
    };
    Case {
        dtype,
        from: QParams {
            scale: from.scale.clamp(1e-20, 1e20),
            ..from
        },
        to: QParams {
            scale: to.scale.clamp(1e-20, 1e20),
            ..to
        },
        activation: rng.activation(to.scale),
        input: [n, h, w, c],
        output: [n, oh, ow, c],
        window: Window {
            kernel: [kh, kw],
            stride: [sh, sw],
            padding: [top, left, bottom, right],
            dilation: [dh, dw],
        },
    }
}

impl Case {
    /// Shape in the rank that the node has: `[N, L, C]` where the height is 1 and a coin falls so.
    fn run(&self, kernel: &Kernel, op: NodeOp, input: Vec<u8>, expected: &[u8], rng: &mut Rng) {
        let flat = self.input[1] == 1 && self.output[1] == 1 && rng.chance(2);
        let short = |[n, h, w, c]: [usize; 4]| {
            if flat {
                vec![n, w, c]
            } else {
                vec![n, h, w, c]
            }
        };
        let (a, b) = (short(self.input), short(self.output));
        let inputs = [tensor(self.dtype, &a, Some(self.from))];
        let spec = node(
            op,
            self.activation,
            &inputs,
            tensor(self.dtype, &b, Some(self.to)),
        );
        check(kernel, &spec, &[input], expected, rng);
    }

    /// What each output sees: its bytes, and how many cells of its window lie in the padded input.
    fn each(&self, input: &[u8], mut of: impl FnMut(Vec<u8>, usize) -> u8) -> Vec<u8> {
        let [batch, height, width, channels] = self.input;
        let Window {
            kernel,
            stride,
            padding: [top, left, bottom, right],
            dilation,
        } = self.window;
        let mut output = Vec::new();
        for n in 0..batch {
            for (oy, ox, c) in (0..self.output[1]).flat_map(|y| {
                (0..self.output[2]).flat_map(move |x| (0..channels).map(move |c| (y, x, c)))
            }) {
                let (mut seen, mut padded) = (Vec::new(), 0);
                for (ky, kx) in (0..kernel[0]).flat_map(|y| (0..kernel[1]).map(move |x| (y, x))) {
                    // in coordinates of the padded input
                    let (y, x) = (
                        oy * stride[0] + ky * dilation[0],
                        ox * stride[1] + kx * dilation[1],
                    );
                    if y >= top + height + bottom || x >= left + width + right {
                        continue;
                    }
                    padded += 1;
                    if (top..top + height).contains(&y) && (left..left + width).contains(&x) {
                        seen.push(
                            input[((n * height + y - top) * width + x - left) * channels + c],
                        );
                    }
                }
                output.push(of(seen, padded));
            }
        }
        output
    }

    fn mean(&self, seen: &[u8], divisor: usize) -> u8 {
        let flip = flip(self.dtype);
        let (za, zo) = (self.from.zero_point + flip, self.to.zero_point + flip);
        let sum: i32 = seen.iter().map(|q| i32::from(*q) - za).sum();
        let scaled = match seen {
            [] => 0.0,
            _ => sum as f32 * (self.from.scale / (self.to.scale * divisor as f32)),
        };
        let q = (f64::from(scaled).round_ties_even() + f64::from(zo)).clamp(0.0, 255.0) as u8;
        activate(q, self.activation, self.to.scale, zo)
    }
}

#[test]
fn max_pool_equals_its_definition() {
    report();
    for seed in 0..cases(CASES) {
        let rng = &mut Rng::new(seed);
        let mut case = random(rng, true);
        case.to = case.from;
        let input = rng.bytes(case.input.iter().product());
        let zero_point = case.to.zero_point + flip(case.dtype);
        let expected = case.each(&input, |seen, _| {
            activate(
                seen.into_iter().max().unwrap_or(0),
                case.activation,
                case.to.scale,
                zero_point,
            )
        });
        case.run(
            Q8MaxPool::KERNEL,
            NodeOp::MaxPool {
                window: case.window,
            },
            input,
            &expected,
            rng,
        );
    }
}

#[test]
fn average_pool_equals_its_definition() {
    for seed in 0..cases(CASES) {
        let rng = &mut Rng::new(seed);
        let case = random(rng, false);
        let window = case.window;
        let count_include_pad = rng.chance(2);
        let divisor_override = rng.chance(3).then(|| rng.below(1..30));
        let input = rng.bytes(case.input.iter().product());
        let expected = case.each(&input, |seen, padded| {
            let counted = if count_include_pad {
                padded
            } else {
                seen.len()
            };
            case.mean(&seen, divisor_override.unwrap_or(counted))
        });
        let op = NodeOp::AvgPool {
            window,
            count_include_pad,
            divisor_override,
        };
        case.run(Q8AvgPool::KERNEL, op, input, &expected, rng);
    }
}

#[test]
fn global_average_pool_equals_its_definition() {
    for seed in 0..cases(CASES) {
        let rng = &mut Rng::new(seed);
        let mut case = random(rng, false);
        let [n, .., c] = case.input;
        // beyond 257 positions the sums leave 16 bits
        let positions = if rng.chance(10) {
            rng.below(250..1200)
        } else {
            rng.below(1..60)
        };
        (case.input, case.output) = ([n, 1, positions, c], [n, 1, 1, c]);
        case.window = Window {
            kernel: [1, positions],
            stride: [1; 2],
            padding: [0; 4],
            dilation: [1; 2],
        };
        let input = rng.bytes(n * positions * c);
        let expected = case.each(&input, |seen, _| case.mean(&seen, positions));
        let axes = rng.below(0..4);
        let spatial = match axes {
            0 if positions == 1 => vec![],
            2 if positions % 2 == 0 => vec![2, positions / 2],
            3 if positions % 3 == 0 => vec![3, 1, positions / 3],
            _ => vec![positions],
        };
        let shape = [vec![n], spatial.clone(), vec![c]].concat();
        let out = [vec![n], vec![1; spatial.len()], vec![c]].concat();
        let inputs = [tensor(case.dtype, &shape, Some(case.from))];
        let spec = node(
            NodeOp::GlobalAvgPool,
            case.activation,
            &inputs,
            tensor(case.dtype, &out, Some(case.to)),
        );
        check(Q8GlobalAvgPool::KERNEL, &spec, &[input], &expected, rng);
    }
}

#[test]
fn means_round_ties_to_even() {
    let rng = &mut Rng::new(3);
    let q = Some(QParams {
        scale: 0.1,
        zero_point: 0,
    });
    // sums 1, 3, 5 and 7 of two cells
    let input = vec![0, 1, 2, 3, 1, 2, 3, 4];
    let inputs = [tensor(DType::quint8, &[1, 2, 4], q)];
    let spec = node(
        NodeOp::GlobalAvgPool,
        Activation::None,
        &inputs,
        tensor(DType::quint8, &[1, 1, 4], q),
    );
    check(Q8GlobalAvgPool::KERNEL, &spec, &[input], &[0, 2, 2, 4], rng);
}

#[test]
fn nodes_that_do_not_fit_are_refused() {
    let q = Some(QParams {
        scale: 0.5,
        zero_point: 3,
    });
    let other = Some(QParams {
        scale: 0.25,
        zero_point: 3,
    });
    let window = Window {
        kernel: [2, 2],
        stride: [2, 2],
        padding: [0; 4],
        dilation: [1; 2],
    };
    let input = [tensor(DType::quint8, &[1, 4, 4, 8], q)];
    let refused = |window: Window, output: &[usize], q| {
        let spec = node(
            NodeOp::MaxPool { window },
            Activation::None,
            &input,
            tensor(DType::quint8, output, q),
        );
        (Q8MaxPool::KERNEL.sizes)(&spec).is_err()
    };
    assert!(!refused(window, &[1, 2, 2, 8], q));
    assert!(refused(window, &[1, 2, 2, 8], other));
    assert!(
        refused(window, &[1, 3, 2, 8], q),
        "the third window starts behind the input"
    );
    assert!(refused(window, &[1, 2, 2, 9], q));
    assert!(refused(window, &[2, 2, 2, 8], q));
    assert!(refused(window, &[1, 2, 16], q));
    assert!(refused(
        Window {
            stride: [0, 1],
            ..window
        },
        &[1, 2, 2, 8],
        q
    ));
    assert!(refused(
        Window {
            kernel: [1 << 16, 1],
            ..window
        },
        &[1, 2, 2, 8],
        q
    ));
    assert!(refused(
        Window {
            dilation: [0, 1],
            ..window
        },
        &[1, 2, 2, 8],
        q
    ));
    let average = |divisor_override, dilation| {
        let op = NodeOp::AvgPool {
            window: Window { dilation, ..window },
            count_include_pad: true,
            divisor_override,
        };
        let spec = node(
            op,
            Activation::None,
            &input,
            tensor(DType::quint8, &[1, 2, 2, 8], other),
        );
        (Q8AvgPool::KERNEL.sizes)(&spec).is_err()
    };
    assert!(!average(None, [1, 1]));
    assert!(average(Some(0), [1, 1]));
    assert!(average(None, [2, 1]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(30) as u32, ..ProptestConfig::default() })]

    #[test]
    fn damaged_blobs_are_errors(seed: u64) {
        let rng = &mut Rng::new(seed);
        let case = random(rng, false);
        let window = case.window;
        let bytes = rng.bytes(case.input.iter().product());
        let inputs = [tensor(case.dtype, &case.input, Some(case.from))];
        let same = tensor(case.dtype, &case.output, Some(case.from));
        let spec = node(NodeOp::MaxPool { window }, Activation::Relu, &inputs, same);
        attack_all(Q8MaxPool::KERNEL, &spec, std::slice::from_ref(&bytes), rng);
        let op = NodeOp::AvgPool { window, count_include_pad: rng.chance(2), divisor_override: None };
        attack_all(Q8AvgPool::KERNEL, &node(op, Activation::None, &inputs, same), std::slice::from_ref(&bytes), rng);
        let [n, .., c] = case.input;
        let shape = [n, 1, 1, c];
        let one = tensor(case.dtype, &shape, Some(case.to));
        let spec = node(NodeOp::GlobalAvgPool, Activation::None, &inputs, one);
        attack_all(Q8GlobalAvgPool::KERNEL, &spec, &[bytes], rng);
    }
}
