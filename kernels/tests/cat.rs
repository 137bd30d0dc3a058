//! Concatenation against an element-by-element one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use harness::*;
use proptest::prelude::{ProptestConfig, proptest};
use qconfig_core::kernel::{Activation, KernelFamily, NodeOp, QParams};
use qconfig_core::{DType, Isa};
use qconfig_kernels::Q8Cat;

struct Case {
    axis: usize,
    shapes: Vec<Vec<usize>>,
    dtypes: Vec<DType>,
    qparams: Vec<QParams>,
    output: Vec<usize>,
    dtype: DType,
    to: QParams,
}

fn random(rng: &mut Rng, most: usize) -> Case {
    let rank = rng.below(1..5);
    let axis = rng.below(0..rank);
    let count = match rng.below(0..20) {
        0 => 64,
        1 => 1,
        _ => rng.below(1..6),
    };
    let mut output: Vec<usize> = (0..rank).map(|_| rng.below(1..most)).collect();
    let dtype = rng.dtype();
    let to = rng.qparams(dtype);
    output[axis] = 0;
    let (mut shapes, mut dtypes, mut qparams) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..count {
        let mut shape = output.clone();
        shape[axis] = if rng.chance(10) {
            rng.below(200..600)
        } else {
            rng.below(1..40)
        };
        shapes.push(shape);
        if rng.chance(2) {
            dtypes.push(dtype);
            qparams.push(to);
        } else {
            let own = rng.dtype();
            dtypes.push(own);
            qparams.push(rng.qparams(own));
        }
    }
    output[axis] = shapes.iter().map(|shape| shape[axis]).sum();
    Case {
        axis,
        shapes,
        dtypes,
        qparams,
        output,
        dtype,
        to,
    }
}

fn expected(case: &Case, inputs: &[Vec<u8>]) -> Vec<u8> {
    let rows: usize = case.output[..case.axis].iter().product();
    let mut out = Vec::new();
    for row in 0..rows {
        for (at, input) in inputs.iter().enumerate() {
            let columns = input.len() / rows;
            for q in &input[row * columns..(row + 1) * columns] {
                let (dtype, from) = (case.dtypes[at], case.qparams[at]);
                let x = from.scale * (i32::from(*q) - flip(dtype) - from.zero_point) as f32;
                out.push(if (dtype, from) == (case.dtype, case.to) {
                    *q
                } else {
                    quantize(x, case.to.scale, case.to.zero_point + flip(case.dtype))
                });
            }
        }
    }
    out
}

#[test]
fn cat_equals_its_formula() {
    report();
    for seed in 0..cases(1_200) {
        let rng = &mut Rng::new(seed);
        let case = random(rng, 7);
        let inputs: Vec<Vec<u8>> = case
            .shapes
            .iter()
            .map(|shape| rng.bytes(shape.iter().product()))
            .collect();
        let specs: Vec<_> = (0..inputs.len())
            .map(|at| tensor(case.dtypes[at], &case.shapes[at], Some(case.qparams[at])))
            .collect();
        let to = tensor(case.dtype, &case.output, Some(case.to));
        let op = NodeOp::Cat { axis: case.axis };
        let spec = node(op, Activation::None, &specs, to);
        check(
            Q8Cat::KERNEL,
            &spec,
            &inputs,
            &expected(&case, &inputs),
            rng,
        );
    }
}

#[test]
fn what_has_the_outputs_parameters_is_copied() {
    let q = |scale| {
        Some(QParams {
            scale,
            zero_point: 3,
        })
    };
    let to = tensor(DType::quint8, &[2, 8], q(0.5));
    let op = NodeOp::Cat { axis: 1 };
    for (scale, variant) in [(0.5, "copy"), (0.25, "lut_x1__scalar")] {
        let inputs = [
            tensor(DType::quint8, &[2, 3], q(0.5)),
            tensor(DType::quint8, &[2, 5], q(scale)),
        ];
        let blob = pack(Q8Cat::KERNEL, &node(op, Activation::None, &inputs, to));
        assert_eq!((Q8Cat::KERNEL.variant)(&blob, Isa::SCALAR), variant);
    }
}

#[test]
fn nodes_that_do_not_fit_are_refused() {
    let q = Some(QParams {
        scale: 0.5,
        zero_point: 3,
    });
    let of = |shape: &'static [usize]| tensor(DType::quint8, shape, q);
    for (axis, inputs) in [
        (0, vec![]),
        (0, vec![of(&[2, 4]); 65]),
        (0, vec![of(&[2, 4]), of(&[1, 4])]),
        (1, vec![of(&[4, 2]), of(&[4, 3])]),
        (2, vec![of(&[4, 2]), of(&[4, 2])]),
        (1, vec![of(&[4, 2]), of(&[3, 2])]),
        (1, vec![of(&[4, 2]), of(&[4])]),
        (1, vec![of(&[4, 2]), tensor(DType::quint8, &[4, 2], None)]),
    ] {
        let op = NodeOp::Cat { axis };
        let spec = node(op, Activation::None, &inputs, of(&[4, 4]));
        assert!((Q8Cat::KERNEL.sizes)(&spec).is_err(), "{axis}: {inputs:?}");
    }
    let inputs = [of(&[4, 2]), of(&[4, 2])];
    let op = NodeOp::Cat { axis: 1 };
    let spec = node(op, Activation::Relu, &inputs, of(&[4, 4]));
    assert!((Q8Cat::KERNEL.sizes)(&spec).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(30) as u32, ..ProptestConfig::default() })]

    #[test]
    fn damaged_blobs_are_errors(seed: u64) {
        let rng = &mut Rng::new(seed);
        let case = random(rng, 3);
        let inputs: Vec<Vec<u8>> = case.shapes.iter().map(|shape| vec![9; shape.iter().product()]).collect();
        let specs: Vec<_> = (0..inputs.len())
            .map(|at| tensor(case.dtypes[at], &case.shapes[at], Some(case.qparams[at])))
            .collect();
        let to = tensor(case.dtype, &case.output, Some(case.to));
        let spec = node(NodeOp::Cat { axis: case.axis }, Activation::None, &specs, to);
        attack_all(Q8Cat::KERNEL, &spec, &inputs, rng);
    }
}
