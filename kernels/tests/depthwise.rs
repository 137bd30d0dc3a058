//! Depthwise convolution against its formula, one output at a time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use harness::*;
use proptest::prelude::{ProptestConfig, proptest};
use qconfig_core::kernel::{
    Activation, Kernel, KernelFamily, NodeOp, NodeSpec, QParams, TensorSpec, WeightData,
    WeightSpec, Window,
};
use qconfig_core::{DType, Isa, IsaLevel};
use qconfig_kernels::{Q8Conv, Q8Depthwise, fbgemm};

const CASES: u64 = 2_000;

struct Case {
    dtypes: [DType; 2],
    from: QParams,
    to: QParams,
    activation: Activation,
    input: [usize; 4],
    output: [usize; 4],
    window: Window,
    weights: Vec<i8>,
    scales: Vec<f32>,
    zero_points: Vec<i32>,
    bias: Option<Vec<f32>>,
    divide: bool,
}

fn random(rng: &mut Rng) -> Case {
    // kernel, stride and dilation that have a form of their own, and others
    let flat = rng.chance(6);
    let axis = |rng: &mut Rng, kernel: usize| {
        let stride = rng.pick(&[1, 1, 2, 2, 3]);
        let dilation = if rng.chance(4) { rng.below(1..4) } else { 1 };
        let padding = [rng.below(0..kernel), rng.below(0..kernel)];
        let span = dilation * (kernel - 1) + 1;
        let size = (rng.below(1..12)).max(span.saturating_sub(padding[0] + padding[1]));
        let out = (size + padding[0] + padding[1] - span) / stride + 1;
        (size, kernel, stride, out, padding, dilation)
    };
    let square = rng.pick(&[3, 3, 3, 5, 5, 1, 2, 4, 7]);
    let other = if rng.chance(5) {
        rng.below(1..7)
    } else {
        square
    };
    let (h, kh, sh, oh, [top, bottom], dh) = if flat {
        (1, 1, 1, 1, [0, 0], 1)
    } else {
        axis(rng, square)
    };
    let (w, kw, sw, ow, [left, right], dw) = axis(rng, other);
    let (n, multiplier) = (
        rng.below(1..3),
        if rng.chance(6) { rng.below(2..4) } else { 1 },
    );
    let c = if rng.chance(3) {
        rng.below(1..9)
    } else {
        rng.below(8..72)
    };
    let outputs = c * multiplier;
    let dtypes = [rng.dtype(), rng.dtype()];
    let extreme = rng.chance(6);
    let weights = (0..outputs * kh * kw)
        .map(|_| {
            if extreme {
                rng.pick(&[-128i8, 127])
            } else {
                rng.bits() as i8
            }
        })
        .collect();
    let channels = if rng.chance(2) { 1 } else { outputs };
    let mut from = rng.qparams(dtypes[0]);
    from.scale = 0.001 + rng.unit();
    let scales: Vec<f32> = (0..channels).map(|_| 0.001 + rng.unit() * 0.1).collect();
    let asymmetric = rng.chance(4);
    let zero_points = (0..channels)
        .map(|_| {
            if asymmetric {
                i32::from(rng.bits() as i8)
            } else {
                0
            }
        })
        .collect();
    let mut to = rng.qparams(dtypes[1]);
    // results over the whole range, at times far beyond it, at times exact ties
    to.scale = from.scale * scales[0] * (rng.unit() * 12.0).exp2();
    if rng.chance(8) {
        to.scale = rng.pick(&[1e-30, 1e20]);
    }
    let mut case = Case {
        dtypes,
        from,
        to,
        activation: rng.activation(to.scale),
        input: [n, h, w, c],
        output: [n, oh, ow, outputs],
        window: Window {
            kernel: [kh, kw],
            stride: [sh, sw],
            padding: [top, left, bottom, right],
            dilation: [dh, dw],
        },
        weights,
        scales,
        zero_points,
        divide: rng.chance(2),
        bias: None,
    };
    if rng.chance(8) {
        case.from.scale = 0.5;
        case.scales.fill(0.5);
        case.to.scale = 0.5;
    }
    if !rng.chance(3) {
        let unit = case.from.scale * case.scales[0] * if rng.chance(10) { 1e7 } else { 3e3 };
        case.bias = Some((0..outputs).map(|_| (rng.unit() - 0.5) * unit).collect());
    }
    case
}

impl Case {
    fn spec<'a>(&'a self, input: &'a [TensorSpec<'a>], shape: &'a [usize; 4]) -> NodeSpec<'a> {
        let weight = WeightSpec {
            dtype: DType::qint8,
            shape,
            data: WeightData::I8(&self.weights),
            scales: &self.scales,
            zero_points: &self.zero_points,
        };
        let op = NodeOp::Conv {
            window: self.window,
            groups: self.input[3],
        };
        let output = tensor(self.dtypes[1], &self.output, Some(self.to));
        let mut spec = node(op, self.activation, input, output);
        spec.weight = Some(weight);
        spec.bias = self.bias.as_deref();
        spec.divide = self.divide;
        spec
    }

    fn weight_shape(&self) -> [usize; 4] {
        [
            self.output[3],
            self.window.kernel[0],
            self.window.kernel[1],
            1,
        ]
    }

    /// With the numerics of QNNPACK, or FBGEMM's.
    fn oracle(&self, input: &[u8], fbgemm: bool) -> Vec<u8> {
        let [_, height, width, channels] = self.input;
        let [batch, oh, ow, outputs] = self.output;
        let Window {
            kernel: [kh, kw],
            stride,
            padding: [top, left, ..],
            dilation,
        } = self.window;
        let (za, zo) = (
            self.from.zero_point + flip(self.dtypes[0]),
            self.to.zero_point + flip(self.dtypes[1]),
        );
        let mut output = Vec::new();
        for i in 0..batch * oh * ow * outputs {
            let (o, x, y, n) = (
                i % outputs,
                i / outputs % ow,
                i / outputs / ow % oh,
                i / outputs / ow / oh,
            );
            let per = |len: usize| if len == 1 { 0 } else { o };
            let (sw, zw) = (
                self.scales[per(self.scales.len())],
                self.zero_points[per(self.zero_points.len())],
            );
            let mut acc = 0i64;
            for (ky, kx) in (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))) {
                let (iy, ix) = (
                    y * stride[0] + ky * dilation[0],
                    x * stride[1] + kx * dilation[1],
                );
                if (top..top + height).contains(&iy) && (left..left + width).contains(&ix) {
                    let at = ((n * height + iy - top) * width + ix - left) * channels
                        + o / (outputs / channels);
                    let w = i64::from(self.weights[(o * kh + ky) * kw + kx]) - i64::from(zw);
                    acc += (i64::from(input[at]) - i64::from(za)) * w;
                }
            }
            if fbgemm {
                let bias = self.bias.as_ref().map_or(0.0, |bias| bias[o]);
                let scales = [self.from.scale, sw, self.to.scale];
                let scaled = f64::from(fbgemm_scaled(acc, bias, scales, self.scales.len() > 1));
                let q = (scaled.round_ties_even() + f64::from(zo)).clamp(0.0, 255.0) as u8;
                output.push(activate(q, self.activation, self.to.scale, zo));
                continue;
            }
            if let Some(bias) = &self.bias {
                let unit = (f64::from(sw) * f64::from(self.from.scale)) as f32;
                acc += (bias[o] * (1.0 / unit)).round_ties_even() as i64;
            }
            let acc = i32::try_from(acc).expect("biases are of the size of the sums");
            let scale = match self.divide {
                true => sw * self.from.scale / self.to.scale,
                false => (sw * self.from.scale) * (1.0 / self.to.scale),
            };
            let scaled = f64::from(acc as f32 * scale);
            let q = (scaled.round_ties_even() + f64::from(zo)).clamp(0.0, 255.0) as u8;
            output.push(activate(q, self.activation, self.to.scale, zo));
        }
        output
    }
}

#[test]
fn depthwise_equals_its_formula() {
    equals_its_formula(Q8Depthwise::KERNEL, false);
}

/// The convolutions' kernels hand over what is depthwise.
#[test]
fn convolutions_hand_over() {
    equals_its_formula(fbgemm::Q8Conv::KERNEL, true);
    let rng = &mut Rng::new(3);
    let case = loop {
        let case = random(rng);
        if case.input[3] > 1 {
            break case;
        }
    };
    let tensors = [tensor(case.dtypes[0], &case.input, Some(case.from))];
    let shape = case.weight_shape();
    let spec = case.spec(&tensors, &shape);
    let lengths = [case.input.iter().product()];
    let (own, other) = (
        pack(Q8Conv::KERNEL, &spec),
        pack(fbgemm::Q8Conv::KERNEL, &spec),
    );
    assert_eq!(own, pack(Q8Depthwise::KERNEL, &spec));
    assert!((Q8Conv::KERNEL.split)(&own, &lengths).is_ok());
    assert!((fbgemm::Q8Conv::KERNEL.split)(&other, &lengths).is_ok());
    // neither takes the other's
    assert!((Q8Conv::KERNEL.split)(&other, &lengths).is_err());
    assert!((fbgemm::Q8Conv::KERNEL.split)(&own, &lengths).is_err());
}

fn equals_its_formula(kernel: &Kernel, fbgemm: bool) {
    report();
    for seed in 0..cases(CASES) {
        let rng = &mut Rng::new(seed);
        let case = random(rng);
        if fbgemm && case.input[3] == 1 {
            continue;
        }
        let input = rng.bytes(case.input.iter().product());
        let expected = case.oracle(&input, fbgemm);
        let (tensors, shape) = (
            [tensor(case.dtypes[0], &case.input, Some(case.from))],
            case.weight_shape(),
        );
        check(
            kernel,
            &case.spec(&tensors, &shape),
            &[input],
            &expected,
            rng,
        );
    }
}

/// A line of pixels may come as `[N, L, C]`.
#[test]
fn one_dimension_is_height_one() {
    let rng = &mut Rng::new(11);
    let case = loop {
        let case = random(rng);
        if case.input[1] == 1 && case.window.kernel[0] == 1 && case.output[1] == 1 {
            break case;
        }
    };
    let input = rng.bytes(case.input.iter().product());
    let expected = case.oracle(&input, false);
    let short = |[n, _, w, c]: [usize; 4]| [n, w, c];
    let (a, b) = (short(case.input), short(case.output));
    let tensors = [tensor(case.dtypes[0], &a, Some(case.from))];
    let shape = case.weight_shape();
    let mut spec = case.spec(&tensors, &shape);
    spec.output.shape = &b;
    check(Q8Depthwise::KERNEL, &spec, &[input], &expected, rng);
}

#[test]
fn each_form_has_cases() {
    let Ok(isa) = Isa::require(IsaLevel::Avx2) else {
        return;
    };
    let rng = &mut Rng::new(0);
    let mut seen = Vec::new();
    for _ in 0..300 {
        let case = random(rng);
        let tensors = [tensor(case.dtypes[0], &case.input, Some(case.from))];
        let shape = case.weight_shape();
        let blob = pack(Q8Depthwise::KERNEL, &case.spec(&tensors, &shape));
        seen.push((Q8Depthwise::KERNEL.variant)(&blob, isa));
    }
    for variant in ["dw_7x8c_f32__avx2", "dw_8c__avx2", "dw_1c__scalar"] {
        assert!(seen.contains(&variant), "no case took {variant}");
    }
}

#[test]
fn nodes_that_do_not_fit_are_refused() {
    let rng = &mut Rng::new(5);
    let case = loop {
        let case = random(rng);
        if case.input[3] > 1 && case.bias.is_some() && case.output[3] == case.input[3] {
            break case;
        }
    };
    let tensors = [tensor(case.dtypes[0], &case.input, Some(case.from))];
    let shape = case.weight_shape();
    let good = case.spec(&tensors, &shape);
    let refused = |change: &dyn Fn(&mut NodeSpec<'_>)| {
        let mut spec = good;
        change(&mut spec);
        (Q8Depthwise::KERNEL.sizes)(&spec).is_err()
    };
    assert!(!refused(&|_| ()));
    assert!(refused(&|spec| spec.weight = None));
    assert!(refused(&|spec| spec.inputs = &[]));
    assert!(refused(&|spec| spec.op = NodeOp::Linear));
    assert!(refused(&|spec| spec.op = NodeOp::Conv {
        window: case.window,
        groups: 1
    }));
    assert!(refused(&|spec| spec.bias = Some(&[f32::NAN])));
    assert!(refused(&|spec| spec.output.shape = &[1, 1, 1]));
    assert!(refused(&|spec| spec.output.qparams = Some(QParams {
        scale: 1e38,
        zero_point: 0
    })));
    let mut window = case.window;
    window.stride = [0, 1];
    assert!(refused(&|spec| spec.op = NodeOp::Conv {
        window,
        groups: case.input[3]
    }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(40) as u32, ..ProptestConfig::default() })]

    #[test]
    fn damaged_blobs_are_errors(seed: u64) {
        let rng = &mut Rng::new(seed);
        let case = random(rng);
        let input = rng.bytes(case.input.iter().product());
        let tensors = [tensor(case.dtypes[0], &case.input, Some(case.from))];
        let shape = case.weight_shape();
        for kernel in [Q8Depthwise::KERNEL, fbgemm::Q8Conv::KERNEL] {
            attack_all(kernel, &case.spec(&tensors, &shape), std::slice::from_ref(&input), rng);
        }
    }
}
