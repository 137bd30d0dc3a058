//! Interpolation: where torch finds its values, and through the whole flow.

use qconfig_core::Spelled;
use qconfig_core::kernel::InterpolationMode::{Linear, LinearAligned, Nearest};
use qconfig_core::operator::F;
use qconfig_quantize::{Conv, Graph, GraphBuilder, Interpolate, Op, Target, Tensor};

use crate::flow::{check, noise};

fn resize(shape: &[usize], op: Interpolate) -> Graph {
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", shape).unwrap();
    let y = graph
        .node("y", F::interpolate::SPELLING, Op::Interpolate(op), &[x])
        .unwrap();
    graph.finish(&[y]).unwrap()
}

/// Answers of torch 2.8.0's `interpolate` for 0, 1, 2, ...
#[test]
fn values_are_torchs() {
    let nearest = [
        0.0, 0.0, 1.0, 1.0, 2.0, 0.0, 0.0, 1.0, 1.0, 2.0, 3.0, 3.0, 4.0, 4.0, 5.0,
    ];
    let size = |size: &[usize]| Target::Size(size.to_vec());
    let factor = |factor: &[f64]| Target::Factor(factor.to_vec());
    for (mode, shape, target, expected) in [
        (Nearest, &[1, 1, 2, 3][..], size(&[3, 5]), &nearest[..]),
        (Nearest, &[1, 1, 2, 3], factor(&[1.7, 1.7]), &nearest),
        (
            Linear,
            &[1, 1, 2, 3],
            size(&[3, 4]),
            &[
                0.0, 0.625, 1.375, 2.0, 1.5, 2.125, 2.875, 3.5, 3.0, 3.625, 4.375, 5.0,
            ],
        ),
        (
            LinearAligned,
            &[1, 1, 2, 3],
            size(&[3, 5]),
            &[
                0.0, 0.5, 1.0, 1.5, 2.0, 1.5, 2.0, 2.5, 3.0, 3.5, 3.0, 3.5, 4.0, 4.5, 5.0,
            ],
        ),
        (
            Linear,
            &[1, 1, 2, 3],
            factor(&[1.7, 1.7]),
            &[
                0.0, 0.38235, 0.97059, 1.55882, 2.0, 1.14706, 1.52941, 2.11765, 2.70588, 3.14706,
                2.91177, 3.29412, 3.88235, 4.47059, 4.91176,
            ],
        ),
        (
            Linear,
            &[1, 1, 4],
            size(&[6]),
            &[0.0, 0.5, 1.16667, 1.83333, 2.5, 3.0],
        ),
        (
            Linear,
            &[1, 1, 2, 2, 2],
            size(&[3, 2, 3]),
            &[
                0.0, 0.5, 1.0, 2.0, 2.5, 3.0, 2.0, 2.5, 3.0, 4.0, 4.5, 5.0, 4.0, 4.5, 5.0, 6.0,
                6.5, 7.0,
            ],
        ),
    ] {
        let count = shape.iter().product::<usize>();
        let counted = (0..count).map(|i| i as f32).collect();
        let input = Tensor::new(shape.to_vec(), counted).unwrap();
        let op = Interpolate { mode, target };
        let found = resize(shape, op.clone()).run(&[input]).unwrap();
        assert_eq!(found[0].data().len(), expected.len(), "{op:?}");
        for (x, y) in found[0].data().iter().zip(expected) {
            assert!((x - y).abs() < 2e-5, "{op:?}: {x} is not {y}");
        }
    }
}

#[test]
fn every_mode_through_the_flow() {
    for mode in [Nearest, Linear, LinearAligned] {
        for target in [
            Target::Size(vec![9, 5]),
            Target::Size(vec![3, 11]),
            Target::Factor(vec![2.0, 2.0]),
        ] {
            let shape = [2, 6, 5, 7];
            let mut graph = GraphBuilder::new();
            let x = graph.input("x", &shape).unwrap();
            let conv = Conv::new(noise(&[6, 6, 3, 3], 1)).padding(1);
            let x = graph.conv("conv", x, conv).unwrap();
            let op = Op::Interpolate(Interpolate { mode, target });
            let y = graph.node("y", F::interpolate::SPELLING, op, &[x]).unwrap();
            let graph = graph.finish(&[y]).unwrap();
            // a step of the convolution's, and half a step of rounding
            check(&graph, &shape, 2.0, 7);
        }
    }
}
