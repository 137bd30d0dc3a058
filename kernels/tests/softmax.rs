//! Softmax against QNNPACK's formula, and against softmax.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use harness::*;
use proptest::prelude::{ProptestConfig, proptest};
use qconfig_core::DType;
use qconfig_core::kernel::{Activation, KernelFamily, NodeOp, QParams};
use qconfig_kernels::Q8Softmax;

struct Case {
    dtype: DType,
    from: QParams,
    to: QParams,
    shape: Vec<usize>,
    axis: usize,
}

/// torch's choice.
fn fixed(dtype: DType) -> QParams {
    QParams {
        scale: 1.0 / 256.0,
        zero_point: -flip(dtype),
    }
}

fn random(rng: &mut Rng) -> Case {
    let dtype = rng.dtype();
    let mut shape: Vec<usize> = (0..rng.below(1..5)).map(|_| rng.below(1..8)).collect();
    let axis = rng.below(0..shape.len());
    if rng.chance(3) {
        shape[axis] = rng.below(1..1_200);
    }
    Case {
        dtype,
        from: QParams {
            scale: rng.scale(),
            ..rng.qparams(dtype)
        },
        to: if rng.chance(2) {
            fixed(dtype)
        } else {
            rng.qparams(dtype)
        },
        shape,
        axis,
    }
}

fn oracle(case: &Case, x: &[u8]) -> Vec<u8> {
    let n = case.shape[case.axis];
    let inner: usize = case.shape[case.axis + 1..].iter().product();
    let unit = (4_294_967_295.0 / n as f64).min(8_388_607.0);
    let exponential = |below: u8| {
        let x = -f64::from(below) * f64::from(case.from.scale);
        (unit * x.exp()).round_ties_even() as u128
    };
    (0..x.len())
        .map(|at| {
            let first = at / (n * inner) * (n * inner) + at % inner;
            let line: Vec<u8> = (0..n).map(|i| x[first + i * inner]).collect();
            let largest = *line.iter().max().unwrap();
            let sum: u128 = line.iter().map(|q| exponential(largest - q)).sum();
            let own = exponential(largest - x[at]);
            if case.to == fixed(case.dtype) {
                ((own * 256 + sum / 2) / sum).min(255) as u8
            } else {
                let zero_point = case.to.zero_point + flip(case.dtype);
                quantize(own as f32 / sum as f32, case.to.scale, zero_point)
            }
        })
        .collect()
}

fn run(case: &Case, x: Vec<u8>, rng: &mut Rng) {
    let inputs = [tensor(case.dtype, &case.shape, Some(case.from))];
    let to = tensor(case.dtype, &case.shape, Some(case.to));
    let op = NodeOp::Softmax { axis: case.axis };
    let spec = node(op, Activation::None, &inputs, to);
    let expected = oracle(case, &x);
    check(Q8Softmax::KERNEL, &spec, &[x], &expected, rng);
}

#[test]
fn softmax_equals_its_formula() {
    report();
    for seed in 0..cases(1_500) {
        let rng = &mut Rng::new(seed);
        let mut case = random(rng);
        // not more than the test has time for
        while case.shape.iter().product::<usize>() > 3_000 {
            let largest = case.shape.iter().copied().max().unwrap();
            for size in case.shape.iter_mut().filter(|size| **size == largest) {
                *size = size.div_ceil(2);
            }
        }
        let x = rng.bytes(case.shape.iter().product());
        run(&case, x, rng);
    }
}

/// QNNPACK's sum overflows here: it gives 255 for each.
#[test]
fn many_equal_elements_share_evenly() {
    for n in [512, 513, 600, 1_000, 5_000] {
        let case = Case {
            dtype: DType::quint8,
            from: QParams {
                scale: 0.1,
                zero_point: 0,
            },
            to: fixed(DType::quint8),
            shape: vec![1, n],
            axis: 1,
        };
        let shape = [1, n];
        let inputs = [tensor(case.dtype, &shape, Some(case.from))];
        let to = tensor(case.dtype, &shape, Some(case.to));
        let spec = node(NodeOp::Softmax { axis: 1 }, Activation::None, &inputs, to);
        let each = (256.0 / n as f64 + 0.5).floor() as u8;
        let rng = &mut Rng::new(1);
        check(Q8Softmax::KERNEL, &spec, &[vec![7; n]], &vec![each; n], rng);
    }
}

#[test]
fn softmax_is_within_a_step_of_softmax() {
    for seed in 0..cases(300) {
        let rng = &mut Rng::new(seed);
        let n = rng.below(1..300);
        let scale = 0.001 + rng.unit() * 0.3;
        let from = QParams {
            scale,
            zero_point: 100,
        };
        let case = Case {
            dtype: DType::quint8,
            from,
            to: fixed(DType::quint8),
            shape: vec![n],
            axis: 0,
        };
        let x = rng.bytes(n);
        let exponentials: Vec<f64> = x
            .iter()
            .map(|q| (f64::from(scale) * (f64::from(*q) - 255.0)).exp())
            .collect();
        let sum: f64 = exponentials.iter().sum();
        for (found, e) in oracle(&case, &x).iter().zip(&exponentials) {
            let exact = (256.0 * e / sum).min(255.0);
            assert!(
                (f64::from(*found) - exact).abs() < 0.501,
                "{found}, {exact}"
            );
        }
        run(&case, x, rng);
    }
}

#[test]
fn nodes_that_do_not_fit_are_refused() {
    let q = Some(fixed(DType::quint8));
    let of = |shape: &'static [usize]| tensor(DType::quint8, shape, q);
    for (axis, inputs, output) in [
        (2, vec![of(&[3, 4])], of(&[3, 4])),
        (1, vec![of(&[3, 4])], of(&[4, 3])),
        (1, vec![of(&[3, 0])], of(&[3, 0])),
        (1, vec![of(&[3, 4]); 2], of(&[3, 4])),
        (
            1,
            vec![tensor(DType::qint8, &[3, 4], Some(fixed(DType::qint8)))],
            of(&[3, 4]),
        ),
    ] {
        let op = NodeOp::Softmax { axis };
        let spec = node(op, Activation::None, &inputs, output);
        assert!(
            (Q8Softmax::KERNEL.sizes)(&spec).is_err(),
            "{axis}: {inputs:?}"
        );
        let spec = node(op, Activation::Relu, &inputs, output);
        assert!((Q8Softmax::KERNEL.sizes)(&spec).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(30) as u32, ..ProptestConfig::default() })]

    #[test]
    fn damaged_blobs_are_errors(seed: u64) {
        let rng = &mut Rng::new(seed);
        let case = random(rng);
        let inputs = [tensor(case.dtype, &case.shape, Some(case.from))];
        let to = tensor(case.dtype, &case.shape, Some(case.to));
        let spec = node(NodeOp::Softmax { axis: case.axis }, Activation::None, &inputs, to);
        let x = vec![9; case.shape.iter().product()];
        attack_all(Q8Softmax::KERNEL, &spec, &[x], rng);
    }
}
