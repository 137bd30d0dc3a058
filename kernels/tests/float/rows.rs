//! Softmax, reductions and normalizations.

use qconfig_core::kernel::{KernelFamily, NodeOp, NodeSpec, Reduction, WeightSpec};
use qconfig_kernels::{F32Norm, F32Reduce, F32Softmax};

use crate::harness::{Rng, cases};
use crate::{activated, activation, bytes, floats, hold, index, position, shape, spec};

#[test]
fn softmax() {
    let rng = &mut Rng::new(31);
    for case in 0..cases(1000) {
        let shape = if case < 3 {
            vec![3, 5000]
        } else {
            shape(rng, 1..5)
        };
        let axis = rng.below(0..shape.len());
        let scale = rng.pick(&[1.0, 20.0]);
        let x: Vec<f32> = floats(rng, shape.iter().product())
            .iter()
            .map(|x| x * scale)
            .collect();
        let (len, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
        let line = |at: usize| {
            let first = at - at / inner % len * inner;
            (0..len).map(move |i| first + i * inner)
        };
        let right: Vec<f64> = (0..x.len())
            .map(|at| {
                let exponential = |x: f32| f64::from(x).exp();
                exponential(x[at]) / line(at).map(|i| exponential(x[i])).sum::<f64>()
            })
            .collect();
        let inputs = [spec(&shape)];
        let node = NodeSpec::new(NodeOp::Softmax { axis }, &inputs, spec(&shape));
        hold(F32Softmax::KERNEL, &node, &[bytes(&x)], &right, 2e-6, rng);
    }
}

#[test]
fn reductions() {
    let rng = &mut Rng::new(32);
    for _ in 0..cases(1500) {
        let shape = shape(rng, 1..6);
        let axes = rng.below(1..1 << shape.len()) as u32;
        let (op, name) = match rng.below(0..6) {
            0 => (NodeOp::Mean { axes }, None),
            1 if shape.len() > 2 => (NodeOp::GlobalAvgPool, None),
            n => {
                let all = [
                    Reduction::Sum,
                    Reduction::Prod,
                    Reduction::Min,
                    Reduction::Max,
                ];
                let reduction = all[n % 4];
                (NodeOp::Reduce { reduction, axes }, Some(reduction))
            }
        };
        let axes = match op {
            NodeOp::GlobalAvgPool => (1 << (shape.len() - 1)) - 2,
            _ => axes,
        };
        let ones: Vec<usize> = (0..shape.len())
            .map(|axis| {
                if axes >> axis & 1 == 1 {
                    1
                } else {
                    shape[axis]
                }
            })
            .collect();
        let x = floats(rng, shape.iter().product());
        let mut right: Vec<Option<f64>> = vec![None; ones.iter().product()];
        for (at, x) in x.iter().enumerate() {
            let p: Vec<usize> = position(at, &shape)
                .iter()
                .zip(&ones)
                .map(|(at, size)| at % size)
                .collect();
            let x = f64::from(*x);
            let to = &mut right[index(&p, &ones)];
            *to = Some(to.map_or(x, |a| match name {
                Some(Reduction::Prod) => a * x,
                Some(Reduction::Min) => a.min(x),
                Some(Reduction::Max) => a.max(x),
                _ => a + x,
            }));
        }
        let count = if name.is_none() {
            (x.len() / right.len()) as f64
        } else {
            1.0
        };
        let right: Vec<f64> = right.into_iter().map(|x| x.unwrap() / count).collect();
        let kept: Vec<usize> = (0..shape.len())
            .filter(|axis| axes >> axis & 1 == 0)
            .map(|axis| shape[axis])
            .collect();
        let to = match op {
            NodeOp::GlobalAvgPool => ones,
            _ if kept.is_empty() => vec![1],
            _ if rng.chance(2) => kept,
            _ => ones,
        };
        let inputs = [spec(&shape)];
        let node = NodeSpec::new(op, &inputs, spec(&to));
        hold(F32Reduce::KERNEL, &node, &[bytes(&x)], &right, 2e-7, rng);
    }
}

fn parameters<'a>(values: &'a [Vec<f32>]) -> Vec<WeightSpec<'a>> {
    values
        .iter()
        .map(|values| WeightSpec::float(values))
        .collect()
}

#[test]
fn normalizations() {
    let rng = &mut Rng::new(33);
    for case in 0..cases(1000) {
        let shape = shape(rng, if case % 3 == 0 { 2..5 } else { 1..5 });
        let rank = shape.len();
        let x = floats(rng, shape.iter().product());
        let activation = activation(rng);
        let eps = 1e-3;
        let channels = *shape.last().unwrap();
        let wide = |values: &[f32], at: usize| f64::from(values[at]);
        // the members of an element's group, and the feature that it is
        let (op, right, values): (_, Vec<f64>, Vec<Vec<f32>>) = match case % 3 {
            0 => {
                let groups = (1..=channels).filter(|g| channels.is_multiple_of(*g));
                let groups = rng.pick(&groups.collect::<Vec<_>>());
                let size = channels / groups;
                let values = vec![floats(rng, channels), floats(rng, channels)];
                let image: usize = shape[1..].iter().product();
                let right = (0..x.len()).map(|at| {
                    let (n, c) = (at / image, at % channels);
                    let members = (n * image..(n + 1) * image)
                        .filter(|i| i % channels / size == c / size)
                        .map(|i| f64::from(x[i]));
                    normal(f64::from(x[at]), members, eps) * wide(&values[0], c)
                        + wide(&values[1], c)
                });
                (NodeOp::GroupNorm { groups, eps }, right.collect(), values)
            }
            1 => {
                let axes = rng.below(1..rank + 1);
                let features: usize = shape[rank - axes..].iter().product();
                let values = match rng.chance(3) {
                    true => vec![],
                    false => vec![floats(rng, features), floats(rng, features)],
                };
                let right = (0..x.len()).map(|at| {
                    let row = &x[at / features * features..][..features];
                    let members = row.iter().map(|x| f64::from(*x));
                    let y = normal(f64::from(x[at]), members, eps);
                    match values.as_slice() {
                        [w, b] => y * wide(w, at % features) + wide(b, at % features),
                        _ => y,
                    }
                });
                let right = right.collect();
                (NodeOp::LayerNorm { axes, eps }, right, values)
            }
            _ => {
                let mut values: Vec<Vec<f32>> = (0..4).map(|_| floats(rng, channels)).collect();
                values[3].iter_mut().for_each(|v| *v = v.abs() + 0.1);
                let right = (0..x.len()).map(|at| {
                    let [w, b, m, v] = [0, 1, 2, 3].map(|i| wide(&values[i], at % channels));
                    (f64::from(x[at]) - m) / (v + f64::from(eps)).sqrt() * w + b
                });
                (NodeOp::BatchNorm { eps }, right.collect(), values)
            }
        };
        let right: Vec<f64> = right
            .into_iter()
            .map(|y| activated(y, activation))
            .collect();
        let (inputs, parameters) = ([spec(&shape)], parameters(&values));
        let node = NodeSpec {
            activation,
            parameters: &parameters,
            ..NodeSpec::new(op, &inputs, spec(&shape))
        };
        hold(F32Norm::KERNEL, &node, &[bytes(&x)], &right, 1e-5, rng);
    }
}

fn normal(x: f64, members: impl Iterator<Item = f64>, eps: f32) -> f64 {
    let members: Vec<f64> = members.collect();
    let count = members.len() as f64;
    let mean = members.iter().sum::<f64>() / count;
    let variance = members.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    (x - mean) / (variance + f64::from(eps)).sqrt()
}
