//! Interpolation against sums in 64-bit floats.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use harness::*;
use qconfig_core::kernel::{
    Activation, Interpolation, InterpolationMode, KernelFamily, NodeOp, QParams,
};
use qconfig_kernels::Q8Interpolate;

const MODES: [InterpolationMode; 3] = [
    InterpolationMode::Nearest,
    InterpolationMode::Linear,
    InterpolationMode::LinearAligned,
];

/// The formula, position by position.
fn expected(
    interpolation: Interpolation,
    [n, d, h, w, c]: [usize; 5],
    [od, oh, ow]: [usize; 3],
    zero_point: i32,
    data: &[u8],
) -> Vec<u8> {
    let mut bytes = Vec::new();
    for unit in 0..n * od * oh * ow {
        let (x, y) = (unit % ow, unit / ow % oh);
        let (z, image) = (unit / ow / oh % od, unit / ow / oh / od);
        for channel in 0..c {
            let mut sum = 0.0f32;
            for (z, wz) in interpolation.taps(0, z, d) {
                for (y, wy) in interpolation.taps(1, y, h) {
                    for (x, wx) in interpolation.taps(2, x, w) {
                        let pixel = ((image * d + z) * h + y) * w + x;
                        let q = i32::from(data[pixel * c + channel]) - zero_point;
                        sum += wz * wy * wx * q as f32;
                    }
                }
            }
            let q = sum.round_ties_even() as i32 + zero_point;
            bytes.push(q.clamp(0, 255) as u8);
        }
    }
    bytes
}

#[test]
fn every_size_equals_the_formula() {
    for seed in 0..cases(2_000) {
        let rng = &mut Rng::new(seed);
        let rank = rng.below(1..4);
        let mut size = || rng.below(1..8);
        let (mut from, mut to) = ([1; 3], [1; 3]);
        for axis in 3 - rank..3 {
            (from[axis], to[axis]) = (size(), size());
        }
        let dtype = rng.dtype();
        let qparams = QParams {
            scale: 0.1,
            zero_point: rng.zero_point(dtype),
        };
        let (n, c) = (rng.below(1..3), rng.below(1..70));
        let interpolation = Interpolation {
            mode: rng.pick(&MODES),
            step: std::array::from_fn(|axis| match rng.below(0..3) {
                0 => rng.unit() * 3.0,
                _ => from[axis] as f32 / to[axis] as f32,
            }),
        };
        let shape = |sizes: [usize; 3]| [&[n], &sizes[3 - rank..], &[c]].concat();
        let (input, output) = (shape(from), shape(to));
        let data = rng.bytes(input.iter().product());
        let [d, h, w] = from;
        let zero_point = qparams.zero_point + flip(dtype);
        let bytes = expected(interpolation, [n, d, h, w, c], to, zero_point, &data);
        let inputs = [tensor(dtype, &input, Some(qparams))];
        let spec = node(
            NodeOp::Interpolate(interpolation),
            Activation::None,
            &inputs,
            tensor(dtype, &output, Some(qparams)),
        );
        check(
            Q8Interpolate::KERNEL,
            &spec,
            std::slice::from_ref(&data),
            &bytes,
            rng,
        );
        if seed % 100 == 0 {
            attack_all(Q8Interpolate::KERNEL, &spec, &[data], rng);
        }
    }
}
