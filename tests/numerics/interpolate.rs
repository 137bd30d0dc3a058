//! Interpolation: nearest to the bit, bilinear within a step.

use qconfig_core::KernelFamily;
use qconfig_core::kernel::{Interpolation, InterpolationMode, NodeOp, NodeSpec};
use qconfig_kernels::Q8Interpolate;
use qconfig_tests::golden::Case;
use qconfig_tests::harness::{self, differences, steps};

use crate::node::{dtype, quantized};

/// Input pixels from one output pixel to the next along the spatial axes of channels-last shapes.
fn step(case: &Case<'_>, mode: InterpolationMode, input: &[usize], output: &[usize]) -> [f32; 3] {
    let mut all = [1.0; 3];
    let axes = input.len() - 2;
    let factors = case.numbers("scale_factor");
    for axis in 0..axes {
        let (size, outputs) = (input[axis + 1], output[axis + 1]);
        all[3 - axes + axis] = match (mode, factors.get(axis)) {
            (InterpolationMode::LinearAligned, _) if outputs == 1 => 0.0,
            (InterpolationMode::LinearAligned, _) => (size - 1) as f32 / (outputs - 1) as f32,
            (_, Some(factor)) => (1.0 / factor) as f32,
            (_, None) => size as f32 / outputs as f32,
        };
    }
    all
}

fn interpolate(name: &str, least: usize, most: u8, mode: impl Fn(&Case<'_>) -> InterpolationMode) {
    harness::family(name, least, |case, tally| {
        let x = case.stored("x").channels_last();
        let y = case.stored("y").channels_last();
        let mode = mode(case);
        let op = NodeOp::Interpolate(Interpolation {
            mode,
            step: step(case, mode, &x.shape, &y.shape),
        });
        let inputs = [quantized(dtype(name), &x.shape, case.qparams("x"))];
        let output = quantized(dtype(name), &y.shape, case.qparams("y"));
        let node = NodeSpec::new(op, &inputs, output);
        tally.check_with(
            case,
            Q8Interpolate::KERNEL,
            &node,
            &[&x.data],
            |got| match most {
                0 => differences(got, &y.data),
                _ => steps(got, &y.data, most),
            },
        );
    });
}

#[test]
fn nearest() {
    interpolate("interpolate_nearest_quint8", 120, 0, |_| {
        InterpolationMode::Nearest
    });
}

#[test]
fn bilinear() {
    interpolate("interpolate_bilinear_quint8", 110, 1, |case| {
        if case.flag("align_corners") {
            InterpolationMode::LinearAligned
        } else {
            InterpolationMode::Linear
        }
    });
}
