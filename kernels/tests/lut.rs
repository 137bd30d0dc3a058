//! Functions of one value against their formulas, written here with the platform's own exponentials.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use harness::*;
use proptest::prelude::{ProptestConfig, proptest};
use qconfig_core::DType;
use qconfig_core::kernel::{Activation, Kernel, KernelFamily, NodeOp, QParams, Unary};
use qconfig_kernels::{Q8Add, Q8Lut, fbgemm, scalar_qparams, unary};

fn relu6(x: f32) -> f32 {
    x.clamp(0.0, 6.0)
}

/// The function in f32, exponentials in f64.
fn real(function: Unary, x: f32) -> f32 {
    let wide = f64::from(x);
    match function {
        Unary::Hardswish => x * relu6(x + 3.0) / 6.0,
        Unary::Hardsigmoid => relu6(x + 3.0) / 6.0,
        Unary::Sigmoid => 1.0 / (1.0 + (-wide).exp() as f32),
        Unary::Tanh => wide.tanh() as f32,
        Unary::Elu { alpha } => {
            if x > 0.0 {
                x
            } else {
                wide.exp_m1() as f32 * alpha
            }
        }
        Unary::LeakyRelu { negative_slope } => {
            if x > 0.0 {
                x
            } else {
                x * negative_slope
            }
        }
        Unary::FloorDivide { divisor } => {
            let divisor = divisor as f32;
            let mut remainder = x % divisor;
            if remainder != 0.0 && (remainder < 0.0) != (divisor < 0.0) {
                remainder += divisor;
            }
            ((x - remainder) / divisor).round()
        }
        Unary::AddScalar { other } => x + other as f32,
        Unary::MulScalar { other } => x * other as f32,
        other => panic!("{other:?} has a test of its own"),
    }
}

/// `rne(x) + zero_point`, the zero point added before.
fn before(x: f32) -> u8 {
    f64::from(x).round_ties_even().clamp(0.0, 255.0) as u8
}

fn oracle(function: Unary, q: u8, from: (f32, i32), to: (f32, i32)) -> u8 {
    let x = from.0 * (i32::from(q) - from.1) as f32;
    let inverse = 1.0 / to.0;
    match function {
        Unary::Hardswish if x.is_finite() => before(inverse * real(function, x) + to.1 as f32),
        Unary::Tanh => before((f64::from(inverse) * f64::from(x).tanh() + f64::from(to.1)) as f32),
        _ => quantize(real(function, x), to.0, to.1),
    }
}

fn function(rng: &mut Rng) -> Unary {
    match rng.below(0..9) {
        0 => Unary::Hardswish,
        1 => Unary::Hardsigmoid,
        2 => Unary::Sigmoid,
        3 => Unary::Tanh,
        4 => Unary::Elu {
            alpha: rng.unit() * 2.0,
        },
        5 => Unary::LeakyRelu {
            negative_slope: rng.unit() - 0.2,
        },
        6 => Unary::FloorDivide {
            divisor: f64::from((rng.unit() - 0.5) * 4.0 + 0.01),
        },
        7 => Unary::AddScalar {
            other: f64::from(rng.unit() * 10.0 - 5.0),
        },
        _ => Unary::MulScalar {
            other: f64::from(rng.unit() * 10.0 - 5.0),
        },
    }
}

struct Case {
    function: Unary,
    dtypes: [DType; 2],
    from: QParams,
    to: QParams,
    activation: Activation,
}

fn random(rng: &mut Rng) -> Case {
    let dtypes = [rng.dtype(), rng.dtype()];
    let (mut from, to) = (rng.qparams(dtypes[0]), rng.qparams(dtypes[1]));
    let function = function(rng);
    if let Unary::FloorDivide { .. } = function {
        // quotients that f32 holds exactly
        from.scale = from.scale.clamp(1e-3, 10.0);
    }
    Case {
        function,
        dtypes,
        from,
        to,
        activation: rng.activation(to.scale),
    }
}

fn run(kernel: &Kernel, case: &Case, x: &[u8], expected: &[u8], rng: &mut Rng) {
    let shape = [x.len()];
    let inputs = [tensor(case.dtypes[0], &shape, Some(case.from))];
    let to = tensor(case.dtypes[1], &shape, Some(case.to));
    let spec = node(NodeOp::Unary(case.function), case.activation, &inputs, to);
    check(kernel, &spec, &[x.to_vec()], expected, rng);
}

#[test]
fn every_function_equals_its_formula() {
    report();
    for seed in 0..cases(2_500) {
        let rng = &mut Rng::new(seed);
        let case = random(rng);
        if scalar_qparams(case.function, case.dtypes[0], case.from) == Some(case.to) {
            continue;
        }
        let len = match rng.below(0..20) {
            0 => rng.below(4_000..10_000),
            1 => 256,
            _ => rng.below(0..200),
        };
        let x = if len == 256 {
            (0..=255).collect()
        } else {
            rng.bytes(len)
        };
        let from = (case.from.scale, case.from.zero_point + flip(case.dtypes[0]));
        let to = (case.to.scale, case.to.zero_point + flip(case.dtypes[1]));
        let expected: Vec<u8> = x
            .iter()
            .map(|q| {
                let y = oracle(case.function, *q, from, to);
                activate(y, case.activation, to.0, to.1)
            })
            .collect();
        run(Q8Lut::KERNEL, &case, &x, &expected, rng);
        // ATen's form knows no exceptions
        let expected: Vec<u8> = x
            .iter()
            .map(|q| {
                let value = real(case.function, from.0 * (i32::from(*q) - from.1) as f32);
                activate(quantize(value, to.0, to.1), case.activation, to.0, to.1)
            })
            .collect();
        run(fbgemm::Q8Lut::KERNEL, &case, &x, &expected, rng);
    }
}

/// torch's rules for a tensor and a number, in integers.
#[test]
fn a_number_moves_the_parameters_and_keeps_the_bytes() {
    let x: Vec<u8> = (0..=255).collect();
    for seed in 0..cases(1_000) {
        let rng = &mut Rng::new(seed);
        let dtype = rng.dtype();
        let from = QParams {
            scale: rng.unit() + 0.01,
            ..rng.qparams(dtype)
        };
        let flip = flip(dtype);
        let z = i64::from(from.zero_point + flip);
        let other = f64::from((rng.unit() - 0.5) * 600.0 * from.scale);
        let relu = rng.chance(2);
        let add = rng.chance(2);
        let function = if add {
            Unary::AddScalar { other }
        } else {
            Unary::MulScalar { other }
        };
        let to = scalar_qparams(function, dtype, from).unwrap();
        let zo = i64::from(to.zero_point + flip);
        let steps = (other / f64::from(from.scale)).round_ties_even() as i64;
        let multiplier = from.scale * (1.0 / to.scale);
        let expected: Vec<u8> = x
            .iter()
            .map(|q| {
                let q = i64::from(*q);
                let y = match add {
                    true if (0..=255).contains(&(z - steps)) => q,
                    true => (multiplier * (q - z + steps) as f32).round_ties_even() as i64 + zo,
                    false if other > 0.0 => q,
                    false => 255 - q,
                };
                let y = y.clamp(0, 255);
                (if relu { y.max(zo) } else { y }) as u8
            })
            .collect();
        if add && (0..=255).contains(&(z - steps)) {
            assert_eq!((to.scale, zo), (from.scale, z - steps));
        }
        let case = Case {
            function,
            dtypes: [dtype; 2],
            from,
            to,
            activation: if relu {
                Activation::Relu
            } else {
                Activation::None
            },
        };
        run(Q8Lut::KERNEL, &case, &x, &expected, rng);
        run(fbgemm::Q8Lut::KERNEL, &case, &x, &expected, rng);
        if add {
            // the kernels that the backends bind to additions hand numbers over
            run(Q8Add::KERNEL, &case, &x, &expected, rng);
            run(fbgemm::Q8Add::KERNEL, &case, &x, &expected, rng);
        }
    }
}

/// QNNPACK takes 1/256 only, and fails an assertion elsewhere.
#[test]
fn sigmoid_is_right_at_any_output_scale() {
    let x: Vec<u8> = (0..=255).collect();
    let from = QParams {
        scale: 0.05,
        zero_point: 100,
    };
    for (scale, zero_point) in [(1.0 / 255.0, 0), (1.0 / 128.0, 10), (0.02, 77), (0.001, 0)] {
        let to = QParams { scale, zero_point };
        let expected: Vec<u8> = x
            .iter()
            .map(|q| {
                let sigmoid = 1.0 / (1.0 + (-0.05 * (f64::from(*q) - 100.0)).exp());
                let y = (sigmoid / f64::from(scale)).round_ties_even() + f64::from(zero_point);
                y.clamp(0.0, 255.0) as u8
            })
            .collect();
        let case = Case {
            function: Unary::Sigmoid,
            dtypes: [DType::quint8; 2],
            from,
            to,
            activation: Activation::None,
        };
        run(Q8Lut::KERNEL, &case, &x, &expected, &mut Rng::new(1));
    }
}

/// Values of a table of the normal distribution, and the limits of both forms.
#[test]
fn gelu_is_the_normal_distribution() {
    let erf = |x| f64::from(unary(Unary::Gelu { tanh: false }, x));
    let tanh = |x| f64::from(unary(Unary::Gelu { tanh: true }, x));
    for (x, probability) in [
        (0.5f32, 0.691_462_461),
        (1.0, 0.841_344_746),
        (2.0, 0.977_249_868),
        (3.0, 0.998_650_102),
    ] {
        let expected = f64::from(x) * probability;
        assert!((erf(x) - expected).abs() < 1e-6, "{x}");
        assert!((erf(-x) - (expected - f64::from(x))).abs() < 1e-6, "-{x}");
        assert!((tanh(x) - expected).abs() < 5e-4, "{x}");
    }
    // torch.nn.functional.gelu(torch.tensor(1.0), approximate="tanh")
    assert!((tanh(1.0) - 0.841_191_947_5).abs() < 1e-7);
    assert_eq!((erf(0.0), tanh(0.0)), (0.0, 0.0));
    assert_eq!((erf(-50.0), erf(50.0)), (0.0, 50.0));
}

#[test]
fn parameters_that_make_no_function_are_refused() {
    let q = Some(QParams {
        scale: 0.5,
        zero_point: 3,
    });
    let inputs = [tensor(DType::quint8, &[4], q)];
    for function in [
        Unary::Elu { alpha: f32::NAN },
        Unary::LeakyRelu {
            negative_slope: f32::INFINITY,
        },
        Unary::FloorDivide { divisor: 0.0 },
        Unary::FloorDivide { divisor: 1e-60 },
        Unary::AddScalar { other: f64::NAN },
        Unary::MulScalar {
            other: f64::INFINITY,
        },
    ] {
        let op = NodeOp::Unary(function);
        let spec = node(op, Activation::None, &inputs, inputs[0]);
        assert!((Q8Lut::KERNEL.sizes)(&spec).is_err(), "{function:?}");
    }
    let op = NodeOp::Unary(Unary::Sigmoid);
    for (inputs, output) in [
        (vec![inputs[0]; 2], inputs[0]),
        (vec![inputs[0]], tensor(DType::quint8, &[5], q)),
        (vec![tensor(DType::float32, &[4], None)], inputs[0]),
    ] {
        let spec = node(op, Activation::None, &inputs, output);
        assert!((Q8Lut::KERNEL.sizes)(&spec).is_err(), "{inputs:?}");
    }
    // only numbers may be added by the addition's kernel
    let spec = node(op, Activation::None, &inputs, inputs[0]);
    assert!((Q8Add::KERNEL.sizes)(&spec).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(30) as u32, ..ProptestConfig::default() })]

    #[test]
    fn damaged_blobs_are_errors(seed: u64) {
        let rng = &mut Rng::new(seed);
        let case = random(rng);
        let shape = [rng.below(1..200)];
        let inputs = [tensor(case.dtypes[0], &shape, Some(case.from))];
        let to = tensor(case.dtypes[1], &shape, Some(case.to));
        let spec = node(NodeOp::Unary(case.function), case.activation, &inputs, to);
        for kernel in [Q8Lut::KERNEL, fbgemm::Q8Lut::KERNEL] {
            attack_all(kernel, &spec, &[vec![7; shape[0]]], rng);
        }
    }
}
