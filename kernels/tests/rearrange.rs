//! Views through strides against a loop over all positions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use harness::*;
use qconfig_core::DType;
use qconfig_core::kernel::{Activation, KernelFamily, NodeOp, Strides};
use qconfig_kernels::Rearrange;

/// Sizes and steps of a view that stays inside an input of `len` elements.
fn view(rng: &mut Rng, len: usize) -> Strides {
    let mut strides = Strides::IDENTITY;
    let mut left = len - 1;
    for d in 0..Strides::RANK {
        if !rng.chance(2) {
            continue;
        }
        let size = rng.below(1..9);
        let most = left / size.saturating_sub(1).max(1);
        let step = match rng.below(0..4) {
            0 => 0,
            1 => most.min(1),
            _ => rng.below(0..most + 1),
        };
        left -= (size - 1) * step;
        (strides.sizes[d], strides.steps[d]) = (size, step);
    }
    strides.offset = rng.below(0..left + 1);
    strides
}

fn positions(strides: &Strides) -> Vec<usize> {
    let mut positions = vec![strides.offset];
    for (size, step) in strides.sizes.iter().zip(&strides.steps) {
        positions = positions
            .iter()
            .flat_map(|at| (0..*size).map(move |i| at + i * step))
            .collect();
    }
    positions
}

#[test]
fn every_view_is_written_out() {
    for seed in 0..cases(2_000) {
        let rng = &mut Rng::new(seed);
        let dtype = rng.pick(&[DType::quint8, DType::qint8, DType::float32, DType::float16]);
        let element = dtype.bits() as usize / 8;
        let len = rng.below(1..3_000);
        let strides = view(rng, len);
        let places = positions(&strides);
        if places.len() > 60_000 {
            continue;
        }
        let data = rng.bytes(len * element);
        let expected: Vec<u8> = places
            .iter()
            .flat_map(|at| data[at * element..][..element].to_vec())
            .collect();
        let qparams = dtype.is_quantized().then(|| rng.qparams(dtype));
        let (from, to) = ([len], [places.len()]);
        let inputs = [tensor(dtype, &from, qparams)];
        let spec = node(
            NodeOp::Rearrange(strides),
            Activation::None,
            &inputs,
            tensor(dtype, &to, qparams),
        );
        check(
            Rearrange::KERNEL,
            &spec,
            std::slice::from_ref(&data),
            &expected,
            rng,
        );
        if seed % 50 == 0 {
            attack_all(Rearrange::KERNEL, &spec, &[data], rng);
        }
    }
}

#[test]
fn a_view_beyond_the_input_is_refused() {
    let (from, to) = ([10], [6]);
    let qparams = Some(Rng::new(1).qparams(DType::quint8));
    let inputs = [tensor(DType::quint8, &from, qparams)];
    for (offset, fits) in [(0, true), (4, true), (5, false), (usize::MAX, false)] {
        let mut strides = Strides {
            offset,
            ..Strides::IDENTITY
        };
        (strides.sizes[7], strides.steps[7]) = (6, 1);
        let spec = node(
            NodeOp::Rearrange(strides),
            Activation::None,
            &inputs,
            tensor(DType::quint8, &to, qparams),
        );
        assert_eq!((Rearrange::KERNEL.sizes)(&spec).is_ok(), fits, "{offset}");
    }
}
