//! Quantized linear layers and convolutions.

use qconfig_core::kernel::{
    Activation, Call, Kernel, NodeOp, NodeSpec, QParams, Refusal, TensorSpec, WeightData,
    WeightSpec, Window,
};
use qconfig_core::{DType, Isa, IsaLevel, KernelFamily};
use qconfig_kernels::{Q8Conv, Q8Linear, fbgemm};

use crate::{Random, cases, levels, pack, run};

/// A node and its input, owned.
#[derive(Clone, Debug)]
struct Case {
    op: NodeOp,
    input: (DType, Vec<usize>, QParams),
    output: (DType, Vec<usize>, QParams),
    weight_shape: Vec<usize>,
    weight: Vec<i8>,
    scales: Vec<f32>,
    zero_points: Vec<i32>,
    bias: Option<Vec<f32>>,
    activation: Activation,
    divide: bool,
    /// Whether the kernel is the one with FBGEMM's numerics.
    fbgemm: bool,
    /// As stored.
    data: Vec<u8>,
}

impl Case {
    fn with<T>(&self, use_node: impl FnOnce(&NodeSpec<'_>) -> T) -> T {
        let (dtype, shape, qparams) = &self.input;
        let inputs = [TensorSpec {
            dtype: *dtype,
            shape,
            qparams: Some(*qparams),
        }];
        let (dtype, shape, qparams) = &self.output;
        let weight = WeightSpec {
            dtype: DType::qint8,
            shape: &self.weight_shape,
            data: WeightData::I8(&self.weight),
            scales: &self.scales,
            zero_points: &self.zero_points,
        };
        use_node(&NodeSpec {
            op: self.op,
            activation: self.activation,
            inputs: &inputs,
            output: TensorSpec {
                dtype: *dtype,
                shape,
                qparams: Some(*qparams),
            },
            weight: Some(weight),
            bias: self.bias.as_deref(),
            parameters: &[],
            reduce_range: false,
            divide: self.divide,
        })
    }

    fn kernel(&self) -> &'static Kernel {
        match (self.op, self.fbgemm) {
            (NodeOp::Linear, false) => Q8Linear::KERNEL,
            (NodeOp::Linear, true) => fbgemm::Q8Linear::KERNEL,
            (_, false) => Q8Conv::KERNEL,
            (_, true) => fbgemm::Q8Conv::KERNEL,
        }
    }

    fn pack(&self) -> (Vec<u8>, usize) {
        self.with(|node| pack(self.kernel(), node).expect("a valid node"))
    }

    fn run(&self, isa: Isa, parts: usize, shift: usize) -> Vec<u8> {
        let (blob, scratch) = self.pack();
        run(self.kernel(), &blob, &self.data, scratch, isa, parts, shift).expect("a valid blob")
    }
}

/// The formula, element by element, with sums in `i64`.
fn oracle(case: &Case) -> Vec<u8> {
    let nhwc = |shape: &[usize]| match *shape {
        [n, l, c] => [n, 1, l, c],
        [n, h, w, c] => [n, h, w, c],
        [n, c] => [1, 1, n, c],
        _ => unreachable!(),
    };
    let (window, groups) = match case.op {
        NodeOp::Conv { window, groups } => (window, groups),
        _ => (
            Window {
                kernel: [1; 2],
                stride: [1; 2],
                padding: [0; 4],
                dilation: [1; 2],
            },
            1,
        ),
    };
    let flip = |dtype: DType| if dtype == DType::qint8 { 128 } else { 0 };
    let [batch, height, width, channels] = nhwc(&case.input.1);
    let [_, out_height, out_width, outputs] = nhwc(&case.output.1);
    let za = i64::from(case.input.2.zero_point) + flip(case.input.0);
    let zo = i64::from(case.output.2.zero_point) + flip(case.output.0);
    let (sa, so) = (case.input.2.scale, case.output.2.scale);
    let quantize = |x: f32| ((x * (1.0 / so)).round_ties_even() as i64 + zo).clamp(0, 255);
    let (low, high) = match case.activation {
        Activation::None => (0, 255),
        Activation::Relu => (zo, 255),
        Activation::Clamp { low, high } => (quantize(low), quantize(high)),
    };
    let (tap_channels, tap_outputs) = (channels / groups, outputs / groups);
    let [kh, kw] = window.kernel;
    let mut out = Vec::new();
    for n in 0..batch {
        for oy in 0..out_height {
            for ox in 0..out_width {
                for o in 0..outputs {
                    let c = o.min(case.scales.len() - 1);
                    let (sw, zw) = (case.scales[c], i64::from(case.zero_points[c]));
                    let mut acc = 0;
                    for ky in 0..kh {
                        for kx in 0..kw {
                            let y = (oy * window.stride[0] + ky * window.dilation[0]) as isize
                                - window.padding[0] as isize;
                            let x = (ox * window.stride[1] + kx * window.dilation[1]) as isize
                                - window.padding[1] as isize;
                            if y < 0 || x < 0 || y >= height as isize || x >= width as isize {
                                continue;
                            }
                            let pixel = (n * height + y as usize) * width + x as usize;
                            for i in 0..tap_channels {
                                let a = case.data
                                    [pixel * channels + o / tap_outputs * tap_channels + i];
                                let w = case.weight[((o * kh + ky) * kw + kx) * tap_channels + i];
                                acc += (i64::from(a) - za) * (i64::from(w) - zw);
                            }
                        }
                    }
                    let bias = case.bias.as_ref().map_or(0.0, |bias| bias[o]);
                    let scaled = if case.fbgemm {
                        let step = sa * sw;
                        let bias = match case.scales.len() {
                            1 => bias * (1.0 / f64::from(step)) as f32,
                            _ => bias / step,
                        };
                        let acc = i32::try_from(acc).expect("cases whose sums fit");
                        (acc as f32 + bias) * (step / so)
                    } else {
                        let product = (f64::from(sw) * f64::from(sa)) as f32;
                        acc += (bias * (1.0 / product)).round_ties_even() as i64;
                        let acc = i32::try_from(acc).expect("cases whose sums fit");
                        acc as f32
                            * match case.divide {
                                true => (sw * sa) / so,
                                false => (sw * sa) * (1.0 / so),
                            }
                    };
                    // saturates
                    let rounded = scaled.round_ties_even() as i64;
                    out.push((rounded + zo).clamp(0, 255).clamp(low, high) as u8);
                }
            }
        }
    }
    out
}

/// What makes a case hard.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Style {
    /// Uniform values.
    Uniform,
    /// All inputs 255, weights 127 and -128: a saturating multiply would show.
    Traps,
    /// Likewise, but each pair of weights fits 16 bits just so: a form for them must not saturate either.
    Pairs,
    /// Scales that make ties.
    Ties,
    /// Scales and values that leave every range.
    Extreme,
}

const STYLES: [Style; 5] = [
    Style::Uniform,
    Style::Traps,
    Style::Pairs,
    Style::Ties,
    Style::Extreme,
];
/// Neighbours whose positive and whose negative ones reach no further than 128.
const PAIRS: [[i8; 2]; 8] = [
    [127, 1],
    [1, 127],
    [64, 64],
    [-128, 0],
    [0, -128],
    [-64, -64],
    [127, -128],
    [-128, 127],
];

fn fill(
    random: &mut Random,
    op: NodeOp,
    input: Vec<usize>,
    output: Vec<usize>,
    weight_shape: Vec<usize>,
) -> Case {
    let style = random.pick(&STYLES);
    let outputs = weight_shape[0];
    let k: usize = weight_shape[1..].iter().product();
    let zero_point = |random: &mut Random, dtype: DType| {
        let stored = random.pick(&[0, 1, 127, 128, 255, 77]);
        if dtype == DType::qint8 {
            stored - 128
        } else {
            stored
        }
    };
    let dtypes = [DType::quint8, DType::qint8];
    let (in_dtype, out_dtype) = (random.pick(&dtypes), random.pick(&dtypes));
    let (in_zp, out_zp) = (zero_point(random, in_dtype), zero_point(random, out_dtype));
    let scales = if random.chance(50) { 1 } else { outputs };
    let asymmetric = random.chance(25);
    let (sa, so) = match style {
        Style::Ties => (0.5, 1.0),
        Style::Extreme => (
            random.pick(&[1e-3, 1.0, 1e3]),
            random.pick(&[1e-6, 1.0, 1e6]),
        ),
        _ => (0.02, 0.02 * (k as f32).sqrt()),
    };
    let weight_scale = |random: &mut Random| match style {
        Style::Ties => random.pick(&[1.0, 0.5, 0.25]),
        Style::Extreme => random.pick(&[1e-3, 1.0, 1e3]),
        _ => 0.005 + 0.02 * random.unit(),
    };
    let constant = random.pick(&[127i8, -128]);
    let bias = random.chance(80).then(|| {
        let scale = match style {
            Style::Ties => 1.0,
            Style::Extreme => sa * 1e4,
            _ => sa * so * 40.0,
        };
        (0..outputs)
            .map(|_| (random.unit() - 0.5) * scale)
            .collect()
    });
    Case {
        op,
        divide: random.chance(50),
        fbgemm: random.chance(50),
        data: (0..input.iter().product())
            .map(|_| {
                if matches!(style, Style::Traps | Style::Pairs) && !random.chance(2) {
                    255
                } else {
                    random.next() as u8
                }
            })
            .collect(),
        weight: if style == Style::Pairs {
            let constant = random.pick(&PAIRS);
            let row = |random: &mut Random| -> Vec<i8> {
                let pairs = (0..k.div_ceil(2)).flat_map(|_| match random.chance(90) {
                    true => constant,
                    false => random.pick(&PAIRS),
                });
                pairs.take(k).collect()
            };
            (0..outputs).flat_map(|_| row(random)).collect()
        } else {
            (0..outputs * k)
                .map(|_| match style {
                    Style::Traps if random.chance(90) => constant,
                    Style::Traps => random.pick(&[127, -128]),
                    _ => random.next() as i8,
                })
                .collect()
        },
        scales: (0..scales).map(|_| weight_scale(random)).collect(),
        zero_points: (0..scales)
            .map(|_| {
                if asymmetric {
                    i32::from(random.next() as i8)
                } else {
                    0
                }
            })
            .collect(),
        bias,
        activation: match random.below(4) {
            0 => Activation::Relu,
            1 => Activation::Clamp {
                low: -0.3 * so * 100.0,
                high: so * 60.0,
            },
            _ => Activation::None,
        },
        input: (
            in_dtype,
            input,
            QParams {
                scale: sa,
                zero_point: in_zp,
            },
        ),
        output: (
            out_dtype,
            output,
            QParams {
                scale: so,
                zero_point: out_zp,
            },
        ),
        weight_shape,
    }
}

fn linear(random: &mut Random) -> Case {
    let m = random.pick(&[1, 1, 2, 3, 5, 6, 7, 11, 12, 13, 25]);
    let n = random.pick(&[1, 7, 8, 9, 15, 16, 17, 31, 33, 48, 63, 64, 65, 100, 130]);
    let k = random.pick(&[1, 2, 3, 4, 5, 15, 16, 17, 31, 63, 64, 65, 130]);
    fill(random, NodeOp::Linear, vec![m, k], vec![m, n], vec![n, k])
}

fn conv(random: &mut Random) -> Case {
    loop {
        let flat = random.chance(15);
        let groups = random.pick(&[1, 1, 1, 2, 3, 8]);
        let channels = groups * random.pick(&[1, 2, 3, 4, 8, 12, 16, 20]);
        let outputs = groups * random.pick(&[1, 2, 5, 8, 17, 40, 66]);
        let size = [
            if flat { 1 } else { 1 + random.below(9) },
            1 + random.below(9),
        ];
        let kernel = [
            if flat {
                1
            } else {
                random.pick(&[1, 1, 2, 3, 5])
            },
            random.pick(&[1, 1, 2, 3, 5, 7]),
        ];
        let mut side = |axis: usize| {
            if flat && axis == 0 {
                0
            } else {
                random.below(4)
            }
        };
        let padding = [side(0), side(1), side(0), side(1)];
        let window = Window {
            kernel,
            stride: [1 + random.below(3), 1 + random.below(3)],
            padding: if random.chance(30) { [0; 4] } else { padding },
            dilation: if random.chance(70) {
                [1; 2]
            } else {
                [1 + random.below(3), 1 + random.below(3)]
            },
        };
        let extent = |axis: usize| {
            let room = size[axis] + window.padding[axis] + window.padding[axis + 2];
            let span = window.dilation[axis] * (kernel[axis] - 1) + 1;
            (room >= span).then(|| (room - span) / window.stride[axis] + 1)
        };
        let (Some(height), Some(width)) = (extent(0), extent(1)) else {
            continue;
        };
        let batch = 1 + random.below(2);
        let weight = vec![outputs, kernel[0], kernel[1], channels / groups];
        let op = NodeOp::Conv { window, groups };
        return if flat {
            fill(
                random,
                op,
                vec![batch, size[1], channels],
                vec![batch, width, outputs],
                weight,
            )
        } else {
            let input = vec![batch, size[0], size[1], channels];
            fill(
                random,
                op,
                input,
                vec![batch, height, width, outputs],
                weight,
            )
        };
    }
}

fn assert_same(case: &Case, what: &str, found: &[u8], expected: &[u8]) {
    if let Some(at) = found.iter().zip(expected).position(|(a, b)| a != b) {
        let (a, b) = (found[at], expected[at]);
        panic!("{what}: output {at} is {a}, not {b}: {case:?}");
    }
    assert_eq!(found.len(), expected.len(), "{what}");
}

fn check(case: &Case, random: &mut Random) {
    let expected = oracle(case);
    for isa in levels() {
        let shift = random.below(4);
        assert_same(
            case,
            isa.level().name(),
            &case.run(isa, 1, shift),
            &expected,
        );
    }
}

#[test]
fn linear_is_the_formula_on_every_instruction_set() {
    let mut random = Random(1);
    for round in 0..cases(3000) {
        let mut case = linear(&mut random);
        case.fbgemm = round % 2 == 0;
        check(&case, &mut random);
    }
}

#[test]
fn conv_is_the_formula_on_every_instruction_set() {
    let mut random = Random(2);
    for round in 0..cases(3000) {
        let mut case = conv(&mut random);
        case.fbgemm = round % 2 == 0;
        check(&case, &mut random);
    }
}

#[test]
fn any_split_gives_the_same_bytes() {
    let mut random = Random(3);
    for round in 0..cases(120) {
        let mut case = if round % 2 == 0 {
            linear(&mut random)
        } else {
            conv(&mut random)
        };
        if round % 8 == 0 {
            // many rows, so that units have several
            case = fill(
                &mut random,
                NodeOp::Linear,
                vec![301, 12],
                vec![301, 20],
                vec![20, 12],
            );
        }
        for isa in levels() {
            let whole = case.run(isa, 1, 0);
            for parts in [2, 3, 8] {
                assert_same(&case, "split", &case.run(isa, parts, 0), &whole);
            }
        }
    }
}

/// All products at an end of their range, in as many as an accumulator holds; of one row, of a few, and of
/// so many that a block of them is widened.
#[test]
fn long_reductions_stay_exact() {
    let mut random = Random(4);
    for (k, rows) in [
        (4096, 3),
        (8192, 14),
        (65_793, 1),
        (65_793, 3),
        (65_793, 13),
    ] {
        let mut case = long(&mut random, rows, k, [127, -128], 0);
        // sums beyond 2^24, rounded when they become f32
        for (sum, fbgemm) in [(0.9, false), (1.0, false), (0.9, true), (1.0, true)] {
            case.fbgemm = fbgemm;
            case.data[k - 1] = (255.0 * sum) as u8;
            check(&case, &mut random);
        }
    }
}

/// Differences from a zero point reach 255.
#[test]
fn long_reductions_with_zero_points_stay_exact() {
    let mut random = Random(14);
    for (k, rows) in [(8192, 14), (33_025, 1), (33_025, 3), (33_025, 13)] {
        for (weights, zero_point) in [([127, -128], -128), ([-128, 127], 127)] {
            let case = long(&mut random, rows, k, weights, zero_point);
            check(&case, &mut random);
        }
    }
}

/// The taps of a window are as many as the products of a row.
#[test]
fn long_convolutions_stay_exact() {
    let mut random = Random(24);
    let channels = 65_793 / 9;
    let window = Window {
        kernel: [3, 3],
        stride: [1, 1],
        padding: [0; 4],
        dilation: [1, 1],
    };
    for size in [3, 5] {
        let mut case = fill(
            &mut random,
            NodeOp::Conv { window, groups: 1 },
            vec![1, size, size, channels],
            vec![1, size - 2, size - 2, 2],
            vec![2, 3, 3, channels],
        );
        to_the_end(&mut case, 9 * channels, [127, -128], 0);
        check(&case, &mut random);
    }
}

/// A linear layer whose first channel has the one weight, whose others have the other.
fn long(random: &mut Random, rows: usize, k: usize, weights: [i8; 2], zero_point: i32) -> Case {
    let mut case = fill(
        random,
        NodeOp::Linear,
        vec![rows, k],
        vec![rows, 18],
        vec![18, k],
    );
    to_the_end(&mut case, k, weights, zero_point);
    case
}

/// Values that make every product as large as it can be.
fn to_the_end(case: &mut Case, k: usize, weights: [i8; 2], zero_point: i32) {
    case.data.fill(255);
    case.weight.fill(weights[1]);
    case.weight[..k].fill(weights[0]);
    case.zero_points.fill(zero_point);
    case.input.2.zero_point = if case.input.0 == DType::qint8 {
        -128
    } else {
        0
    };
    case.bias = None;
    case.input.2.scale = 1.0;
    case.scales.fill(1.0);
    case.output.2.scale = k as f32 * 259.0;
}

#[test]
fn an_overlong_reduction_is_refused() {
    let mut random = Random(5);
    let k = 65_794;
    let mut case = fill(
        &mut random,
        NodeOp::Linear,
        vec![1, k],
        vec![1, 2],
        vec![2, k],
    );
    case.zero_points.fill(0);
    for kernel in [Q8Linear::KERNEL, fbgemm::Q8Linear::KERNEL] {
        let refusal = case.with(|node| pack(kernel, node).err());
        assert_eq!(refusal, Some(Refusal::Accumulator { k, max: 65_793 }));
    }
}

#[test]
fn an_empty_batch_has_no_units() {
    let mut random = Random(6);
    let case = fill(
        &mut random,
        NodeOp::Linear,
        vec![0, 8],
        vec![0, 3],
        vec![3, 8],
    );
    for isa in levels() {
        assert!(case.run(isa, 1, 0).is_empty());
    }
}

#[test]
fn damaged_blobs_are_errors_or_harmless() {
    let mut random = Random(7);
    for round in 0..cases(400) {
        let case = if round % 2 == 0 {
            linear(&mut random)
        } else {
            conv(&mut random)
        };
        let (mut blob, scratch) = case.pack();
        match random.below(3) {
            0 => blob.truncate(random.below(blob.len())),
            1 => blob.push(0),
            _ => {}
        }
        for _ in 0..random.below(4) {
            let header = blob.len().min(64);
            if let Some(byte) = blob[..header].get_mut(random.below(64)) {
                *byte = if random.chance(50) {
                    random.next() as u8
                } else {
                    *byte ^ 1 << random.below(8)
                };
            }
        }
        for isa in levels() {
            // whatever the answer, it is one
            let _ = run(case.kernel(), &blob, &case.data, scratch, isa, 1, 0);
        }
    }
}

#[test]
fn wrong_lengths_are_errors() {
    let mut random = Random(8);
    for _ in 0..cases(50) {
        let case = linear(&mut random);
        let kernel = case.kernel();
        let (blob, scratch) = case.pack();
        let split = (kernel.split)(&blob, &[case.data.len()]).expect("a valid blob");
        assert!((kernel.split)(&blob, &[case.data.len() + 1]).is_err());
        assert!((kernel.split)(&blob, &[]).is_err());
        for (input, output, scratch, units) in [
            (
                case.data.len() - 1,
                split.output_bytes,
                scratch,
                0..split.units,
            ),
            (
                case.data.len(),
                split.output_bytes - 1,
                scratch,
                0..split.units,
            ),
            (
                case.data.len(),
                split.output_bytes,
                scratch - 1,
                0..split.units,
            ),
            (
                case.data.len(),
                split.output_bytes,
                scratch,
                0..split.units + 1,
            ),
            (case.data.len(), split.output_bytes, scratch, split.units..0),
            (
                case.data.len(),
                split.output_bytes,
                scratch,
                usize::MAX - 1..usize::MAX,
            ),
        ] {
            for isa in levels() {
                let call = Call {
                    blob: &blob,
                    inputs: &[&case.data[..input]],
                    output: &mut vec![0; output],
                    units: units.clone(),
                    scratch: &mut vec![0; scratch],
                    isa,
                };
                assert!((kernel.run)(call).is_err());
            }
        }
    }
}

/// Weights of 7 bits, and no pair of them beyond what 16 bits hold, have a form of their own on AVX2.
#[test]
fn pairs_that_fit_have_a_form_of_their_own() {
    let Ok(isa) = Isa::require(IsaLevel::Avx2) else {
        return;
    };
    let variant = |pair: [i8; 2]| {
        let mut random = Random(3);
        let mut case = fill(
            &mut random,
            NodeOp::Linear,
            vec![16, 8],
            vec![16, 4],
            vec![4, 8],
        );
        case.zero_points.fill(0);
        for weights in case.weight.as_chunks_mut().0 {
            *weights = pair;
        }
        (case.kernel().variant)(&case.pack().0, isa)
    };
    let form = "6x16c4_pairs__avx2";
    for fits in [
        [63, -64],
        [64, 64],
        [127, 1],
        [-128, 0],
        [-64, -64],
        [127, -128],
    ] {
        assert_eq!(variant(fits), form, "{fits:?}");
    }
    for reaches_beyond in [[127, 2], [65, 64], [-128, -1], [-65, -64]] {
        assert_ne!(variant(reaches_beyond), form, "{reaches_beyond:?}");
    }
}
