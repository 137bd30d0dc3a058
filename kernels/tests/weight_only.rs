//! `weight_only_linear`: the scalar code against sums in `f64`, and every instruction set, cut and alignment against
//! the scalar code, to the bit.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod harness;

use harness::{Rng, attack_all, cases, check, pack, tensor};
use qconfig_core::kernel::{
    Activation, Call, KernelFamily, NodeOp, NodeSpec, Refusal, TensorSpec, WeightData, WeightSpec,
};
use qconfig_core::{DType, Isa};
use qconfig_kernels::WeightOnlyLinear;

/// A layer with everything that a node borrows.
struct Layer {
    block: usize,
    dtype: DType,
    input: Vec<usize>,
    output: Vec<usize>,
    weight: Vec<usize>,
    data: Vec<u8>,
    scales: Vec<f32>,
    zero_points: Vec<i32>,
    bias: Option<Vec<f32>>,
    activation: Activation,
}

impl Layer {
    fn random(rng: &mut Rng) -> Self {
        let dtype = rng.pick(&[DType::quint4x2, DType::quint8]);
        let (levels, middle) = if dtype == DType::quint8 {
            (256, 128)
        } else {
            (16, 8)
        };
        let block = rng.pick(&[16, 32, 32, 64, 128, 256, 1 << 20]);
        let rows = match rng.below(0..8) {
            0..3 => 1,
            3..7 => rng.below(1..14),
            _ => rng.below(1..60),
        };
        let k = match rng.below(0..4) {
            0 => rng.below(1..40),
            1 => 16 * rng.below(1..20),
            _ => rng.below(1..300),
        };
        // at times more than one run of blocks
        let is_long = rng.chance(40);
        let k = if is_long { rng.below(1000..2600) } else { k };
        let columns = match rng.below(0..4) {
            _ if is_long => rng.below(1..20),
            0 => 16 * rng.below(1..12),
            _ => rng.below(1..150),
        };
        let blocks = columns * k.div_ceil(block);
        let extreme = rng.chance(8);
        let data = (0..columns * k).map(|_| match extreme {
            true => rng.pick(&[0, levels - 1]) as u8,
            false => rng.below(0..levels) as u8,
        });
        let data = data.collect();
        let symmetric = rng.chance(2);
        let zero_points = (0..blocks).map(|_| match symmetric {
            true => middle,
            false => rng.below(0..levels) as i32,
        });
        let zero_points = zero_points.collect();
        // a symmetric quantizer may give negative scales
        let scales = (0..blocks).map(|_| (rng.unit() - 0.3) * 0.1).collect();
        let bias = rng
            .chance(2)
            .then(|| (0..columns).map(|_| rng.unit() - 0.5).collect());
        let activation = match rng.below(0..4) {
            0 => Activation::Relu,
            1 => Activation::Clamp {
                low: -rng.unit(),
                high: rng.unit() * 3.0,
            },
            _ => Activation::None,
        };
        // leading dimensions are rows
        let lead = if rows % 2 == 0 && rng.chance(2) {
            vec![2, rows / 2]
        } else {
            vec![rows]
        };
        Self {
            block,
            dtype,
            input: [&lead[..], &[k]].concat(),
            output: [&lead[..], &[columns]].concat(),
            weight: vec![columns, k],
            data,
            scales,
            zero_points,
            bias,
            activation,
        }
    }

    fn weight(&self) -> WeightSpec<'_> {
        WeightSpec {
            dtype: self.dtype,
            shape: &self.weight,
            data: WeightData::U8(&self.data),
            scales: &self.scales,
            zero_points: &self.zero_points,
        }
    }

    fn node<'a>(&'a self, inputs: &'a [TensorSpec<'a>]) -> NodeSpec<'a> {
        let op = NodeOp::LinearWeightOnly { block: self.block };
        NodeSpec {
            activation: self.activation,
            weight: Some(self.weight()),
            bias: self.bias.as_deref(),
            ..NodeSpec::new(op, inputs, tensor(DType::float32, &self.output, None))
        }
    }

    /// The outputs in `f64`, and what all terms sum to without signs.
    fn exact(&self, x: &[f32]) -> Vec<(f64, f64)> {
        let [columns, k] = self.weight[..] else {
            panic!("a matrix")
        };
        let blocks = k.div_ceil(self.block);
        let middle = if self.dtype == DType::quint8 {
            0.0
        } else {
            16.0
        };
        let rows = x.chunks(k);
        let outputs = rows.flat_map(|x| (0..columns).map(move |column| (x, column)));
        let one = |(x, column): (&[f32], usize)| {
            let bias = self
                .bias
                .as_ref()
                .map_or(0.0, |bias| f64::from(bias[column]));
            let (mut sum, mut size) = (bias, bias.abs());
            for (step, x) in x.iter().enumerate() {
                let at = column * blocks + step / self.block;
                let q = f64::from(self.data[column * k + step]) - f64::from(self.zero_points[at]);
                let (x, scale) = (f64::from(*x), f64::from(self.scales[at]));
                sum += x * q * scale;
                size += (x * (q.abs() + middle) * scale).abs();
            }
            let sum = match self.activation {
                Activation::None => sum,
                Activation::Relu => sum.max(0.0),
                Activation::Clamp { low, high } => sum.max(f64::from(low)).min(f64::from(high)),
            };
            (sum, size)
        };
        outputs.map(one).collect()
    }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_ne_bytes()).collect()
}

/// The scalar answer.
fn scalar(node: &NodeSpec<'_>, input: &[u8]) -> Vec<u8> {
    let kernel = WeightOnlyLinear::KERNEL;
    let blob = pack(kernel, node);
    let split = (kernel.split)(&blob, &[input.len()]).unwrap();
    let mut scratch = vec![0; (kernel.sizes)(node).unwrap().scratch];
    let mut output = vec![0; split.output_bytes];
    (kernel.run)(Call {
        blob: &blob,
        inputs: &[input],
        output: &mut output,
        units: 0..split.units,
        scratch: &mut scratch,
        isa: Isa::SCALAR,
    })
    .unwrap();
    output
}

#[test]
fn every_instruction_set_and_cut_gives_the_scalar_bits_near_the_exact_sums() {
    let mut rng = Rng::new(41);
    for case in 0..cases(1500) {
        let layer = Layer::random(&mut rng);
        let count: usize = layer.input.iter().product();
        let shift = rng.pick(&[0.0, 0.0, 2.0]);
        let x: Vec<f32> = (0..count).map(|_| rng.unit() * 4.0 - 2.0 + shift).collect();
        let inputs = [tensor(DType::float32, &layer.input, None)];
        let node = layer.node(&inputs);
        let expected = scalar(&node, &bytes(&x));
        let floats = expected
            .as_chunks::<4>()
            .0
            .iter()
            .map(|cell| f32::from_ne_bytes(*cell));
        for (found, (exact, size)) in floats.zip(layer.exact(&x)) {
            let apart = (f64::from(found) - exact).abs();
            assert!(
                apart <= 4e-6 * size + 1e-30,
                "case {case}: {found} {exact} {size}"
            );
        }
        check(
            WeightOnlyLinear::KERNEL,
            &node,
            &[bytes(&x)],
            &expected,
            &mut rng,
        );
    }
    harness::report();
}

/// One row of several answers as it does alone.
#[test]
fn a_row_does_not_depend_on_those_beside_it() {
    let mut rng = Rng::new(43);
    for _ in 0..cases(60) {
        let mut layer = Layer::random(&mut rng);
        let (k, columns) = (layer.weight[1], layer.weight[0]);
        let x: Vec<f32> = (0..7 * k).map(|_| rng.unit() - 0.5).collect();
        (layer.input, layer.output) = (vec![7, k], vec![7, columns]);
        let inputs = [tensor(DType::float32, &layer.input, None)];
        let all = scalar(&layer.node(&inputs), &bytes(&x));
        let one = Layer {
            input: vec![k],
            output: vec![columns],
            ..layer
        };
        let inputs = [tensor(DType::float32, &one.input, None)];
        for (x, expected) in x.chunks(k).zip(all.chunks(columns * 4)) {
            check(
                WeightOnlyLinear::KERNEL,
                &one.node(&inputs),
                &[bytes(x)],
                expected,
                &mut rng,
            );
        }
    }
}

#[test]
fn any_bytes_are_an_error_or_an_answer() {
    let mut rng = Rng::new(47);
    for _ in 0..cases(40) {
        let layer = Layer::random(&mut rng);
        let inputs = [tensor(DType::float32, &layer.input, None)];
        let input = vec![0; layer.input.iter().product::<usize>() * 4];
        attack_all(
            WeightOnlyLinear::KERNEL,
            &layer.node(&inputs),
            &[input],
            &mut rng,
        );
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut rng = Rng::new(53);
    let good = || {
        let mut rng = Rng::new(59);
        loop {
            let layer = Layer::random(&mut rng);
            if layer.dtype == DType::quint4x2 && layer.block == 32 && layer.weight[1] > 40 {
                return layer;
            }
        }
    };
    let refused = |layer: &Layer| {
        let inputs = [tensor(DType::float32, &layer.input, None)];
        (WeightOnlyLinear::KERNEL.sizes)(&layer.node(&inputs)).err()
    };
    assert_eq!(refused(&good()), None);
    let mut layer = good();
    layer.block = 24;
    assert!(matches!(refused(&layer), Some(Refusal::Shape(_))));
    layer.block = 8;
    assert!(matches!(refused(&layer), Some(Refusal::Shape(_))));
    let mut layer = good();
    let at = rng.below(0..layer.data.len());
    layer.data[at] = 16;
    assert!(matches!(refused(&layer), Some(Refusal::Shape(_))));
    let mut layer = good();
    layer.scales.pop();
    assert!(matches!(refused(&layer), Some(Refusal::Shape(_))));
    let mut layer = good();
    layer.scales[0] = f32::NAN;
    assert!(matches!(refused(&layer), Some(Refusal::NotFinite(_))));
    let mut layer = good();
    layer.zero_points[0] = 16;
    assert_eq!(refused(&layer), Some(Refusal::ZeroPoint(16)));
    layer.dtype = DType::qint8;
    assert!(matches!(refused(&layer), Some(Refusal::DType { .. })));
    let mut layer = good();
    layer.output.insert(0, 2);
    assert!(matches!(refused(&layer), Some(Refusal::Shape(_))));
}
