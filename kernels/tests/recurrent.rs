//! Recurrent layers against their formulas, gate by gate, on every instruction set to the bit.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod harness;

use half::f16;
use harness::*;
use qconfig_core::DType;
use qconfig_core::kernel::{
    Activation, Kernel, KernelFamily, NodeOp, NodeSpec, RecurrentCell, Refusal, TensorSpec,
    WeightData, WeightSpec,
};
use qconfig_kernels::{F16Recurrent, Q8Recurrent, fbgemm};

/// A weight as it is packed, and what its values stand for.
#[derive(Debug)]
struct Weight {
    shape: [usize; 2],
    bytes: Vec<i8>,
    floats: Vec<f32>,
    scales: Vec<f32>,
    zero_points: Vec<i32>,
}

#[derive(Debug)]
struct Case {
    cell: RecurrentCell,
    steps: usize,
    batch: usize,
    features: usize,
    hidden: usize,
    layers: usize,
    bidirectional: bool,
    batch_first: bool,
    one_step: bool,
    half: bool,
    /// Whether the kernel is the one with FBGEMM's numerics, for weights of 8 bits.
    fbgemm: bool,
    reduce_range: bool,
    x: Vec<f32>,
    states: Option<Vec<Vec<f32>>>,
    /// For each layer and direction: of the input, of the hidden state.
    weights: Vec<[Weight; 2]>,
    biases: Option<Vec<[Vec<f32>; 2]>>,
}

impl Case {
    fn directions(&self) -> usize {
        if self.bidirectional { 2 } else { 1 }
    }

    fn kernel(&self) -> &'static Kernel {
        if self.half {
            F16Recurrent::KERNEL
        } else if self.fbgemm {
            fbgemm::Q8Recurrent::KERNEL
        } else {
            Q8Recurrent::KERNEL
        }
    }

    fn row(&self, step: usize, batch: usize) -> usize {
        if self.batch_first {
            batch * self.steps + step
        } else {
            step * self.batch + batch
        }
    }

    fn inputs(&self) -> Vec<Vec<u8>> {
        let all = [&self.x].into_iter().chain(self.states.iter().flatten());
        all.map(|values| bytes(values)).collect()
    }

    fn with<T>(&self, visit: impl FnOnce(&NodeSpec<'_>) -> T) -> T {
        let float = |shape| tensor(DType::float32, shape, None);
        let x = match (self.one_step, self.batch_first) {
            (true, _) => vec![self.batch, self.features],
            (_, true) => vec![self.batch, self.steps, self.features],
            (_, false) => vec![self.steps, self.batch, self.features],
        };
        let count = self.layers * self.directions();
        let state = [count, self.batch, self.hidden];
        let sequence = if self.one_step {
            0
        } else {
            self.steps * self.batch * self.directions() * self.hidden
        };
        let output = [sequence + self.cell.states() * count * self.batch * self.hidden];
        let mut inputs = vec![float(&x)];
        inputs.extend(self.states.iter().flatten().map(|_| float(&state)));
        let mut parameters = Vec::new();
        for (at, weights) in self.weights.iter().enumerate() {
            for weight in weights {
                parameters.push(WeightSpec {
                    dtype: if self.half {
                        DType::float16
                    } else {
                        DType::qint8
                    },
                    shape: &weight.shape,
                    data: if self.half {
                        WeightData::F32(&weight.floats)
                    } else {
                        WeightData::I8(&weight.bytes)
                    },
                    scales: &weight.scales,
                    zero_points: &weight.zero_points,
                });
            }
            for bias in self.biases.iter().flat_map(|biases| &biases[at]) {
                parameters.push(WeightSpec::float(bias));
            }
        }
        visit(&NodeSpec {
            parameters: &parameters,
            reduce_range: self.reduce_range,
            ..NodeSpec::new(
                NodeOp::Recurrent {
                    cell: self.cell,
                    layers: self.layers,
                    bidirectional: self.bidirectional,
                    batch_first: self.batch_first,
                },
                &inputs,
                float(&output),
            )
        })
    }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_ne_bytes()).collect()
}

fn random(rng: &mut Rng) -> Case {
    let cell = rng.pick(&[
        RecurrentCell::Lstm,
        RecurrentCell::Lstm,
        RecurrentCell::Gru,
        RecurrentCell::Tanh,
        RecurrentCell::Relu,
    ]);
    let half = rng.chance(2);
    let one_step = rng.chance(4);
    let (layers, bidirectional) = if one_step {
        (1, false)
    } else {
        (rng.below(1..4), rng.chance(2))
    };
    let directions = if bidirectional { 2 } else { 1 };
    let steps = if one_step { 1 } else { rng.below(1..6) };
    let batch = rng.pick(&[1, 1, 1, 2, 3]);
    let features = rng.pick(&[1, 2, 5, 8, 17, 33]);
    let hidden = rng.pick(&[1, 3, 7, 8, 9, 16, 17, 20]);
    let reach = rng.pick(&[1e-3f32, 1.0, 1.0, 10.0]);
    let gates = cell.gates() * hidden;
    let asymmetric = rng.chance(4);
    let per_channel = rng.chance(2);
    let signed = |rng: &mut Rng, n: usize, reach: f32| -> Vec<f32> {
        (0..n).map(|_| (rng.unit() * 2.0 - 1.0) * reach).collect()
    };
    let x = signed(rng, steps * batch * features, reach);
    let count = layers * directions;
    let states = rng.chance(2).then(|| {
        (0..cell.states())
            .map(|_| signed(rng, count * batch * hidden, 2.0))
            .collect()
    });
    let weight = |rng: &mut Rng, k: usize| {
        let scales = if half {
            0
        } else if per_channel {
            gates
        } else {
            1
        };
        Weight {
            shape: [gates, k],
            bytes: (0..gates * k).map(|_| rng.bits() as i8).collect(),
            floats: signed(rng, gates * k, 1.0),
            scales: (0..scales).map(|_| 0.0005 + rng.unit() * 0.01).collect(),
            zero_points: (0..scales)
                .map(|_| {
                    if asymmetric {
                        i32::from(rng.bits() as i8)
                    } else {
                        0
                    }
                })
                .collect(),
        }
    };
    let weights: Vec<[Weight; 2]> = (0..count)
        .map(|at| {
            let k = if at < directions {
                features
            } else {
                directions * hidden
            };
            [weight(rng, k), weight(rng, hidden)]
        })
        .collect();
    let biases = (!rng.chance(3)).then(|| {
        (0..count)
            .map(|_| [signed(rng, gates, 0.5), signed(rng, gates, 0.5)])
            .collect()
    });
    Case {
        cell,
        steps,
        batch,
        features,
        hidden,
        layers,
        bidirectional,
        batch_first: !one_step && rng.chance(2),
        one_step,
        half,
        fbgemm: rng.chance(2),
        reduce_range: rng.chance(2),
        x,
        states,
        weights,
        biases,
    }
}

/// torch's `choose_qparams` for ordinary ranges: none of its special cases but that of nothing at all.
fn choose_qparams(x: &[f32], qmax: i32) -> (f32, i32) {
    let (mut min, mut max) = (
        x.iter().copied().fold(0.0, f32::min),
        x.iter().copied().fold(0.0, f32::max),
    );
    let mut scale = (f64::from(max) - f64::from(min)) / f64::from(qmax);
    if scale as f32 == 0.0 || (1.0 / scale as f32).is_infinite() {
        scale = 0.1;
    }
    let threshold = 6.1e-5f32;
    if scale < f64::from(threshold) {
        let amplifier = threshold / scale as f32;
        scale = f64::from(threshold);
        if min == 0.0 {
            max = threshold * qmax as f32;
        } else if max == 0.0 {
            min = -threshold * qmax as f32;
        } else {
            min *= amplifier;
            max *= amplifier;
        }
    }
    let (below, above) = (f64::from(min) / scale, f64::from(max) / scale);
    let zero = if below.abs() < f64::from(qmax) + above.abs() {
        -below
    } else {
        f64::from(qmax) - above
    };
    (
        scale as f32,
        zero.clamp(0.0, f64::from(qmax)).round_ties_even() as i32,
    )
}

/// A dynamic linear layer over rows of `k` values.
fn linear(case: &Case, x: &[f32], weight: &Weight, bias: Option<&[f32]>) -> Vec<f32> {
    let [columns, k] = weight.shape;
    let (scale, zero) = choose_qparams(x, if case.reduce_range { 127 } else { 255 });
    let quantized: Vec<i32> = x
        .iter()
        .map(|x| {
            ((x * (1.0 / scale)).round_ties_even() as i64 + i64::from(zero)).clamp(0, 255) as i32
                - zero
        })
        .collect();
    let mut out = Vec::new();
    for row in 0..x.len() / k {
        for column in 0..columns {
            let bias = bias.map_or(0.0, |bias| bias[column]);
            out.push(if case.half {
                let pairs = x[row * k..][..k].iter().zip(&weight.floats[column * k..]);
                let sum = pairs.fold(0.0f32, |sum, (x, w)| {
                    x.mul_add(f16::from_f32(*w).to_f32(), sum)
                });
                sum + bias
            } else {
                let at = column.min(weight.scales.len() - 1);
                let pairs = quantized[row * k..][..k]
                    .iter()
                    .zip(&weight.bytes[column * k..]);
                let sum: i64 = pairs
                    .map(|(x, w)| i64::from(*x) * i64::from(i32::from(*w) - weight.zero_points[at]))
                    .sum();
                let step = scale * weight.scales[at];
                if case.fbgemm {
                    (sum as f32).mul_add(step, bias)
                } else {
                    sum as f32 * step + bias
                }
            });
        }
    }
    out
}

/// `2^k` and `e^r - 1` of `x = k ln 2 + r`.
fn exp(x: f32) -> (f32, f32) {
    let k = (f64::from(x) * f64::from(std::f32::consts::LOG2_E)).round_ties_even() as f32;
    let r = k.mul_add(2.121_944_4e-4, k.mul_add(-0.693_359_4, x));
    let mut q = 1.987_569_1e-4f32;
    for c in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        0.166_666_66,
        0.5,
    ] {
        q = q.mul_add(r, c);
    }
    (k.exp2(), q.mul_add(r * r, r))
}

fn sigmoid(x: f32) -> f32 {
    let (power, p) = exp(-x.abs().min(87.0));
    let e = p.mul_add(power, power);
    if x < 0.0 {
        e / (1.0 + e)
    } else {
        1.0 / (1.0 + e)
    }
}

fn tanh(x: f32) -> f32 {
    let (power, p) = exp(-2.0 * x.abs().min(9.1));
    let m = p.mul_add(power, power - 1.0);
    (-m / (2.0 + m)).abs().copysign(x)
}

fn oracle(case: &Case) -> Vec<u8> {
    let (hidden, width) = (case.hidden, case.directions() * case.hidden);
    let mut layer_input = case.x.clone();
    let (mut last_h, mut last_c) = (Vec::new(), Vec::new());
    let slab = case.batch * hidden;
    for layer in 0..case.layers {
        let mut out = vec![0.0; case.steps * case.batch * width];
        for direction in 0..case.directions() {
            let index = layer * case.directions() + direction;
            let [w_ih, w_hh] = &case.weights[index];
            let bias = |of: usize| {
                case.biases
                    .as_ref()
                    .map(|biases| biases[index][of].as_slice())
            };
            let of_input = linear(case, &layer_input, w_ih, bias(0));
            let start = |of: usize| {
                case.states
                    .as_ref()
                    .and_then(|states| states.get(of))
                    .map_or(vec![0.0; slab], |state| {
                        state[index * slab..][..slab].to_vec()
                    })
            };
            let (mut h, mut c) = (start(0), start(1));
            for step in 0..case.steps {
                let step = if direction == 1 {
                    case.steps - 1 - step
                } else {
                    step
                };
                let of_hidden = linear(case, &h, w_hh, bias(1));
                for batch in 0..case.batch {
                    let row = case.row(step, batch);
                    let gates = case.cell.gates() * hidden;
                    for unit in 0..hidden {
                        let i = |gate: usize| of_input[row * gates + gate * hidden + unit];
                        let u = |gate: usize| of_hidden[batch * gates + gate * hidden + unit];
                        let at = batch * hidden + unit;
                        h[at] = match case.cell {
                            RecurrentCell::Lstm => {
                                c[at] = sigmoid(u(1) + i(1)) * c[at]
                                    + sigmoid(u(0) + i(0)) * tanh(u(2) + i(2));
                                sigmoid(u(3) + i(3)) * tanh(c[at])
                            }
                            RecurrentCell::Gru => {
                                let new = tanh(i(2) + u(2) * sigmoid(u(0) + i(0)));
                                (h[at] - new) * sigmoid(u(1) + i(1)) + new
                            }
                            RecurrentCell::Tanh => tanh(u(0) + i(0)),
                            RecurrentCell::Relu => (u(0) + i(0)).max(0.0),
                        };
                        out[row * width + direction * hidden + unit] = h[at];
                    }
                }
            }
            last_h.extend(h);
            last_c.extend(c);
        }
        layer_input = out;
    }
    let mut all = if case.one_step {
        Vec::new()
    } else {
        layer_input
    };
    all.extend(last_h);
    if case.cell == RecurrentCell::Lstm {
        all.extend(last_c);
    }
    bytes(&all)
}

#[test]
fn every_cell_is_its_formula_on_every_instruction_set() {
    report();
    let mut rng = Rng::new(31);
    for _ in 0..cases(2_500) {
        let case = random(&mut rng);
        let (inputs, expected) = (case.inputs(), oracle(&case));
        case.with(|node| check(case.kernel(), node, &inputs, &expected, &mut rng));
    }
}

#[test]
fn damaged_blobs_are_errors_or_harmless() {
    let mut rng = Rng::new(32);
    for _ in 0..cases(60) {
        let case = random(&mut rng);
        let inputs = case.inputs();
        case.with(|node| attack_all(case.kernel(), node, &inputs, &mut rng));
    }
}

/// The table of lengths and the blobs of the gates, which `attack_all` does not reach.
#[test]
fn damage_inside_is_an_error_or_harmless() {
    let mut rng = Rng::new(33);
    for _ in 0..cases(300) {
        let case = random(&mut rng);
        let inputs = case.inputs();
        let (good, scratch) = case.with(|node| {
            (
                pack(case.kernel(), node),
                (case.kernel().sizes)(node).unwrap().scratch,
            )
        });
        let mut blob = good.clone();
        for _ in 0..rng.below(1..4) {
            let word = 4 * rng.below(16..(good.len() / 4).min(16 + 200));
            let value = rng.pick(&[0, 1, 64, 1 << 31, u32::MAX, u32::MAX - 63]);
            blob[word..word + 4].copy_from_slice(&value.to_le_bytes());
        }
        attack(case.kernel(), &blob, &inputs, scratch, 64);
    }
}

/// What is not finite stays inside the sequence it is in, or becomes NaN; nothing else happens.
#[test]
fn values_that_are_not_finite_do_no_harm() {
    let mut rng = Rng::new(34);
    for _ in 0..cases(100) {
        let mut case = random(&mut rng);
        let at = rng.below(0..case.x.len());
        case.x[at] = rng.pick(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
        let inputs = case.inputs();
        case.with(|node| {
            let (blob, scratch) = (
                pack(case.kernel(), node),
                (case.kernel().sizes)(node).unwrap().scratch,
            );
            attack(case.kernel(), &blob, &inputs, scratch, 64);
        });
    }
}

#[test]
fn nodes_that_do_not_fit_are_refused() {
    let mut rng = Rng::new(35);
    let case = loop {
        let case = random(&mut rng);
        if !case.half && case.biases.is_some() && case.states.is_some() && !case.one_step {
            break case;
        }
    };
    let refusal = |change: &dyn Fn(&mut NodeSpec<'_>)| {
        case.with(|node| {
            let mut node = *node;
            change(&mut node);
            (case.kernel().sizes)(&node).expect_err("refused")
        })
    };
    assert!(matches!(
        refusal(&|node| node.op = NodeOp::Linear),
        Refusal::Operator(_)
    ));
    assert!(matches!(
        refusal(&|node| node.activation = Activation::Relu),
        Refusal::Operator(_)
    ));
    assert!(matches!(
        refusal(&|node| node.parameters = &node.parameters[1..]),
        Refusal::Shape(_)
    ));
    assert!(matches!(
        refusal(&|node| node.parameters = &[]),
        Refusal::Shape(_)
    ));
    assert!(matches!(
        refusal(&|node| node.inputs = &[]),
        Refusal::Shape(_)
    ));
    assert!(matches!(
        refusal(&|node| node.output.shape = &[1]),
        Refusal::Shape(_)
    ));
    assert!(matches!(
        refusal(&|node| node.output.dtype = DType::int32),
        Refusal::DType { .. }
    ));
    let more = [TensorSpec {
        dtype: DType::float32,
        shape: &[1],
        qparams: None,
    }; 4];
    case.with(|node| {
        let node = NodeSpec {
            inputs: &more,
            ..*node
        };
        assert!(matches!(
            (case.kernel().sizes)(&node),
            Err(Refusal::Shape(_))
        ));
    });
}
