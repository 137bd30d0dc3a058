//! Multiplication against its formula, the product in 64 bits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use harness::*;
use proptest::prelude::{ProptestConfig, proptest};
use qconfig_core::DType;
use qconfig_core::kernel::{Activation, KernelFamily, NodeOp, QParams, Unary};
use qconfig_kernels::Q8Mul;

struct Case {
    dtype: DType,
    a: QParams,
    b: QParams,
    to: QParams,
    activation: Activation,
}

fn multiplier(case: &Case) -> f32 {
    let product = case.a.scale * case.b.scale;
    if case.dtype == DType::quint8 {
        product * (1.0 / case.to.scale)
    } else {
        product / case.to.scale
    }
}

fn oracle(case: &Case, qa: u8, qb: u8) -> u8 {
    let flip = flip(case.dtype);
    let zero_point = case.to.zero_point + flip;
    let centred = |q: u8, p: QParams| i64::from(i32::from(q) - flip - p.zero_point);
    let product = centred(qa, case.a) * centred(qb, case.b);
    let scaled = f64::from(product as f32 * multiplier(case)).round_ties_even();
    let q = (scaled + f64::from(zero_point)).clamp(0.0, 255.0) as u8;
    activate(q, case.activation, case.to.scale, zero_point)
}

fn random(rng: &mut Rng) -> Case {
    loop {
        let dtype = rng.dtype();
        let mut case = Case {
            dtype,
            a: rng.qparams(dtype),
            b: rng.qparams(dtype),
            to: rng.qparams(dtype),
            activation: Activation::None,
        };
        match rng.below(0..4) {
            // powers of two: ties everywhere
            0 => {
                for q in [&mut case.a, &mut case.b, &mut case.to] {
                    q.scale = (rng.below(0..12) as f32 - 8.0).exp2();
                }
            }
            // most of the range in use
            1 => case.to.scale = (case.a.scale * case.b.scale * 128.0).max(f32::MIN_POSITIVE),
            _ => {}
        }
        case.activation = rng.activation(case.to.scale);
        if case.to.scale.is_finite() && multiplier(&case).is_finite() {
            return case;
        }
    }
}

fn run(case: &Case, [a, b]: [Vec<u8>; 2], shapes: [&[usize]; 3], rng: &mut Rng) {
    let inputs = [
        tensor(case.dtype, shapes[0], Some(case.a)),
        tensor(case.dtype, shapes[1], Some(case.b)),
    ];
    let to = tensor(case.dtype, shapes[2], Some(case.to));
    let spec = node(NodeOp::Mul, case.activation, &inputs, to);
    let all = [
        broadcast(&a, shapes[0], shapes[2]),
        broadcast(&b, shapes[1], shapes[2]),
    ];
    let pairs = all[0].iter().zip(&all[1]);
    let expected: Vec<u8> = pairs.map(|(a, b)| oracle(case, *a, *b)).collect();
    check(Q8Mul::KERNEL, &spec, &[a, b], &expected, rng);
}

#[test]
fn mul_equals_its_formula() {
    report();
    for seed in 0..cases(2_000) {
        let rng = &mut Rng::new(seed);
        let case = random(rng);
        let len = if rng.chance(20) {
            rng.below(4_000..10_000)
        } else {
            rng.below(0..200)
        };
        let operands = [rng.bytes(len), rng.bytes(len)];
        run(&case, operands, [&[len]; 3], rng);
    }
}

#[test]
fn shapes_broadcast() {
    for seed in 0..cases(1_500) {
        let rng = &mut Rng::new(seed);
        let case = random(rng);
        let [a, b, to] = broadcast_shapes(rng);
        let operands = [&a, &b].map(|shape| rng.bytes(shape.iter().product()));
        run(&case, operands, [&a, &b, &to], rng);
    }
    // a gate for each channel, a scale for each channel, channels first, one number; rows beyond a block
    for (a, b) in [
        (&[2, 9, 9, 72][..], &[2, 1, 1, 72][..]),
        (&[2, 9, 9, 1500], &[2, 1, 1, 1500]),
        (&[3, 5, 700], &[700]),
        (&[2, 40, 11, 13], &[2, 40, 1, 1]),
        (&[50, 60], &[1]),
        (&[1], &[50, 60]),
        (&[70, 1], &[1, 90]),
    ] {
        let rng = &mut Rng::new(a.len() as u64);
        let case = random(rng);
        let operands = [a, b].map(|shape| rng.bytes(shape.iter().product()));
        let to = if b == [1, 90] {
            &[70, 90]
        } else if a.len() > b.len() || (a.len() == b.len() && a != [1]) {
            a
        } else {
            b
        };
        run(&case, operands, [a, b, to], rng);
    }
}

#[test]
fn mul_is_exact_on_all_pairs() {
    let a: Vec<u8> = (0..=255u8).flat_map(|a| [a; 256]).collect();
    let b: Vec<u8> = (0..=255u8).collect::<Vec<u8>>().repeat(256);
    for seed in 0..cases(24) {
        let rng = &mut Rng::new(seed);
        run(&random(rng), [a.clone(), b.clone()], [&[1 << 16]; 3], rng);
    }
}

/// A number is the table's, by the multiplication's own kernel.
#[test]
fn a_number_keeps_the_bytes() {
    let x: Vec<u8> = (0..=255).collect();
    let from = QParams {
        scale: 0.5,
        zero_point: 10,
    };
    let inputs = [tensor(DType::quint8, &[256], Some(from))];
    for (other, to, expected) in [
        (3.0, (1.5, 10), x.clone()),
        (-2.0, (1.0, 245), x.iter().map(|q| 255 - q).collect()),
        (0.0, (1.0, 0), vec![0; 256]),
    ] {
        let (scale, zero_point) = to;
        let to = tensor(DType::quint8, &[256], Some(QParams { scale, zero_point }));
        let op = NodeOp::Unary(Unary::MulScalar { other });
        let spec = node(op, Activation::None, &inputs, to);
        check(
            Q8Mul::KERNEL,
            &spec,
            std::slice::from_ref(&x),
            &expected,
            &mut Rng::new(1),
        );
    }
}

#[test]
fn nodes_that_do_not_fit_are_refused() {
    let q = Some(QParams {
        scale: 0.5,
        zero_point: 3,
    });
    let four = tensor(DType::quint8, &[4], q);
    let huge = QParams {
        scale: f32::MAX,
        zero_point: 0,
    };
    for inputs in [
        vec![four],
        vec![four, tensor(DType::quint8, &[5], q)],
        vec![four, tensor(DType::quint8, &[1, 1, 4], q)],
        vec![tensor(DType::quint8, &[1], q); 2],
        vec![four, tensor(DType::qint8, &[4], q)],
        vec![four, tensor(DType::quint8, &[4], None)],
        vec![tensor(DType::quint8, &[4], Some(huge)); 2],
        vec![four, four, four],
    ] {
        let spec = node(NodeOp::Mul, Activation::None, &inputs, four);
        assert!((Q8Mul::KERNEL.sizes)(&spec).is_err(), "{inputs:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(30) as u32, ..ProptestConfig::default() })]

    #[test]
    fn damaged_blobs_are_errors(seed: u64) {
        let rng = &mut Rng::new(seed);
        let case = random(rng);
        let [a, b, to] = broadcast_shapes(rng);
        let inputs = [tensor(case.dtype, &a, Some(case.a)), tensor(case.dtype, &b, Some(case.b))];
        let spec = node(NodeOp::Mul, case.activation, &inputs, tensor(case.dtype, &to, Some(case.to)));
        let operands = [&a, &b].map(|shape| vec![7; shape.iter().product()]);
        attack_all(Q8Mul::KERNEL, &spec, &operands, rng);
    }
}
