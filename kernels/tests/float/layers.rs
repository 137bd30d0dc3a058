//! Linear layers, convolutions and products of matrices.

use qconfig_core::kernel::{
    KernelFamily, NodeOp, NodeSpec, TensorSpec, WeightSpec, Window, Window3,
};
use qconfig_kernels::{F32Conv, F32ConvTranspose, F32Linear, F32MatMul};

use crate::harness::{Rng, broadcast_shapes, cases};
use crate::{activated, activation, bytes, floats, hold, index, position, spec};

fn weight<'a>(shape: &'a [usize], data: &'a [f32]) -> Option<WeightSpec<'a>> {
    Some(WeightSpec {
        shape,
        ..WeightSpec::float(data)
    })
}

#[test]
fn linear() {
    let rng = &mut Rng::new(11);
    for case in 0..cases(1000) {
        // lone rows and tails of tiles and slices
        let rows = rng.pick(&[1, 1, 2, 5, 6, 7, 13, 100]);
        let (k, outputs) = if case % 100 == 0 {
            (rng.below(200..700), rng.below(60..200))
        } else {
            (rng.below(1..30), rng.below(1..40))
        };
        let rows = if k > 100 { rows.min(13) } else { rows };
        let (x, w) = (floats(rng, rows * k), floats(rng, outputs * k));
        let b = floats(rng, outputs);
        let bias = rng.chance(2).then_some(b.as_slice());
        let activation = activation(rng);
        let (from, to, of) = ([rows, k], [rows, outputs], [outputs, k]);
        let inputs = [spec(&from)];
        let node = NodeSpec {
            activation,
            weight: weight(&of, &w),
            bias,
            ..NodeSpec::new(NodeOp::Linear, &inputs, spec(&to))
        };
        let right: Vec<f64> = (0..rows * outputs)
            .map(|at| {
                let (row, o) = (at / outputs, at % outputs);
                let products = x[row * k..][..k].iter().zip(&w[o * k..][..k]);
                let sum: f64 = products.map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
                activated(sum + bias.map_or(0.0, |b| f64::from(b[o])), activation)
            })
            .collect();
        hold(F32Linear::KERNEL, &node, &[bytes(&x)], &right, 2e-4, rng);
    }
}

/// A random convolution: window, groups, `[N, d, h, w, C]`, outputs.
struct Case {
    window: Window3,
    groups: usize,
    input: [usize; 5],
    outputs: usize,
}

fn case(rng: &mut Rng) -> Case {
    let rank = rng.below(1..4);
    let mut numbers = |low: usize, high: usize, missing: usize| {
        let mut all = [missing; 3];
        for to in &mut all[3 - rank..] {
            *to = rng.below(low..high);
        }
        all
    };
    let kernel = numbers(1, 4, 1);
    let (stride, dilation) = (numbers(1, 3, 1), numbers(1, 3, 1));
    let (before, after) = (numbers(0, 3, 0), numbers(0, 3, 0));
    let size = numbers(3, if rank == 3 { 6 } else { 10 }, 1);
    let point = rng.chance(5);
    let groups = rng.pick(&[1, 1, 1, 2, 3]);
    let depthwise = rng.chance(3);
    let (groups, channels, outputs) = if depthwise {
        let channels = rng.pick(&[1, 2, 7, 16, 33, 40]);
        (channels, channels, channels)
    } else {
        let each = rng.pick(&[1, 2, 3, 8]);
        (groups, groups * each, groups * rng.pick(&[1, 2, 5, 17]))
    };
    let window = if point {
        Window3 {
            kernel: [1; 3],
            stride: [1; 3],
            padding: [0; 6],
            dilation: [1; 3],
        }
    } else {
        let [f, t, l] = before;
        let [b, o, r] = after;
        Window3 {
            kernel,
            stride,
            padding: [f, t, l, b, o, r],
            dilation,
        }
    };
    let [d, h, w] = size;
    Case {
        window,
        groups,
        input: [rng.below(1..3), d, h, w, channels],
        outputs,
    }
}

impl Case {
    fn reach(&self, axis: usize) -> usize {
        (self.window.kernel[axis] - 1) * self.window.dilation[axis] + 1
    }

    fn padding(&self, axis: usize) -> usize {
        self.window.padding[axis] + self.window.padding[axis + 3]
    }

    /// Every axis of the sizes given, `None` where one is not positive.
    fn sizes(&self, each: impl Fn(usize) -> Option<usize>) -> Option<[usize; 3]> {
        let [a, b, c] = [0, 1, 2].map(each);
        Some([a?, b?, c?]).filter(|sizes| !sizes.contains(&0))
    }
}

#[test]
fn convolutions() {
    let rng = &mut Rng::new(12);
    for _ in 0..cases(1000) {
        let case = case(rng);
        let [n, d, h, w, channels] = case.input;
        let sizes = case.sizes(|axis| {
            let room = (case.input[1 + axis] + case.padding(axis)).checked_sub(case.reach(axis))?;
            Some(room / case.window.stride[axis] + 1)
        });
        let Some([od, oh, ow]) = sizes else { continue };
        let (outputs, groups) = (case.outputs, case.groups);
        let (ins, outs) = (channels / groups, outputs / groups);
        let of = [&[outputs], &case.window.kernel[..], &[ins]].concat();
        let to = [n, od, oh, ow, outputs];
        let x = floats(rng, case.input.iter().product());
        let data = floats(rng, of.iter().product());
        let b = floats(rng, outputs);
        let activation = activation(rng);
        let right: Vec<f64> = (0..to.iter().product())
            .map(|at: usize| {
                let p = position(at, &to);
                let group = p[4] / outs;
                let mut sum = f64::from(b[p[4]]);
                for tap in 0..case.window.kernel.iter().product() {
                    let t = position(tap, &case.window.kernel);
                    let mut cell = [p[0], 0, 0, 0, 0];
                    let inside = (0..3).all(|a| {
                        let to = p[1 + a] * case.window.stride[a] + t[a] * case.window.dilation[a];
                        let at = to.checked_sub(case.window.padding[a]);
                        cell[1 + a] = at.unwrap_or(0);
                        at.is_some_and(|at| at < case.input[1 + a])
                    });
                    for i in 0..if inside { ins } else { 0 } {
                        cell[4] = group * ins + i;
                        let x = f64::from(x[index(&cell, &case.input)]);
                        sum += x * f64::from(data[index(&[p[4], t[0], t[1], t[2], i], &of)]);
                    }
                }
                activated(sum, activation)
            })
            .collect();
        // images as images, volumes as volumes
        let flat = case.window.kernel[0] == 1 && d == 1 && rng.chance(2);
        let (from, to, of) = if flat && od == 1 {
            (
                vec![n, h, w, channels],
                vec![n, oh, ow, outputs],
                vec![outputs, of[2], of[3], ins],
            )
        } else {
            (case.input.to_vec(), to.to_vec(), of)
        };
        let op = if from.len() == 4 {
            let Window3 {
                kernel,
                stride,
                padding: [_, t, l, _, b, r],
                dilation,
            } = case.window;
            NodeOp::Conv {
                window: Window {
                    kernel: [kernel[1], kernel[2]],
                    stride: [stride[1], stride[2]],
                    padding: [t, l, b, r],
                    dilation: [dilation[1], dilation[2]],
                },
                groups,
            }
        } else {
            NodeOp::Conv3d {
                window: case.window,
                groups,
            }
        };
        let inputs = [spec(&from)];
        let node = NodeSpec {
            activation,
            weight: weight(&of, &data),
            bias: Some(&b),
            ..NodeSpec::new(op, &inputs, spec(&to))
        };
        hold(F32Conv::KERNEL, &node, &[bytes(&x)], &right, 1e-4, rng);
    }
}

#[test]
fn transposed_convolutions() {
    let rng = &mut Rng::new(13);
    for _ in 0..cases(1000) {
        let case = case(rng);
        let [n, .., channels] = case.input;
        let mut more = [0; 3];
        for (axis, more) in more.iter_mut().enumerate() {
            let most = case.window.stride[axis].max(case.window.dilation[axis]);
            *more = if case.input[1 + axis] > 1 {
                rng.below(0..most)
            } else {
                0
            };
        }
        let sizes = case.sizes(|axis| {
            let steps = (case.input[1 + axis] - 1) * case.window.stride[axis];
            (steps + case.reach(axis) + more[axis]).checked_sub(case.padding(axis))
        });
        let Some([od, oh, ow]) = sizes else { continue };
        let (outputs, groups) = (case.outputs, case.groups);
        let (ins, outs) = (channels / groups, outputs / groups);
        let of = [&[outputs], &case.window.kernel[..], &[ins]].concat();
        let to = [n, od, oh, ow, outputs];
        let x = floats(rng, case.input.iter().product());
        let data = floats(rng, of.iter().product());
        let mut right = vec![0.0; to.iter().product()];
        for (at, x) in x.iter().enumerate() {
            let p = position(at, &case.input);
            let (group, i) = (p[4] / ins, p[4] % ins);
            for tap in 0..case.window.kernel.iter().product() {
                let t = position(tap, &case.window.kernel);
                let mut cell = [p[0], 0, 0, 0, 0];
                let inside = (0..3).all(|a| {
                    let to = p[1 + a] * case.window.stride[a] + t[a] * case.window.dilation[a];
                    let at = to.checked_sub(case.window.padding[a]);
                    cell[1 + a] = at.unwrap_or(0);
                    at.is_some_and(|at| at < to_size(&[od, oh, ow], a))
                });
                for o in 0..if inside { outs } else { 0 } {
                    cell[4] = group * outs + o;
                    let w = data[index(&[cell[4], t[0], t[1], t[2], i], &of)];
                    right[index(&cell, &to)] += f64::from(*x) * f64::from(w);
                }
            }
        }
        let inputs = [spec(&case.input)];
        let node = NodeSpec {
            weight: weight(&of, &data),
            ..NodeSpec::new(
                NodeOp::ConvTranspose {
                    window: case.window,
                    output_padding: more,
                    groups,
                },
                &inputs,
                spec(&to),
            )
        };
        hold(
            F32ConvTranspose::KERNEL,
            &node,
            &[bytes(&x)],
            &right,
            1e-4,
            rng,
        );
    }
}

fn to_size(sizes: &[usize; 3], axis: usize) -> usize {
    sizes[axis]
}

#[test]
fn products_of_matrices() {
    let rng = &mut Rng::new(14);
    for case in 0..cases(1000) {
        let [m, k, n] = if case % 100 == 0 {
            [rng.below(1..9), rng.below(300..900), rng.below(100..200)]
        } else {
            [rng.below(1..20), rng.below(1..20), rng.below(1..40)]
        };
        let [mut a, mut b, mut batch] = broadcast_shapes(rng);
        if case % 100 == 0 || batch.iter().product::<usize>() > 40 {
            (a, b, batch) = (vec![], vec![], vec![]);
        }
        let transposed = rng.chance(2);
        a.extend([m, k]);
        b.extend(if transposed { [n, k] } else { [k, n] });
        let to = [batch.clone(), vec![m, n]].concat();
        let (x, y) = (
            floats(rng, a.iter().product()),
            floats(rng, b.iter().product()),
        );
        let matrix = |shape: &[usize], at: &[usize]| {
            let own = &shape[..shape.len() - 2];
            let behind = &at[at.len() - own.len()..];
            let at: Vec<usize> = behind.iter().zip(own).map(|(at, size)| at % size).collect();
            index(&at, own)
        };
        let right: Vec<f64> = (0..to.iter().product())
            .map(|at: usize| {
                let p = position(at, &to);
                let (batch, [row, column]) = (&p[..p.len() - 2], [p[p.len() - 2], p[p.len() - 1]]);
                let (a, b) = (matrix(&a, batch) * m * k, matrix(&b, batch) * k * n);
                let products = (0..k).map(|step| {
                    let w = if transposed {
                        column * k + step
                    } else {
                        step * n + column
                    };
                    f64::from(x[a + row * k + step]) * f64::from(y[b + w])
                });
                products.sum()
            })
            .collect();
        let inputs: [TensorSpec<'_>; 2] = [spec(&a), spec(&b)];
        let node = NodeSpec::new(NodeOp::MatMul { transposed }, &inputs, spec(&to));
        hold(
            F32MatMul::KERNEL,
            &node,
            &[bytes(&x), bytes(&y)],
            &right,
            2e-4,
            rng,
        );
    }
}
