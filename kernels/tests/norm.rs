//! Normalizations against their formulas to the bit, and against real numbers within one step.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use harness::*;
use proptest::prelude::{ProptestConfig, proptest};
use qconfig_core::DType;
use qconfig_core::kernel::{
    Activation, Kernel, KernelFamily, NodeOp, NodeSpec, QParams, WeightSpec,
};
use qconfig_kernels::{Q8BatchNorm, Q8GroupNorm, Q8LayerNorm};

const CASES: u64 = 1_200;

struct Case {
    op: NodeOp,
    shape: Vec<usize>,
    dtypes: [DType; 2],
    from: QParams,
    to: QParams,
    activation: Activation,
    parameters: Vec<Vec<f32>>,
    bytes: Vec<u8>,
}

fn floats(rng: &mut Rng, count: usize, scale: f32) -> Vec<f32> {
    (0..count)
        .map(|_| scale * (2.0 * rng.unit() - 1.0))
        .collect()
}

fn case(rng: &mut Rng, op: NodeOp, shape: Vec<usize>, count: usize) -> Case {
    let dtypes = [rng.dtype(), rng.dtype()];
    let from = QParams {
        scale: (rng.unit() * 6.0 - 7.0).exp2(),
        zero_point: rng.zero_point(dtypes[0]),
    };
    // results of a normalization are about 1 in size
    let to = QParams {
        scale: (rng.unit() * 4.0 - 7.0).exp2(),
        zero_point: rng.zero_point(dtypes[1]),
    };
    let mut parameters = vec![];
    if matches!(op, NodeOp::BatchNorm { .. }) || rng.chance(2) {
        parameters.push(floats(rng, count, 2.0));
        parameters.push(floats(rng, count, 1.0));
    }
    if let NodeOp::BatchNorm { .. } = op {
        parameters.push(floats(rng, count, 100.0 * from.scale));
        let spread = 50.0 * from.scale;
        let variance = (0..count).map(|_| spread * spread * (0.1 + rng.unit()));
        parameters.push(variance.collect());
    }
    let mut bytes = rng.bytes(shape.iter().product());
    if rng.chance(12) {
        // no variance at all
        bytes.fill(77);
    }
    Case {
        op,
        shape,
        dtypes,
        from,
        to,
        activation: rng.activation(to.scale),
        parameters,
        bytes,
    }
}

fn channels(rng: &mut Rng) -> usize {
    if rng.chance(8) {
        rng.below(60..200)
    } else {
        rng.below(1..50)
    }
}

/// `[N, .., C]` with up to three axes between.
fn spatial(rng: &mut Rng, channels: usize) -> Vec<usize> {
    let axes = rng.below(0..4);
    let most = [1, 40, 9, 5][axes];
    let between = (0..axes).map(|_| rng.below(1..most));
    let between: Vec<usize> = between.collect();
    [vec![rng.below(1..4)], between, vec![channels]].concat()
}

fn batch(rng: &mut Rng) -> Case {
    let channels = channels(rng);
    let shape = spatial(rng, channels);
    case(rng, NodeOp::BatchNorm { eps: 1e-5 }, shape, channels)
}

fn group(rng: &mut Rng) -> Case {
    let groups = rng.below(1..12);
    let channels = match rng.below(0..3) {
        0 => groups,
        _ => groups * rng.below(1..20),
    };
    let eps = rng.pick(&[1e-5, 1e-3, 1.0]);
    let op = NodeOp::GroupNorm { groups, eps };
    let shape = spatial(rng, channels);
    case(rng, op, shape, channels)
}

fn layer(rng: &mut Rng) -> Case {
    let axes = rng.below(1..4);
    let most = [300, 20, 7][axes - 1];
    let row: Vec<usize> = (0..axes).map(|_| rng.below(1..most)).collect();
    let rows: Vec<usize> = (0..rng.below(0..3)).map(|_| rng.below(1..6)).collect();
    let eps = rng.pick(&[1e-5, 1e-3, 1.0]);
    let features = row.iter().product();
    let op = NodeOp::LayerNorm { axes, eps };
    case(rng, op, [rows, row].concat(), features)
}

impl Case {
    fn kernel(&self) -> &'static Kernel {
        match self.op {
            NodeOp::BatchNorm { .. } => Q8BatchNorm::KERNEL,
            NodeOp::GroupNorm { .. } => Q8GroupNorm::KERNEL,
            _ => Q8LayerNorm::KERNEL,
        }
    }

    fn with<T>(&self, use_node: impl FnOnce(&NodeSpec<'_>) -> T) -> T {
        let parameters: Vec<WeightSpec<'_>> = self
            .parameters
            .iter()
            .map(|values| WeightSpec::float(values))
            .collect();
        use_node(&NodeSpec {
            activation: self.activation,
            parameters: &parameters,
            ..NodeSpec::new(
                self.op,
                &[tensor(self.dtypes[0], &self.shape, Some(self.from))],
                tensor(self.dtypes[1], &self.shape, Some(self.to)),
            )
        })
    }

    /// Stored zero points.
    fn zero_points(&self) -> [f64; 2] {
        [
            f64::from(self.from.zero_point + flip(self.dtypes[0])),
            f64::from(self.to.zero_point + flip(self.dtypes[1])),
        ]
    }

    fn parameter(&self, which: usize, at: usize) -> f64 {
        match self.parameters.get(which) {
            Some(values) => f64::from(values[at]),
            None => 1.0 - which as f64,
        }
    }

    /// Mean of the stored bytes and `1 / sqrt(var + eps)` of those elements.
    fn moments(&self, elements: &[usize], eps: f32) -> (f64, f64) {
        let values = elements.iter().map(|at| i128::from(self.bytes[*at]));
        let (sum, squares) = values.fold((0, 0), |(sum, squares), q| (sum + q, squares + q * q));
        let count = elements.len() as f64;
        let spread = (elements.len() as i128 * squares - sum * sum) as f64 / (count * count);
        let scale = f64::from(self.from.scale);
        let variance = spread * (scale * scale) + f64::from(eps);
        (sum as f64 / count, 1.0 / variance.sqrt())
    }

    /// For each element its value before it is rounded, by the formula and in real numbers.
    fn values(&self) -> Vec<(f32, f64)> {
        let channels = *self.shape.last().unwrap();
        let (sa, so) = (f64::from(self.from.scale), f64::from(self.to.scale));
        let [za, _] = self.zero_points();
        let mut all = vec![(0.0, 0.0); self.bytes.len()];
        let image = self.bytes.len() / self.shape[0];
        match self.op {
            NodeOp::BatchNorm { eps } => {
                for (at, value) in all.iter_mut().enumerate() {
                    let c = at % channels;
                    let [weight, bias, mean, variance] =
                        [0, 1, 2, 3].map(|which| self.parameter(which, c));
                    let alpha = weight / (variance + f64::from(eps)).sqrt();
                    let (a, b) = (alpha * sa / so, (bias - alpha * mean) / so);
                    let d = f64::from(self.bytes[at]) - za;
                    *value = (d as f32 * a as f32 + b as f32, d * a + b);
                }
            }
            NodeOp::GroupNorm { groups, eps } => {
                let size = channels / groups;
                for n in 0..self.shape[0] {
                    for g in 0..groups {
                        let own = |at: &usize| at % channels / size == g;
                        let elements: Vec<usize> =
                            (n * image..(n + 1) * image).filter(own).collect();
                        let (mean, inverse) = self.moments(&elements, eps);
                        let mean = sa * (mean - za);
                        for at in elements {
                            let c = at % channels;
                            let alpha = self.parameter(0, c) * inverse;
                            let (a, b) =
                                (alpha * sa / so, (self.parameter(1, c) - alpha * mean) / so);
                            let d = f64::from(self.bytes[at]) - za;
                            all[at] = (d as f32 * a as f32 + b as f32, d * a + b);
                        }
                    }
                }
            }
            NodeOp::LayerNorm { axes, eps } => {
                let features: usize = self.shape[self.shape.len() - axes..].iter().product();
                for row in 0..self.bytes.len() / features {
                    let elements: Vec<usize> = (row * features..(row + 1) * features).collect();
                    let (mean, inverse) = self.moments(&elements, eps);
                    let mean = sa * (mean - za);
                    let (p, r) = (inverse * sa, -inverse * mean);
                    for (at, element) in elements.into_iter().enumerate() {
                        let (a, b) = (self.parameter(0, at) / so, self.parameter(1, at) / so);
                        let d = f64::from(self.bytes[element]) - za;
                        let normal = d as f32 * p as f32 + r as f32;
                        all[element] = (normal * a as f32 + b as f32, (d * p + r) * a + b);
                    }
                }
            }
            _ => unreachable!(),
        }
        all
    }

    fn byte(&self, x: f64) -> u8 {
        let [_, zo] = self.zero_points();
        let q = (x.round_ties_even() + zo).clamp(0.0, 255.0) as u8;
        activate(q, self.activation, self.to.scale, zo as i32)
    }
}

fn equals_its_formula(random: fn(&mut Rng) -> Case) {
    report();
    for seed in 0..cases(CASES) {
        let rng = &mut Rng::new(seed);
        let case = random(rng);
        let values = case.values();
        let expected: Vec<u8> = values.iter().map(|(x, _)| case.byte((*x).into())).collect();
        for ((found, (_, real)), at) in expected.iter().zip(&values).zip(0..) {
            let exact = case.byte(*real);
            assert!(
                found.abs_diff(exact) <= 1,
                "element {at} is {found}, in real numbers {exact}: {:?}",
                case.op
            );
        }
        case.with(|node| {
            let bytes = std::slice::from_ref(&case.bytes);
            check(case.kernel(), node, bytes, &expected, rng);
        });
    }
}

#[test]
fn batch_norm_equals_its_formula() {
    equals_its_formula(batch);
}

#[test]
fn group_norm_equals_its_formula() {
    equals_its_formula(group);
}

#[test]
fn layer_norm_equals_its_formula() {
    equals_its_formula(layer);
}

/// Sums beyond 16 and 32 bits.
#[test]
fn moments_of_large_images_are_exact() {
    let rng = &mut Rng::new(1);
    for (positions, channels) in [(70_000, 17), (140_000, 1), (3_000, 33)] {
        let op = NodeOp::GroupNorm {
            groups: channels,
            eps: 1e-5,
        };
        let mut case = case(rng, op, vec![1, positions, channels], channels);
        for (at, byte) in case.bytes.iter_mut().enumerate() {
            *byte = 255 - (at % 7 == 0) as u8;
        }
        let values = case.values();
        let expected: Vec<u8> = values.iter().map(|(x, _)| case.byte((*x).into())).collect();
        case.with(|node| {
            let bytes = std::slice::from_ref(&case.bytes);
            check(case.kernel(), node, bytes, &expected, rng);
        });
    }
}

#[test]
fn nodes_that_do_not_fit_are_refused() {
    let refused = |random: fn(&mut Rng) -> Case, change: &dyn Fn(&mut Case)| {
        let mut case = random(&mut Rng::new(5));
        assert!(case.with(|node| (case.kernel().sizes)(node)).is_ok());
        change(&mut case);
        case.with(|node| (case.kernel().sizes)(node)).is_err()
    };
    for random in [batch, group, layer] {
        assert!(refused(random, &|case| case.parameters = vec![vec![1.0]]));
        assert!(refused(random, &|case| case.parameters = vec![vec![f32::NAN; 4]; 4]));
        assert!(refused(random, &|case| case.from.scale = 0.0));
        assert!(refused(random, &|case| case.op = NodeOp::Clamp));
    }
    assert!(refused(batch, &|case| case.parameters[3][0] = -1.0));
    for random in [group, layer] {
        assert!(refused(random, &|case| match &mut case.op {
            NodeOp::GroupNorm { eps, .. } | NodeOp::LayerNorm { eps, .. } => *eps = 0.0,
            _ => unreachable!(),
        }));
    }
    let groups = |count| {
        move |case: &mut Case| {
            case.op = NodeOp::GroupNorm {
                groups: count,
                eps: 1.0,
            }
        }
    };
    assert!(refused(group, &groups(0)));
    assert!(refused(group, &groups(1 << 20)));
    let axes = |count| {
        move |case: &mut Case| {
            case.op = NodeOp::LayerNorm {
                axes: count,
                eps: 1.0,
            }
        }
    };
    assert!(refused(layer, &axes(0)));
    assert!(refused(layer, &axes(9)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(25) as u32, ..ProptestConfig::default() })]

    #[test]
    fn damaged_blobs_are_errors(seed: u64) {
        let rng = &mut Rng::new(seed);
        for random in [batch, group, layer] {
            let case = random(rng);
            case.with(|node| attack_all(case.kernel(), node, std::slice::from_ref(&case.bytes), rng));
        }
    }
}
