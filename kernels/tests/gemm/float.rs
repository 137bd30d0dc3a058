//! Linear layers from `float32` to `float32`.

use half::f16;
use qconfig_core::kernel::{
    Activation, Kernel, NodeOp, NodeSpec, Refusal, TensorSpec, WeightData, WeightSpec,
};
use qconfig_core::{DType, Isa, KernelFamily};
use qconfig_kernels::{F16LinearDynamic, Q8LinearDynamic, fbgemm};

use crate::{Random, cases, levels, pack, run};

#[derive(Debug)]
enum Weight {
    I8(Vec<i8>, Vec<f32>, Vec<i32>),
    F16(Vec<f32>),
}

#[derive(Debug)]
struct Case {
    m: usize,
    n: usize,
    k: usize,
    x: Vec<f32>,
    weight: Weight,
    bias: Option<Vec<f32>>,
    activation: Activation,
    reduce_range: bool,
    /// Whether the kernel is the one with FBGEMM's numerics, for weights of 8 bits.
    fbgemm: bool,
}

impl Case {
    fn kernel(&self) -> &'static Kernel {
        match self.weight {
            Weight::I8(..) if self.fbgemm => fbgemm::Q8LinearDynamic::KERNEL,
            Weight::I8(..) => Q8LinearDynamic::KERNEL,
            Weight::F16(_) => F16LinearDynamic::KERNEL,
        }
    }

    fn with<T>(&self, use_node: impl FnOnce(&NodeSpec<'_>) -> T) -> T {
        let float = |shape| TensorSpec {
            dtype: DType::float32,
            shape,
            qparams: None,
        };
        let (input, output, shape) = ([self.m, self.k], [self.m, self.n], [self.n, self.k]);
        let weight = match &self.weight {
            Weight::I8(data, scales, zero_points) => WeightSpec {
                dtype: DType::qint8,
                shape: &shape,
                data: WeightData::I8(data),
                scales,
                zero_points,
            },
            Weight::F16(data) => WeightSpec {
                dtype: DType::float16,
                shape: &shape,
                data: WeightData::F32(data),
                scales: &[],
                zero_points: &[],
            },
        };
        use_node(&NodeSpec {
            op: NodeOp::Linear,
            activation: self.activation,
            inputs: &[float(&input)],
            output: float(&output),
            weight: Some(weight),
            bias: self.bias.as_deref(),
            parameters: &[],
            reduce_range: self.reduce_range,
            divide: false,
        })
    }

    fn run(&self, isa: Isa, parts: usize, shift: usize) -> Vec<u32> {
        let (blob, scratch) = self
            .with(|node| pack(self.kernel(), node))
            .expect("a valid node");
        let input: Vec<u8> = self.x.iter().flat_map(|x| x.to_ne_bytes()).collect();
        let bytes =
            run(self.kernel(), &blob, &input, scratch, isa, parts, shift).expect("a valid blob");
        bytes
            .as_chunks()
            .0
            .iter()
            .map(|y| u32::from_ne_bytes(*y))
            .collect()
    }
}

/// torch's `choose_qparams` for 8 or 7 bits, word for word.
fn choose_qparams(mut min: f32, mut max: f32, qmax: i32) -> (f32, i32) {
    min = min.min(0.0);
    max = max.max(0.0);
    let mut scale = (f64::from(max) - f64::from(min)) / f64::from(qmax);
    if scale as f32 == 0.0 || (1.0f32 / scale as f32).is_infinite() {
        scale = 0.1;
    }
    let threshold = 6.1e-5f32;
    if scale < f64::from(threshold) {
        let original = scale as f32;
        scale = f64::from(threshold);
        if min == 0.0 {
            max = threshold * qmax as f32;
        } else if max == 0.0 {
            min = -threshold * qmax as f32;
        } else {
            let amplifier = threshold / original;
            min *= amplifier;
            max *= amplifier;
        }
    }
    let from_min = 0.0 - f64::from(min) / scale;
    let from_max = f64::from(qmax) - f64::from(max) / scale;
    let error_min = (f64::from(min) / scale).abs();
    let error_max = f64::from(qmax) + (f64::from(max) / scale).abs();
    let initial = if error_min < error_max {
        from_min
    } else {
        from_max
    };
    let zero_point = if initial < 0.0 {
        0
    } else if initial > f64::from(qmax) {
        qmax
    } else {
        initial.round_ties_even() as i32
    };
    (scale as f32, zero_point)
}

fn oracle(case: &Case) -> Vec<u32> {
    let finite = || case.x.iter().copied().filter(|x| x.is_finite());
    let (min, max) = (finite().fold(0.0, f32::min), finite().fold(0.0, f32::max));
    let (scale, zp) = choose_qparams(min, max, if case.reduce_range { 127 } else { 255 });
    let quantize = |x: f32| {
        let scaled = x * (1.0 / scale);
        if scaled.is_nan() {
            zp
        } else {
            (scaled.round_ties_even() as i64)
                .saturating_add(i64::from(zp))
                .clamp(0, 255) as i32
        }
    };
    let mut out = Vec::new();
    for m in 0..case.m {
        for n in 0..case.n {
            let x = &case.x[m * case.k..][..case.k];
            let bias = case.bias.as_ref().map_or(0.0, |bias| bias[n]);
            let y = match &case.weight {
                Weight::I8(data, scales, zero_points) => {
                    let c = n.min(scales.len() - 1);
                    let products = x.iter().zip(&data[n * case.k..]).map(|(x, w)| {
                        i64::from(quantize(*x) - zp) * (i64::from(*w) - i64::from(zero_points[c]))
                    });
                    let (sum, step) = (products.sum::<i64>() as f32, scale * scales[c]);
                    if case.fbgemm {
                        sum.mul_add(step, bias)
                    } else {
                        sum * step + bias
                    }
                }
                Weight::F16(data) => {
                    let sum = x.iter().zip(&data[n * case.k..]).fold(0.0, |sum, (x, w)| {
                        x.mul_add(f16::from_f32(w.clamp(-65504.0, 65504.0)).to_f32(), sum)
                    });
                    sum + bias
                }
            };
            let y = match case.activation {
                Activation::None => y,
                Activation::Relu => y.max(0.0),
                Activation::Clamp { low, high } => y.clamp(low, high),
            };
            out.push(y.to_bits());
        }
    }
    out
}

fn case(random: &mut Random, half: bool) -> Case {
    let m = random.pick(&[1, 1, 2, 3, 5, 6, 7, 12, 13, 25]);
    let n = random.pick(&[1, 7, 8, 9, 15, 16, 17, 31, 33, 48, 63, 64, 65, 100, 130]);
    let k = random.pick(&[1, 2, 3, 4, 5, 15, 16, 17, 31, 63, 64, 65, 130]);
    let reach = random.pick(&[1e-7f32, 1e-3, 1.0, 1e6]);
    let shift = random.pick(&[0.0f32, 0.5, -0.5, 1.0, -1.0]);
    let scales = if random.chance(50) { 1 } else { n };
    let asymmetric = random.chance(25);
    let largest = random.pick(&[1.0f32, 1e5, 1e-6]);
    let mut x: Vec<f32> = (0..m * k)
        .map(|_| (random.unit() * 2.0 - 1.0 + shift) * reach)
        .collect();
    if !half && random.chance(15) {
        let at = random.below(x.len());
        x[at] = random.pick(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
    }
    if random.chance(5) {
        x.fill(0.0);
    }
    // weights of 7 bits have a form of their own
    let divisor = if random.chance(30) { 2 } else { 1 };
    Case {
        m,
        n,
        k,
        x,
        weight: if half {
            Weight::F16(
                (0..n * k)
                    .map(|_| (random.unit() * 2.0 - 1.0) * largest)
                    .collect(),
            )
        } else {
            Weight::I8(
                (0..n * k).map(|_| random.next() as i8 / divisor).collect(),
                (0..scales).map(|_| 0.001 + random.unit()).collect(),
                (0..scales)
                    .map(|_| {
                        if asymmetric {
                            i32::from(random.next() as i8)
                        } else {
                            0
                        }
                    })
                    .collect(),
            )
        },
        bias: random
            .chance(80)
            .then(|| (0..n).map(|_| random.unit() * 10.0 - 5.0).collect()),
        activation: match random.below(4) {
            0 => Activation::Relu,
            1 => Activation::Clamp {
                low: -0.5,
                high: 6.0,
            },
            _ => Activation::None,
        },
        reduce_range: random.chance(40),
        fbgemm: random.chance(50),
    }
}

fn check(case: &Case, shift: usize) {
    let expected = oracle(case);
    for isa in levels() {
        for parts in [1, 3] {
            assert_eq!(case.run(isa, parts, shift), expected, "{isa} {case:?}");
        }
    }
}

#[test]
fn dynamic_linear_is_the_formula_on_every_instruction_set() {
    let mut random = Random(11);
    for round in 0..cases(2500) {
        let mut case = case(&mut random, false);
        case.fbgemm = round % 2 == 0;
        check(&case, random.below(4));
    }
}

#[test]
fn half_linear_is_the_formula_on_every_instruction_set() {
    let mut random = Random(12);
    for _ in 0..cases(2000) {
        let case = case(&mut random, true);
        check(&case, random.below(4));
    }
}

#[test]
fn many_rows_are_cut_into_units() {
    let mut random = Random(13);
    for half in [false, true] {
        let mut case = case(&mut random, half);
        (case.m, case.n, case.k) = (203, 9, 5);
        case.x = (0..203 * 5).map(|_| random.unit()).collect();
        case.weight = if half {
            Weight::F16(vec![0.3; 45])
        } else {
            Weight::I8(vec![-7; 45], vec![0.01], vec![0])
        };
        case.bias = None;
        check(&case, 0);
    }
}

/// All products at an end of their range, in as many as an accumulator holds.
#[test]
fn long_dynamic_reductions_stay_exact() {
    let mut random = Random(16);
    for (k, m, zero_point) in [
        (65_793, 1, 0),
        (65_793, 13, 0),
        (33_025, 3, -128),
        (8192, 14, -128),
    ] {
        for weight in [127, -128] {
            let mut case = case(&mut random, false);
            (case.m, case.n, case.k) = (m, 17, k);
            case.x = vec![255.0; m * k];
            case.weight = Weight::I8(vec![weight; 17 * k], vec![0.5], vec![zero_point]);
            case.bias = None;
            case.activation = Activation::None;
            check(&case, 0);
        }
    }
}

#[test]
fn weights_that_are_not_finite_are_refused() {
    let mut random = Random(14);
    let mut case = case(&mut random, true);
    if let Weight::F16(data) = &mut case.weight {
        data[0] = f32::NAN;
    }
    let refusal = case.with(|node| pack(F16LinearDynamic::KERNEL, node).err());
    assert_eq!(refusal, Some(Refusal::NotFinite("weight")));
}

#[test]
fn damaged_blobs_are_errors_or_harmless() {
    let mut random = Random(15);
    for round in 0..cases(400) {
        let case = case(&mut random, round % 2 == 0);
        let (mut blob, scratch) = case
            .with(|node| pack(case.kernel(), node))
            .expect("a valid node");
        let input: Vec<u8> = case.x.iter().flat_map(|x| x.to_ne_bytes()).collect();
        match random.below(3) {
            0 => blob.truncate(random.below(blob.len())),
            1 => blob.push(0),
            _ => {}
        }
        for _ in 0..random.below(4) {
            let at = random.below(blob.len().clamp(1, 64));
            if let Some(byte) = blob.get_mut(at) {
                *byte = random.next() as u8;
            }
        }
        for isa in levels() {
            // whatever the answer, it is one
            let _ = run(case.kernel(), &blob, &input, scratch, isa, 1, 0);
        }
    }
}
