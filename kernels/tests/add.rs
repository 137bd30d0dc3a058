//! Addition against QNNPACK's and XNNPACK's fixed-point arithmetic, written here in 64 bits, and against ATen's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use harness::*;
use proptest::prelude::{ProptestConfig, proptest};
use qconfig_core::kernel::{Activation, Kernel, KernelFamily, NodeOp, QParams};
use qconfig_core::{DType, Isa, IsaLevel};
use qconfig_kernels::{Q8Add, fbgemm};

struct Case {
    dtype: DType,
    a: QParams,
    b: QParams,
    to: QParams,
    activation: Activation,
    /// Whether the kernel is the one with FBGEMM's numerics.
    fbgemm: bool,
}

impl Case {
    fn kernel(&self) -> &'static Kernel {
        if self.fbgemm {
            fbgemm::Q8Add::KERNEL
        } else {
            Q8Add::KERNEL
        }
    }
}

/// `(multiplier a, multiplier b, shift)`, or `None` outside what the library takes.
fn fixed(case: &Case, bits: i32, low: f32) -> Option<(i64, i64, i32)> {
    let (ao, bo) = (case.a.scale / case.to.scale, case.b.scale / case.to.scale);
    for ratio in [ao, bo] {
        if !(ratio >= low && ratio < 256.0) {
            return None;
        }
    }
    let shift = bits - f64::from(ao.max(bo)).log2().floor() as i32;
    let multiplier =
        |ratio: f32| (f64::from(ratio) * f64::from(shift).exp2()).round_ties_even() as i64;
    (shift < 32).then(|| (multiplier(ao), multiplier(bo), shift))
}

fn oracle(case: &Case, qa: u8, qb: u8) -> u8 {
    let flip = flip(case.dtype);
    let zero_point = case.to.zero_point + flip;
    let centred = |q: u8, p: QParams| i64::from(i32::from(q) - flip - p.zero_point);
    let (a, b) = (centred(qa, case.a), centred(qb, case.b));
    let y = if case.fbgemm {
        None
    } else if case.dtype == DType::quint8 {
        fixed(case, 21, 0.5f32.powi(14)).map(|(am, bm, shift)| {
            let acc = am * a + bm * b;
            assert!(
                i32::try_from(acc).is_ok(),
                "QNNPACK's accumulator has 32 bits"
            );
            (acc as f64 / f64::from(shift).exp2()).round() as i64 // half away from zero
        })
    } else {
        fixed(case, 20, 0.5f32.powi(10))
            .map(|(am, bm, shift)| (am * a + bm * b + (1 << (shift - 1))) >> shift)
    };
    let q = match y {
        Some(y) => (y + i64::from(zero_point)).clamp(0, 255) as u8,
        None => quantize(
            case.a.scale * a as f32 + case.b.scale * b as f32,
            case.to.scale,
            zero_point,
        ),
    };
    activate(q, case.activation, case.to.scale, zero_point)
}

fn run(case: &Case, a: Vec<u8>, b: Vec<u8>, rng: &mut Rng) {
    let shape = [1, a.len()];
    let inputs = [
        tensor(case.dtype, &shape, Some(case.a)),
        tensor(case.dtype, &shape, Some(case.b)),
    ];
    let spec = node(
        NodeOp::Add,
        case.activation,
        &inputs,
        tensor(case.dtype, &shape, Some(case.to)),
    );
    let expected: Vec<u8> = a
        .iter()
        .zip(&b)
        .map(|(a, b)| oracle(case, *a, *b))
        .collect();
    check(case.kernel(), &spec, &[a, b], &expected, rng);
}

fn random(rng: &mut Rng) -> Case {
    let dtype = rng.dtype();
    let mut case = Case {
        dtype,
        a: rng.qparams(dtype),
        b: rng.qparams(dtype),
        to: rng.qparams(dtype),
        activation: Activation::None,
        fbgemm: rng.chance(2),
    };
    match rng.below(0..6) {
        // powers of two: ties everywhere
        0 => {
            for q in [&mut case.a, &mut case.b, &mut case.to] {
                q.scale = (rng.below(0..12) as f32 - 8.0).exp2();
            }
        }
        // around the ends of the ratios
        1 => {
            let end = rng.pick(&[-14.0f32, -10.0, -9.0, 7.0, 8.0]).exp2();
            case.to.scale = 1.0;
            case.a.scale = f32::from_bits(end.to_bits() - 1 + rng.below(0..3) as u32);
            case.b.scale = rng.pick(&[case.a.scale, 0.001, 0.01, 1.0]);
        }
        _ => {}
    }
    case.activation = rng.activation(case.to.scale);
    case
}

#[test]
fn add_equals_its_formula() {
    report();
    for seed in 0..cases(3_500) {
        let rng = &mut Rng::new(seed);
        let case = random(rng);
        let len = if rng.chance(20) {
            rng.below(4_000..10_000)
        } else {
            rng.below(0..200)
        };
        let (a, b) = (rng.bytes(len), rng.bytes(len));
        run(&case, a, b, rng);
    }
}

/// The form depends on the scales, not on the shapes.
#[test]
fn shapes_broadcast() {
    for seed in 0..cases(2_000) {
        let rng = &mut Rng::new(seed);
        let case = random(rng);
        let [a_shape, b_shape, shape] = broadcast_shapes(rng);
        let a = rng.bytes(a_shape.iter().product());
        let b = rng.bytes(b_shape.iter().product());
        let inputs = [
            tensor(case.dtype, &a_shape, Some(case.a)),
            tensor(case.dtype, &b_shape, Some(case.b)),
        ];
        let spec = node(
            NodeOp::Add,
            case.activation,
            &inputs,
            tensor(case.dtype, &shape, Some(case.to)),
        );
        let all = [
            broadcast(&a, &a_shape, &shape),
            broadcast(&b, &b_shape, &shape),
        ];
        let pairs = all[0].iter().zip(&all[1]);
        let expected: Vec<u8> = pairs.map(|(a, b)| oracle(&case, *a, *b)).collect();
        check(case.kernel(), &spec, &[a, b], &expected, rng);
    }
}

/// Every pair of bytes, in each of the three forms.
#[test]
fn add_is_exact_on_all_pairs() {
    let a: Vec<u8> = (0..=255u8).flat_map(|a| [a; 256]).collect();
    let b: Vec<u8> = (0..=255u8).collect::<Vec<u8>>().repeat(256);
    for seed in 0..cases(24) {
        let rng = &mut Rng::new(seed);
        let case = random(rng);
        run(&case, a.clone(), b.clone(), rng);
    }
    // the largest multiplier, 2^22, and the largest sum of products
    let rng = &mut Rng::new(0);
    let scale = f32::from_bits(1.0f32.to_bits() - 1);
    for zero_point in [0, 255] {
        let q = QParams { scale, zero_point };
        let to = QParams {
            scale: 1.0,
            zero_point: 255 - zero_point,
        };
        let case = Case {
            dtype: DType::quint8,
            a: q,
            b: q,
            to,
            activation: Activation::None,
            fbgemm: false,
        };
        run(&case, a.clone(), b.clone(), rng);
    }
}

#[test]
fn the_form_without_ties_is_taken_where_it_can_be() {
    let variant = |a: f32, b: f32, to: f32, dtype| {
        let q = |scale| {
            Some(QParams {
                scale,
                zero_point: 0,
            })
        };
        let inputs = [tensor(dtype, &[8], q(a)), tensor(dtype, &[8], q(b))];
        let spec = node(
            NodeOp::Add,
            Activation::Relu,
            &inputs,
            tensor(dtype, &[8], q(to)),
        );
        (Q8Add::KERNEL.variant)(
            &pack(Q8Add::KERNEL, &spec),
            Isa::require(IsaLevel::Avx2).unwrap_or(Isa::SCALAR),
        )
    };
    if Isa::require(IsaLevel::Avx2).is_err() {
        return;
    }
    assert_eq!(variant(0.02, 0.03, 0.04, DType::quint8), "fixed_x32__avx2");
    // sums are whole numbers: no ties
    assert_eq!(variant(1.0, 1.0, 1.0, DType::quint8), "fixed_x32__avx2");
    let q = |scale| {
        Some(QParams {
            scale,
            zero_point: 128,
        })
    };
    let inputs = [
        tensor(DType::quint8, &[8], q(0.5)),
        tensor(DType::quint8, &[8], q(1.0)),
    ];
    let spec = node(
        NodeOp::Add,
        Activation::None,
        &inputs,
        tensor(DType::quint8, &[8], q(1.0)),
    );
    let blob = pack(Q8Add::KERNEL, &spec);
    assert_eq!(
        (Q8Add::KERNEL.variant)(
            &blob,
            Isa::detect().min(Isa::require(IsaLevel::Avx2).unwrap())
        ),
        "fixed_ties_x32__avx2"
    );
    assert_eq!(variant(1.0, 1.0, 512.0, DType::quint8), "fixed_x32__avx2");
    assert_eq!(variant(1.0, 1.0, 4096.0, DType::quint8), "float_x32__avx2");
    assert_eq!(variant(1.0, 1e-9, 1.0, DType::qint8), "float_x32__avx2");
}

#[test]
fn nodes_that_do_not_fit_are_refused() {
    let q = Some(QParams {
        scale: 0.5,
        zero_point: 3,
    });
    let four = tensor(DType::quint8, &[4], q);
    for inputs in [
        vec![four],
        vec![four, tensor(DType::quint8, &[5], q)],
        vec![four, tensor(DType::quint8, &[1, 1, 4], q)],
        vec![tensor(DType::quint8, &[1], q); 2],
        vec![four, tensor(DType::qint8, &[4], q)],
        vec![four, tensor(DType::quint8, &[4], None)],
        vec![four, four, four],
    ] {
        let spec = node(NodeOp::Add, Activation::None, &inputs, four);
        assert!((Q8Add::KERNEL.sizes)(&spec).is_err(), "{inputs:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(30) as u32, ..ProptestConfig::default() })]

    #[test]
    fn damaged_blobs_are_errors(seed: u64) {
        let rng = &mut Rng::new(seed);
        let case = random(rng);
        let shape = [rng.below(1..200)];
        let inputs = [tensor(case.dtype, &shape, Some(case.a)), tensor(case.dtype, &shape, Some(case.b))];
        let spec = node(NodeOp::Add, case.activation, &inputs, tensor(case.dtype, &shape, Some(case.to)));
        attack_all(case.kernel(), &spec, &[vec![7; shape[0]], vec![200; shape[0]]], rng);
    }
}
