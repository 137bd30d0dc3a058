//! What only moves elements, and integers that become floats or rows.

use qconfig_core::DType;
use qconfig_core::kernel::{
    BagMode, KernelFamily, NodeOp, NodeSpec, Padding, Strides, TensorSpec, WeightSpec,
};
use qconfig_kernels::{
    F32Cat, F32Embedding, F32Pad, F32Select, F32Where, FLOAT, ToFloat, float, glue, padded_position,
};

use crate::harness::{Rng, broadcast_shapes, cases, tensor};
use crate::{bytes, floats, hold, index, position, shape, spec};

#[test]
fn concatenation() {
    let rng = &mut Rng::new(51);
    for _ in 0..cases(500) {
        let mut first = shape(rng, 1..5);
        let axis = rng.below(0..first.len());
        let count = rng.below(1..6);
        let mut shapes = Vec::new();
        for _ in 0..count {
            first[axis] = rng.below(1..9);
            shapes.push(first.clone());
        }
        let mut to = first;
        to[axis] = shapes.iter().map(|shape| shape[axis]).sum();
        let data: Vec<Vec<f32>> = shapes
            .iter()
            .map(|shape| floats(rng, shape.iter().product()))
            .collect();
        let right: Vec<f64> = (0..to.iter().product())
            .map(|at| {
                let mut p = position(at, &to);
                let mut which = 0;
                while p[axis] >= shapes[which][axis] {
                    p[axis] -= shapes[which][axis];
                    which += 1;
                }
                f64::from(data[which][index(&p, &shapes[which])])
            })
            .collect();
        let inputs: Vec<TensorSpec<'_>> = shapes.iter().map(|shape| spec(shape)).collect();
        let node = NodeSpec::new(NodeOp::Cat { axis }, &inputs, spec(&to));
        let data: Vec<Vec<u8>> = data.iter().map(|values| bytes(values)).collect();
        hold(F32Cat::KERNEL, &node, &data, &right, 0.0, rng);
    }
}

#[test]
fn padding() {
    let rng = &mut Rng::new(52);
    for _ in 0..cases(800) {
        let shape = shape(rng, 1..6);
        let padding = rng.pick(&[
            Padding::Constant(0.5),
            Padding::Reflect,
            Padding::Edge,
            Padding::Wrap,
        ]);
        let (mut before, mut to) = ([0; Strides::RANK], shape.clone());
        for (axis, size) in shape.iter().enumerate() {
            let most = match padding {
                Padding::Reflect => size - 1,
                Padding::Wrap => *size,
                _ => 4,
            };
            before[axis] = rng.below(0..most.min(4) + 1);
            to[axis] += before[axis] + rng.below(0..most.min(4) + 1);
        }
        let x = floats(rng, shape.iter().product());
        let right: Vec<f64> = (0..to.iter().product())
            .map(|at| {
                let p = position(at, &to);
                let from: Option<Vec<usize>> = (0..shape.len())
                    .map(|axis| padded_position(padding, p[axis], before[axis], shape[axis]))
                    .collect();
                from.map_or(0.5, |from| f64::from(x[index(&from, &shape)]))
            })
            .collect();
        let inputs = [spec(&shape)];
        let node = NodeSpec::new(NodeOp::Pad { padding, before }, &inputs, spec(&to));
        hold(F32Pad::KERNEL, &node, &[bytes(&x)], &right, 0.0, rng);
    }
}

#[test]
fn positions() {
    let rng = &mut Rng::new(53);
    for _ in 0..cases(500) {
        let shape = shape(rng, 1..5);
        let axis = rng.below(0..shape.len());
        let indices: Vec<usize> = (0..rng.below(1..9))
            .map(|_| rng.below(0..shape[axis]))
            .collect();
        let numbers: Vec<f32> = indices.iter().map(|at| *at as f32).collect();
        let mut to = shape.clone();
        to[axis] = indices.len();
        let x = floats(rng, shape.iter().product());
        let right: Vec<f64> = (0..to.iter().product())
            .map(|at| {
                let mut p = position(at, &to);
                p[axis] = indices[p[axis]];
                f64::from(x[index(&p, &shape)])
            })
            .collect();
        let (inputs, parameters) = ([spec(&shape)], [WeightSpec::float(&numbers)]);
        let node = NodeSpec {
            parameters: &parameters,
            ..NodeSpec::new(NodeOp::Select { axis }, &inputs, spec(&to))
        };
        hold(F32Select::KERNEL, &node, &[bytes(&x)], &right, 0.0, rng);
    }
}

fn integers(rng: &mut Rng, count: usize, below: usize, dtype: DType) -> (Vec<usize>, Vec<u8>) {
    let values: Vec<usize> = (0..count).map(|_| rng.below(0..below)).collect();
    let bytes = values.iter().flat_map(|at| match dtype {
        DType::int32 => (*at as i32).to_ne_bytes().to_vec(),
        _ => (*at as i64).to_ne_bytes().to_vec(),
    });
    let bytes = bytes.collect();
    (values, bytes)
}

#[test]
fn integers_become_floats() {
    let rng = &mut Rng::new(54);
    for _ in 0..cases(300) {
        let shape = shape(rng, 1..4);
        let dtype = rng.pick(&[DType::int32, DType::int64]);
        let (values, data) = integers(rng, shape.iter().product(), 1 << 30, dtype);
        let right: Vec<f64> = values.iter().map(|x| *x as f64).collect();
        let inputs = [tensor(dtype, &shape, None)];
        let node = NodeSpec::new(NodeOp::ToFloat, &inputs, spec(&shape));
        hold(ToFloat::KERNEL, &node, &[data], &right, 1e-7, rng);
    }
}

#[test]
fn rows_of_a_table() {
    let rng = &mut Rng::new(55);
    for case in 0..cases(600) {
        let (rows, columns) = (rng.below(1..20), rng.below(1..70));
        let table = floats(rng, rows * columns);
        let dtype = rng.pick(&[DType::int32, DType::int64]);
        let list = [rng.below(1..6), rng.below(1..6)];
        let (indices, data) = integers(rng, list[0] * list[1], rows, dtype);
        let mode = rng.pick(&[BagMode::Sum, BagMode::Mean, BagMode::Max]);
        let is_bag = case % 2 == 1;
        let row = |at: usize| {
            table[indices[at] * columns..][..columns]
                .iter()
                .map(|x| f64::from(*x))
        };
        let right: Vec<f64> = if is_bag {
            let bags = (0..list[0]).flat_map(|bag| {
                let mut out: Option<Vec<f64>> = None;
                for at in bag * list[1]..(bag + 1) * list[1] {
                    out = Some(match out {
                        None => row(at).collect(),
                        Some(sum) if mode == BagMode::Max => {
                            sum.iter().zip(row(at)).map(|(a, x)| a.max(x)).collect()
                        }
                        Some(sum) => sum.iter().zip(row(at)).map(|(a, x)| a + x).collect(),
                    });
                }
                let count = if mode == BagMode::Mean {
                    list[1] as f64
                } else {
                    1.0
                };
                out.unwrap().into_iter().map(move |x| x / count)
            });
            bags.collect()
        } else {
            (0..indices.len()).flat_map(row).collect()
        };
        let op = match is_bag {
            true => NodeOp::EmbeddingBag {
                mode,
                include_last_offset: false,
                padding_idx: None,
            },
            false => NodeOp::Embedding,
        };
        let to = match is_bag {
            true => vec![list[0], columns],
            false => vec![list[0], list[1], columns],
        };
        let (inputs, of) = ([tensor(dtype, &list, None)], [rows, columns]);
        let node = NodeSpec {
            weight: Some(WeightSpec {
                shape: &of,
                ..WeightSpec::float(&table)
            }),
            ..NodeSpec::new(op, &inputs, spec(&to))
        };
        hold(F32Embedding::KERNEL, &node, &[data], &right, 1e-6, rng);
    }
}

#[test]
fn one_of_two() {
    let rng = &mut Rng::new(56);
    for _ in 0..cases(800) {
        let [mut a, b, to] = broadcast_shapes(rng);
        let c = match rng.chance(2) {
            true => to.clone(),
            false => vec![1],
        };
        if a.len() > to.len() {
            a = vec![1];
        }
        let mut x = floats(rng, a.iter().product());
        x.iter_mut().for_each(|x| *x = f32::from(*x > 0.0));
        let (y, z) = (
            floats(rng, b.iter().product()),
            floats(rng, c.iter().product()),
        );
        let value = |values: &[f32], shape: &[usize], p: &[usize]| {
            let own = &p[p.len() - shape.len()..];
            let at: Vec<usize> = own.iter().zip(shape).map(|(at, size)| at % size).collect();
            f64::from(values[index(&at, shape)])
        };
        let right: Vec<f64> = (0..to.iter().product())
            .map(|at| {
                let p = position(at, &to);
                match value(&x, &a, &p) {
                    0.0 => value(&z, &c, &p),
                    _ => value(&y, &b, &p),
                }
            })
            .collect();
        let inputs = [spec(&a), spec(&b), spec(&c)];
        let node = NodeSpec::new(NodeOp::Where, &inputs, spec(&to));
        hold(
            F32Where::KERNEL,
            &node,
            &[bytes(&x), bytes(&y), bytes(&z)],
            &right,
            0.0,
            rng,
        );
    }
}

#[test]
fn every_kernel_has_a_name_of_its_own_and_is_found_by_it() {
    for (at, kernel) in FLOAT.iter().enumerate() {
        assert!(FLOAT[..at].iter().all(|other| other.name != kernel.name));
        assert_eq!(glue(kernel.name).map(|found| found.name), Some(kernel.name));
    }
    assert!(float(&NodeOp::Quantize).is_none());
}
