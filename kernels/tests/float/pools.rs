//! Pools and interpolation.

use qconfig_core::kernel::{
    Interpolation, InterpolationMode, KernelFamily, NodeOp, NodeSpec, Window3,
};
use qconfig_kernels::{F32AdaptiveAvgPool, F32Interpolate, F32Pool};

use crate::harness::{Rng, cases};
use crate::{bytes, floats, hold, index, position, spec};

#[test]
fn windows() {
    let rng = &mut Rng::new(41);
    for _ in 0..cases(1000) {
        let three =
            |rng: &mut Rng, low: usize, high: usize| [0; 3].map(|_: usize| rng.below(low..high));
        let (kernel, stride) = (three(rng, 1, 4), three(rng, 1, 3));
        let is_max = rng.chance(2);
        let dilation = if is_max { three(rng, 1, 3) } else { [1; 3] };
        let size = three(rng, 3, 8);
        let before = [0, 1, 2].map(|a| rng.below(0..kernel[a]));
        let after = [0, 1, 2].map(|a| rng.below(0..kernel[a]));
        let channels = rng.pick(&[1, 3, 16, 33, 40]);
        let mut out = [0; 3];
        let fits = (0..3).all(|a| {
            let reach = (kernel[a] - 1) * dilation[a] + 1;
            let room = (size[a] + before[a] + after[a]).checked_sub(reach);
            out[a] = room.map_or(0, |room| room / stride[a] + 1);
            room.is_some()
        });
        if !fits {
            continue;
        }
        let from = [2, size[0], size[1], size[2], channels];
        let to = [2, out[0], out[1], out[2], channels];
        let x = floats(rng, from.iter().product());
        let (padded, divisor) = (rng.chance(2), rng.chance(3).then_some(5));
        let right: Vec<f64> = (0..to.iter().product())
            .map(|at: usize| {
                let p = position(at, &to);
                let mut inside = Vec::new();
                for tap in 0..kernel.iter().product() {
                    let t = position(tap, &kernel);
                    let mut cell = [p[0], 0, 0, 0, p[4]];
                    let is_inside = (0..3).all(|a| {
                        let at = (p[1 + a] * stride[a] + t[a] * dilation[a]).checked_sub(before[a]);
                        cell[1 + a] = at.unwrap_or(0);
                        at.is_some_and(|at| at < size[a])
                    });
                    if is_inside {
                        inside.push(f64::from(x[index(&cell, &from)]));
                    }
                }
                if is_max {
                    return inside.iter().copied().fold(f64::from(f32::MIN), f64::max);
                }
                let cells = if padded {
                    kernel.iter().product()
                } else {
                    inside.len()
                };
                inside.iter().sum::<f64>() / divisor.unwrap_or(cells).max(1) as f64
            })
            .collect();
        let [f, t, l] = before;
        let [b, o, r] = after;
        let window = Window3 {
            kernel,
            stride,
            padding: [f, t, l, b, o, r],
            dilation,
        };
        let op = if is_max {
            NodeOp::MaxPool3d { window }
        } else {
            NodeOp::AvgPool3d {
                window,
                count_include_pad: padded,
                divisor_override: divisor,
            }
        };
        let inputs = [spec(&from)];
        let node = NodeSpec::new(op, &inputs, spec(&to));
        hold(F32Pool::KERNEL, &node, &[bytes(&x)], &right, 1e-6, rng);
    }
}

#[test]
fn shares() {
    let rng = &mut Rng::new(42);
    for _ in 0..cases(500) {
        let size = [0; 3].map(|_: usize| rng.below(1..9));
        let out = [0; 3].map(|_: usize| rng.below(1..6));
        let channels = rng.pick(&[1, 5, 33]);
        let from = [2, size[0], size[1], size[2], channels];
        let to = [2, out[0], out[1], out[2], channels];
        let x = floats(rng, from.iter().product());
        let right: Vec<f64> = (0..to.iter().product())
            .map(|at: usize| {
                let p = position(at, &to);
                let share = |a: usize| {
                    let start = p[1 + a] * size[a] / out[a];
                    start..((p[1 + a] + 1) * size[a]).div_ceil(out[a])
                };
                let mut cells = Vec::new();
                for z in share(0) {
                    for y in share(1) {
                        cells.extend(share(2).map(|w| x[index(&[p[0], z, y, w, p[4]], &from)]));
                    }
                }
                cells.iter().map(|x| f64::from(*x)).sum::<f64>() / cells.len() as f64
            })
            .collect();
        let inputs = [spec(&from)];
        let node = NodeSpec::new(NodeOp::AdaptiveAvgPool, &inputs, spec(&to));
        hold(
            F32AdaptiveAvgPool::KERNEL,
            &node,
            &[bytes(&x)],
            &right,
            1e-6,
            rng,
        );
    }
}

#[test]
fn other_sizes() {
    let rng = &mut Rng::new(43);
    for _ in 0..cases(500) {
        let size = [0; 3].map(|_: usize| rng.below(1..6));
        let out = [0; 3].map(|_: usize| rng.below(1..9));
        let channels = rng.pick(&[1, 5, 33]);
        let mode = rng.pick(&[
            InterpolationMode::Nearest,
            InterpolationMode::Linear,
            InterpolationMode::LinearAligned,
        ]);
        let step = [0, 1, 2].map(|a| match mode {
            InterpolationMode::LinearAligned if out[a] == 1 => 0.0,
            InterpolationMode::LinearAligned => (size[a] - 1) as f32 / (out[a] - 1) as f32,
            _ => size[a] as f32 / out[a] as f32,
        });
        let interpolation = Interpolation { mode, step };
        let from = [2, size[0], size[1], size[2], channels];
        let to = [2, out[0], out[1], out[2], channels];
        let x = floats(rng, from.iter().product());
        let right: Vec<f64> = (0..to.iter().product())
            .map(|at: usize| {
                let p = position(at, &to);
                let taps = [0, 1, 2].map(|a| interpolation.taps(a, p[1 + a], size[a]));
                let mut sum = 0.0;
                for (z, wz) in taps[0] {
                    for (y, wy) in taps[1] {
                        for (w, wx) in taps[2] {
                            let x = f64::from(x[index(&[p[0], z, y, w, p[4]], &from)]);
                            sum += x * f64::from(wz) * f64::from(wy) * f64::from(wx);
                        }
                    }
                }
                sum
            })
            .collect();
        let inputs = [spec(&from)];
        let node = NodeSpec::new(NodeOp::Interpolate(interpolation), &inputs, spec(&to));
        hold(
            F32Interpolate::KERNEL,
            &node,
            &[bytes(&x)],
            &right,
            1e-6,
            rng,
        );
    }
}
