//! Operators on floats: the scalar code against sums in `f64`, and every instruction set, cut and alignment
//! against the scalar code, to the bit.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

#[path = "../harness/mod.rs"]
mod harness;

mod elementwise;
mod layers;
mod moving;
mod pools;
mod rows;

use harness::{Rng, attack_all, check, pack, tensor};
use qconfig_core::kernel::{Activation, Call, Kernel, NodeSpec, TensorSpec};
use qconfig_core::{DType, Isa};

pub(crate) fn spec(shape: &[usize]) -> TensorSpec<'_> {
    tensor(DType::float32, shape, None)
}

pub(crate) fn floats(rng: &mut Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| rng.unit() * 4.0 - 2.0).collect()
}

pub(crate) fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_ne_bytes()).collect()
}

pub(crate) fn activation(rng: &mut Rng) -> Activation {
    match rng.below(0..4) {
        0 => Activation::Relu,
        1 => Activation::Clamp {
            low: -rng.unit(),
            high: rng.unit() * 3.0,
        },
        _ => Activation::None,
    }
}

pub(crate) fn activated(x: f64, activation: Activation) -> f64 {
    match activation {
        Activation::None => x,
        Activation::Relu => x.max(0.0),
        Activation::Clamp { low, high } => x.max(f64::from(low)).min(f64::from(high)),
    }
}

/// The scalar answer.
pub(crate) fn scalar(kernel: &Kernel, spec: &NodeSpec<'_>, inputs: &[Vec<u8>]) -> Vec<f32> {
    let blob = pack(kernel, spec);
    let lengths: Vec<usize> = inputs.iter().map(Vec::len).collect();
    let split = (kernel.split)(&blob, &lengths).expect("a blob fits its own node");
    let mut scratch = vec![0; (kernel.sizes)(spec).unwrap().scratch];
    let mut output = vec![0; split.output_bytes];
    let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    (kernel.run)(Call {
        blob: &blob,
        inputs: &inputs,
        output: &mut output,
        units: 0..split.units,
        scratch: &mut scratch,
        isa: Isa::SCALAR,
    })
    .unwrap();
    let cells = output.chunks_exact(4);
    cells
        .map(|cell| f32::from_ne_bytes(cell.try_into().unwrap()))
        .collect()
}

/// Holds the scalar answer to the real values, `tolerance` apart relative to what is larger, 1 or the value;
/// then everything to the scalar answer.
pub(crate) fn hold(
    kernel: &Kernel,
    spec: &NodeSpec<'_>,
    inputs: &[Vec<u8>],
    right: &[f64],
    tolerance: f64,
    rng: &mut Rng,
) {
    let found = scalar(kernel, spec, inputs);
    assert_eq!(found.len(), right.len(), "{spec:?}");
    for (at, (found, right)) in found.iter().zip(right).enumerate() {
        let error = (f64::from(*found) - right).abs() / right.abs().max(1.0);
        assert!(
            error <= tolerance || f64::from(*found) == *right,
            "element {at} is {found}, not {right}: {spec:?}"
        );
    }
    check(kernel, spec, inputs, &bytes(&found), rng);
    if rng.chance(40) {
        attack_all(kernel, spec, inputs, rng);
    }
}

/// The position of an index in a shape.
pub(crate) fn position(mut index: usize, shape: &[usize]) -> Vec<usize> {
    let mut position = vec![0; shape.len()];
    for axis in (0..shape.len()).rev() {
        position[axis] = index % shape[axis];
        index /= shape[axis];
    }
    position
}

/// The index of a position in a shape.
pub(crate) fn index(position: &[usize], shape: &[usize]) -> usize {
    let pairs = position.iter().zip(shape);
    pairs.fold(0, |index, (at, size)| index * size + at)
}

/// Shapes of up to `rank` axes.
pub(crate) fn shape(rng: &mut Rng, ranks: std::ops::Range<usize>) -> Vec<usize> {
    let rank = rng.below(ranks);
    let most = [200, 60, 20, 9, 6, 5][rank.saturating_sub(1).min(5)];
    (0..rank).map(|_| rng.below(1..most)).collect()
}
