//! Convolutions of volumes, forward and transposed, against their definitions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use harness::*;
use proptest::prelude::{ProptestConfig, proptest};
use qconfig_core::DType;
use qconfig_core::kernel::{
    Activation, Kernel, KernelFamily, NodeOp, NodeSpec, QParams, WeightData, WeightSpec, Window3,
};
use qconfig_kernels::{Q8Conv, Q8ConvTranspose, fbgemm};

const CASES: u64 = 2_000;

struct Case {
    transposed: bool,
    /// Whether the kernel is the one with FBGEMM's numerics.
    fbgemm: bool,
    window: Window3,
    output_padding: [usize; 3],
    groups: usize,
    batch: usize,
    input: [usize; 3],
    output: [usize; 3],
    channels: usize,
    outputs: usize,
    dtypes: [DType; 2],
    from: QParams,
    to: QParams,
    weight: Vec<i8>,
    scales: Vec<f32>,
    zero_points: Vec<i32>,
    bias: Option<Vec<f32>>,
    activation: Activation,
    bytes: Vec<u8>,
    /// Spatial dimensions that the node has: the last of three.
    rank: usize,
}

/// Sizes of one axis: input, output, kernel, stride, padding, dilation, output padding.
type Axis = (usize, usize, usize, usize, [usize; 2], usize, usize);

fn axis(rng: &mut Rng, transposed: bool) -> Axis {
    loop {
        let (kernel, stride, dilation) = (rng.below(1..5), rng.below(1..4), rng.below(1..3));
        let padding = [rng.below(0..3), rng.below(0..3)];
        let size = rng.below(1..7);
        let span = dilation * (kernel - 1) + 1;
        let more = rng.below(0..stride.max(dilation));
        let output = if transposed {
            ((size - 1) * stride + span + more).checked_sub(padding[0] + padding[1])
        } else {
            (size + padding[0] + padding[1])
                .checked_sub(span)
                .map(|room| room / stride + 1)
        };
        if let Some(output @ 1..) = output {
            return (size, output, kernel, stride, padding, dilation, more);
        }
    }
}

fn random(rng: &mut Rng, transposed: bool) -> Case {
    let rank = if transposed { rng.below(1..4) } else { 3 };
    let axes: Vec<Axis> = (0..3)
        .map(|d| {
            if d + rank < 3 {
                (1, 1, 1, 1, [0, 0], 1, 0)
            } else {
                axis(rng, transposed)
            }
        })
        .collect();
    let each = |f: &dyn Fn(&Axis) -> usize| [f(&axes[0]), f(&axes[1]), f(&axes[2])];
    let (before, after) = (each(&|a| a.4[0]), each(&|a| a.4[1]));
    let groups = rng.pick(&[1, 1, 1, 2, 3]);
    let per_group = if rng.chance(6) {
        rng.below(16..40)
    } else {
        rng.below(1..9)
    };
    let per_group = if groups > 1 && rng.chance(2) {
        1
    } else {
        per_group
    };
    let channels = groups * per_group;
    let most = if rng.chance(6) { 40 } else { 8 };
    let outputs = groups * rng.below(1..most);
    let kernel = each(&|a| a.2);
    let k = per_group * kernel.iter().product::<usize>();
    let dtypes = [rng.dtype(), rng.dtype()];
    let from = QParams {
        scale: 0.01 * (1.0 + rng.unit()),
        zero_point: rng.zero_point(dtypes[0]),
    };
    let to = QParams {
        scale: 0.01 * (k as f32).sqrt() * (0.5 + rng.unit()),
        zero_point: rng.zero_point(dtypes[1]),
    };
    let count = if rng.chance(2) { 1 } else { outputs };
    let asymmetric = rng.chance(4);
    let zero_points = (0..count)
        .map(|_| {
            if asymmetric {
                rng.below(0..200) as i32 - 100
            } else {
                0
            }
        })
        .collect();
    let input = each(&|a| a.0);
    let batch = rng.below(1..3);
    let len = batch * input.iter().product::<usize>() * channels;
    Case {
        transposed,
        fbgemm: rng.chance(2),
        window: Window3 {
            kernel,
            stride: each(&|a| a.3),
            padding: [
                before[0], before[1], before[2], after[0], after[1], after[2],
            ],
            dilation: each(&|a| a.5),
        },
        output_padding: each(&|a| a.6),
        groups,
        batch,
        input,
        output: each(&|a| a.1),
        channels,
        outputs,
        dtypes,
        from,
        to,
        weight: rng
            .bytes(outputs * k)
            .into_iter()
            .map(|w| w as i8)
            .collect(),
        scales: (0..count).map(|_| 0.01 * (1.0 + rng.unit())).collect(),
        zero_points,
        bias: rng.chance(2).then(|| {
            (0..outputs)
                .map(|_| 4.0 * to.scale * (rng.unit() * 40.0 - 20.0))
                .collect()
        }),
        activation: match rng.activation(to.scale) {
            // a product takes no bounds that cross
            Activation::Clamp { low, high } if low > high => Activation::Relu,
            activation => activation,
        },
        bytes: rng.bytes(len),
        rank,
    }
}

impl Case {
    /// `[first, spatial.., last]` in the node's rank.
    fn shape(&self, first: usize, spatial: [usize; 3], last: usize) -> Vec<usize> {
        [&[first], &spatial[3 - self.rank..], &[last]].concat()
    }

    fn kernel(&self) -> &'static Kernel {
        match (self.transposed, self.fbgemm) {
            (true, false) => Q8ConvTranspose::KERNEL,
            (true, true) => fbgemm::Q8ConvTranspose::KERNEL,
            (false, false) => Q8Conv::KERNEL,
            (false, true) => fbgemm::Q8Conv::KERNEL,
        }
    }

    fn with<T>(&self, use_node: impl FnOnce(&NodeSpec<'_>) -> T) -> T {
        let (window, groups) = (self.window, self.groups);
        let input = self.shape(self.batch, self.input, self.channels);
        let output = self.shape(self.batch, self.output, self.outputs);
        let weight = self.shape(self.outputs, window.kernel, self.channels / groups.max(1));
        use_node(&NodeSpec {
            activation: self.activation,
            weight: Some(WeightSpec {
                dtype: DType::qint8,
                shape: &weight,
                data: WeightData::I8(&self.weight),
                scales: &self.scales,
                zero_points: &self.zero_points,
            }),
            bias: self.bias.as_deref(),
            ..NodeSpec::new(
                if self.transposed {
                    NodeOp::ConvTranspose {
                        window,
                        output_padding: self.output_padding,
                        groups,
                    }
                } else {
                    NodeOp::Conv3d { window, groups }
                },
                &[tensor(self.dtypes[0], &input, Some(self.from))],
                tensor(self.dtypes[1], &output, Some(self.to)),
            )
        })
    }

    /// Sums by the definition: pairs of an input and an output position that a tap joins.
    fn sums(&self) -> Vec<i64> {
        let za = i64::from(self.from.zero_point + flip(self.dtypes[0]));
        let positions = |[d, h, w]: [usize; 3]| {
            (0..d).flat_map(move |z| (0..h).flat_map(move |y| (0..w).map(move |x| [z, y, x])))
        };
        let at = |[_, h, w]: [usize; 3], [z, y, x]: [usize; 3]| (z * h + y) * w + x;
        let Window3 {
            kernel,
            stride,
            padding,
            dilation,
        } = self.window;
        let (cells, pixels) = (
            self.input.iter().product::<usize>(),
            self.output.iter().product::<usize>(),
        );
        let (ins, outs) = (self.channels / self.groups, self.outputs / self.groups);
        let taps: usize = kernel.iter().product();
        let mut sums = vec![0i64; self.batch * pixels * self.outputs];
        // the side that moves by the stride, and the side whose cells the taps reach
        let (moves, reached) = if self.transposed {
            (self.input, self.output)
        } else {
            (self.output, self.input)
        };
        for n in 0..self.batch {
            for from in positions(moves) {
                for tap in positions(kernel) {
                    let mut cell = [0; 3];
                    let inside = (0..3).all(|d| {
                        let to = from[d] * stride[d] + tap[d] * dilation[d];
                        cell[d] = to.wrapping_sub(padding[d]);
                        to >= padding[d] && cell[d] < reached[d]
                    });
                    if !inside {
                        continue;
                    }
                    let (input, output) = if self.transposed {
                        (from, cell)
                    } else {
                        (cell, from)
                    };
                    let a = (n * cells + at(self.input, input)) * self.channels;
                    let y = (n * pixels + at(self.output, output)) * self.outputs;
                    for o in 0..self.outputs {
                        let zw = self.zero_points[o.min(self.zero_points.len() - 1)];
                        for i in 0..ins {
                            let a = i64::from(self.bytes[a + o / outs * ins + i]) - za;
                            let w = self.weight[(o * taps + at(kernel, tap)) * ins + i];
                            sums[y + o] += a * i64::from(i32::from(w) - zw);
                        }
                    }
                }
            }
        }
        sums
    }

    fn expected(&self) -> Vec<u8> {
        let zo = self.to.zero_point + flip(self.dtypes[1]);
        let (sa, so) = (self.from.scale, self.to.scale);
        let sums = self.sums();
        let of = |(at, sum): (usize, i64)| {
            let o = at % self.outputs;
            let sw = self.scales[o.min(self.scales.len() - 1)];
            let product = (f64::from(sw) * f64::from(sa)) as f32;
            let bias = self.bias.as_ref().map_or(0.0, |bias| bias[o]);
            let scaled = if self.fbgemm {
                fbgemm_scaled(sum, bias, [sa, sw, so], self.scales.len() > 1)
            } else {
                let acc = sum + (bias * (1.0 / product)).round_ties_even() as i64;
                acc as i32 as f32 * ((sw * sa) * (1.0 / so))
            };
            let q = (f64::from(scaled).round_ties_even() + f64::from(zo)).clamp(0.0, 255.0);
            activate(q as u8, self.activation, so, zo)
        };
        sums.into_iter().enumerate().map(of).collect()
    }
}

fn equals_its_definition(transposed: bool) {
    report();
    for seed in 0..cases(CASES) {
        let rng = &mut Rng::new(seed);
        let case = random(rng, transposed);
        let expected = case.expected();
        case.with(|node| {
            check(
                case.kernel(),
                node,
                std::slice::from_ref(&case.bytes),
                &expected,
                rng,
            );
        });
    }
}

#[test]
fn convolution_equals_its_definition() {
    equals_its_definition(false);
}

#[test]
fn transposed_convolution_equals_its_definition() {
    equals_its_definition(true);
}

#[test]
fn nodes_that_do_not_fit_are_refused() {
    for transposed in [false, true] {
        let case = random(&mut Rng::new(7), transposed);
        let refused = |change: &dyn Fn(&mut Case)| {
            let mut other = random(&mut Rng::new(7), transposed);
            change(&mut other);
            other.with(|node| (other.kernel().sizes)(node)).is_err()
        };
        assert!(case.with(|node| (case.kernel().sizes)(node)).is_ok());
        assert!(refused(&|case| case.output[2] += 1));
        assert!(refused(&|case| case.window.stride[2] = 0));
        assert!(refused(&|case| case.window.dilation[2] = 0));
        assert!(refused(&|case| case.window.kernel[2] = 0));
        assert!(refused(&|case| case.groups = 0));
        assert!(refused(&|case| case.channels += 1));
        assert!(refused(&|case| case.weight.push(0)));
        assert!(refused(&|case| case.window.padding[2] = 1 << 16));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(30) as u32, ..ProptestConfig::default() })]

    #[test]
    fn damaged_blobs_are_errors(seed: u64) {
        let rng = &mut Rng::new(seed);
        for transposed in [false, true] {
            let case = random(rng, transposed);
            case.with(|node| {
                attack_all(case.kernel(), node, std::slice::from_ref(&case.bytes), rng);
            });
        }
    }
}
