//! Quantize, dequantize, requantize and clamp against their formulas.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use harness::*;
use proptest::prelude::{ProptestConfig, proptest};
use qconfig_core::DType;
use qconfig_core::kernel::{Activation, KernelFamily, NodeOp, QParams};
use qconfig_kernels::{Dequantize, Q8Clamp, Quantize, Requantize};

const CASES: u64 = 2_000;

/// Lengths around the widths of the vectors, and now and then more than a unit.
fn length(rng: &mut Rng) -> usize {
    if rng.chance(20) {
        rng.below(4_000..20_000)
    } else {
        rng.below(0..140)
    }
}

fn floats(rng: &mut Rng, len: usize, scale: f32) -> Vec<f32> {
    (0..len)
        .map(|_| match rng.below(0..40) {
            0 => rng.pick(&[
                f32::NAN,
                f32::INFINITY,
                f32::NEG_INFINITY,
                f32::MAX,
                f32::MIN,
                -0.0,
            ]),
            1 => f32::from_bits(rng.bits() as u32),
            2..8 => (rng.below(0..600) as f32 - 300.5) * scale,
            _ => (rng.unit() * 600.0 - 300.0) * scale,
        })
        .collect()
}

fn native(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_ne_bytes()).collect()
}

#[test]
fn quantize_equals_its_formula() {
    report();
    for seed in 0..cases(CASES) {
        let rng = &mut Rng::new(seed);
        let (dtype, len) = (rng.dtype(), length(rng));
        let to = rng.qparams(dtype);
        let values = floats(rng, len, to.scale);
        let zero_point = to.zero_point + flip(dtype);
        let expected: Vec<u8> = values
            .iter()
            .map(|x| quantize(*x, to.scale, zero_point))
            .collect();
        let shape = [len];
        let inputs = [tensor(DType::float32, &shape, None)];
        let spec = node(
            NodeOp::Quantize,
            Activation::None,
            &inputs,
            tensor(dtype, &shape, Some(to)),
        );
        check(Quantize::KERNEL, &spec, &[native(&values)], &expected, rng);
    }
}

#[test]
fn quantize_multiplies_by_the_reciprocal_and_rounds_ties_to_even() {
    let rng = &mut Rng::new(1);
    let mut case = |scale, values: &[f32], zero_point, expected: &[u8]| {
        let shape = [values.len()];
        let inputs = [tensor(DType::float32, &shape, None)];
        let to = QParams { scale, zero_point };
        let spec = node(
            NodeOp::Quantize,
            Activation::None,
            &inputs,
            tensor(DType::quint8, &shape, Some(to)),
        );
        check(Quantize::KERNEL, &spec, &[native(values)], expected, rng);
    };
    // a division gives 127
    case(0.002_148_548_6, &[0.273_939_94; 33], 0, &[128; 33]);
    case(1.0, &[0.5, 1.5, 2.5, -0.5, 3.5], 0, &[0, 2, 2, 0, 4]);
    case(
        1.0,
        &[
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            f32::MAX,
            f32::MIN,
        ],
        7,
        &[255, 0, 7, 255, 0],
    );
    let wide: Vec<f32> = [
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        2e9,
        -2e9,
        3e9,
        -3e9,
        1e-45,
    ]
    .repeat(5);
    case(1.0, &wide, 7, &[255, 0, 7, 255, 0, 255, 0, 7].repeat(5));
}

#[test]
fn dequantize_equals_its_formula() {
    for seed in 0..cases(CASES) {
        let rng = &mut Rng::new(seed);
        let (dtype, len) = (rng.dtype(), length(rng));
        let from = rng.qparams(dtype);
        let stored = rng.bytes(len);
        let real = |q: &u8| from.scale * (i32::from(*q) - flip(dtype) - from.zero_point) as f32;
        let expected = native(&stored.iter().map(real).collect::<Vec<_>>());
        let shape = [len];
        let inputs = [tensor(dtype, &shape, Some(from))];
        let spec = node(
            NodeOp::Dequantize,
            Activation::None,
            &inputs,
            tensor(DType::float32, &shape, None),
        );
        check(Dequantize::KERNEL, &spec, &[stored], &expected, rng);
    }
}

#[test]
fn requantize_is_quantize_after_dequantize() {
    for seed in 0..cases(CASES) {
        let rng = &mut Rng::new(seed);
        let (a, b, len) = (rng.dtype(), rng.dtype(), length(rng));
        let (from, mut to) = (rng.qparams(a), rng.qparams(b));
        if rng.chance(2) {
            to.scale = (from.scale * (0.5 + rng.unit())).clamp(f32::MIN_POSITIVE, f32::MAX);
        }
        let activation = rng.activation(to.scale);
        let stored = rng.bytes(len);
        let expected: Vec<u8> = stored
            .iter()
            .map(|q| {
                let real = from.scale * (i32::from(*q) - flip(a) - from.zero_point) as f32;
                let zero_point = to.zero_point + flip(b);
                activate(
                    quantize(real, to.scale, zero_point),
                    activation,
                    to.scale,
                    zero_point,
                )
            })
            .collect();
        let shape = [len];
        let inputs = [tensor(a, &shape, Some(from))];
        let spec = node(
            NodeOp::Requantize,
            activation,
            &inputs,
            tensor(b, &shape, Some(to)),
        );
        check(Requantize::KERNEL, &spec, &[stored], &expected, rng);
    }
}

#[test]
fn clamp_equals_its_formula() {
    for seed in 0..cases(CASES) {
        let rng = &mut Rng::new(seed);
        let (dtype, len) = (rng.dtype(), length(rng));
        let q = rng.qparams(dtype);
        let activation = match rng.activation(q.scale) {
            Activation::None => Activation::Clamp {
                low: f32::INFINITY,
                high: f32::NEG_INFINITY,
            },
            activation => activation,
        };
        let stored = rng.bytes(len);
        let clamp = |x: &u8| activate(*x, activation, q.scale, q.zero_point + flip(dtype));
        let expected: Vec<u8> = stored.iter().map(clamp).collect();
        let shape = [len];
        let inputs = [tensor(dtype, &shape, Some(q))];
        let spec = node(
            NodeOp::Clamp,
            activation,
            &inputs,
            tensor(dtype, &shape, Some(q)),
        );
        check(Q8Clamp::KERNEL, &spec, &[stored], &expected, rng);
    }
}

#[test]
fn nodes_that_do_not_fit_are_refused() {
    let q = Some(QParams {
        scale: 0.5,
        zero_point: 3,
    });
    let other = Some(QParams {
        scale: 0.25,
        zero_point: 3,
    });
    let real = [tensor(DType::float32, &[4], None)];
    let byte = [tensor(DType::quint8, &[4], q)];
    let refused = |kernel: &qconfig_core::Kernel, op, activation, inputs, output| {
        assert!((kernel.sizes)(&node(op, activation, inputs, output)).is_err());
        assert!((kernel.pack)(&node(op, activation, inputs, output), &mut [0; 4096]).is_err());
    };
    let none = Activation::None;
    refused(
        Quantize::KERNEL,
        NodeOp::Quantize,
        none,
        &real,
        tensor(DType::quint8, &[5], q),
    );
    refused(
        Quantize::KERNEL,
        NodeOp::Quantize,
        none,
        &real,
        tensor(DType::quint8, &[4], None),
    );
    refused(
        Quantize::KERNEL,
        NodeOp::Quantize,
        none,
        &byte,
        tensor(DType::quint8, &[4], q),
    );
    refused(
        Quantize::KERNEL,
        NodeOp::Dequantize,
        none,
        &real,
        tensor(DType::quint8, &[4], q),
    );
    refused(
        Quantize::KERNEL,
        NodeOp::Quantize,
        none,
        &[],
        tensor(DType::quint8, &[4], q),
    );
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e-45] {
        let bad = Some(QParams {
            scale,
            zero_point: 0,
        });
        refused(
            Quantize::KERNEL,
            NodeOp::Quantize,
            none,
            &real,
            tensor(DType::quint8, &[4], bad),
        );
    }
    for (dtype, zero_point) in [
        (DType::quint8, 256),
        (DType::quint8, -1),
        (DType::qint8, 128),
        (DType::qint8, i32::MAX),
    ] {
        let bad = Some(QParams {
            scale: 1.0,
            zero_point,
        });
        refused(
            Quantize::KERNEL,
            NodeOp::Quantize,
            none,
            &real,
            tensor(dtype, &[4], bad),
        );
    }
    refused(
        Dequantize::KERNEL,
        NodeOp::Dequantize,
        none,
        &byte,
        tensor(DType::float16, &[4], None),
    );
    refused(
        Dequantize::KERNEL,
        NodeOp::Dequantize,
        Activation::Relu,
        &byte,
        tensor(DType::float32, &[4], None),
    );
    refused(
        Q8Clamp::KERNEL,
        NodeOp::Clamp,
        none,
        &byte,
        tensor(DType::quint8, &[4], q),
    );
    refused(
        Q8Clamp::KERNEL,
        NodeOp::Clamp,
        Activation::Relu,
        &byte,
        tensor(DType::quint8, &[4], other),
    );
    refused(
        Q8Clamp::KERNEL,
        NodeOp::Clamp,
        Activation::Relu,
        &byte,
        tensor(DType::qint8, &[4], q),
    );
    let huge = [tensor(DType::quint8, &[usize::MAX, 2], q)];
    refused(
        Requantize::KERNEL,
        NodeOp::Requantize,
        none,
        &huge,
        tensor(DType::quint8, &[usize::MAX, 2], q),
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(20) as u32, ..ProptestConfig::default() })]

    #[test]
    fn damaged_blobs_are_errors(seed: u64) {
        let rng = &mut Rng::new(seed);
        let len = rng.below(1..200);
        let shape = [len];
        let q = Some(QParams { scale: 0.5, zero_point: 3 });
        let real = [tensor(DType::float32, &shape, None)];
        let byte = [tensor(DType::quint8, &shape, q)];
        let spec = node(NodeOp::Quantize, Activation::None, &real, byte[0]);
        attack_all(Quantize::KERNEL, &spec, &[vec![7; 4 * len]], rng);
        let spec = node(NodeOp::Dequantize, Activation::None, &byte, real[0]);
        attack_all(Dequantize::KERNEL, &spec, &[vec![7; len]], rng);
        let spec = node(NodeOp::Requantize, Activation::None, &byte, byte[0]);
        attack_all(Requantize::KERNEL, &spec, &[vec![7; len]], rng);
        let spec = node(NodeOp::Clamp, Activation::Relu, &byte, byte[0]);
        attack_all(Q8Clamp::KERNEL, &spec, &[vec![7; len]], rng);
    }
}

#[test]
fn every_level_says_its_variant() {
    for isa in levels() {
        let variant = (Quantize::KERNEL.variant)(&[], isa);
        let family = match isa.level() {
            level if level.has_avx2() => "avx2",
            level if level.has_neon() => "neon",
            _ => "scalar",
        };
        assert!(variant.ends_with(family), "{isa}: {variant}");
    }
}
