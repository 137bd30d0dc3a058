//! Concatenating and stacking through the whole flow.

use std::slice;

use qconfig_core::kernel::Unary;
use qconfig_core::{DType, default_qconfig_mapping};
use qconfig_quantize::{Conv, Graph, GraphBuilder, ValueId};

use crate::flow::{check, flow, noise};

/// A graph of one input and one output.
fn graph(shape: &[usize], build: impl Fn(&mut GraphBuilder, ValueId) -> ValueId) -> Graph {
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", shape).unwrap();
    let out = build(&mut graph, x);
    graph.finish(&[out]).unwrap()
}

#[test]
fn along_every_axis_of_every_rank() {
    for shape in [
        &[6][..],
        &[3, 5],
        &[2, 3, 5],
        &[2, 3, 4, 5],
        &[2, 3, 2, 4, 3],
    ] {
        for axis in 0..=shape.len() {
            let stack = graph(shape, |graph, x| {
                let y = graph.unary("y", x, Unary::Hardswish).unwrap();
                graph.stack("stack", &[y, x, y], axis).unwrap()
            });
            check(&stack, shape, 1.0, 3);
            if axis < shape.len() {
                let cat = graph(shape, |graph, x| {
                    let y = graph.unary("y", x, Unary::Hardswish).unwrap();
                    graph.cat("cat", &[y, x, y], axis).unwrap()
                });
                check(&cat, shape, 1.0, 3);
            }
        }
    }
}

/// A fire module: two convolutions of one input, their channels behind each other.
#[test]
fn channels_of_two_convolutions() {
    let shape = [1, 8, 9, 7];
    let graph = graph(&shape, |graph, x| {
        let a = Conv::new(noise(&[20, 8, 1, 1], 1));
        let a = graph.conv("a", x, a).unwrap();
        let a = graph.relu("a.relu", a).unwrap();
        let b = Conv::new(noise(&[24, 8, 3, 3], 2)).padding(1);
        let b = graph.conv("b", x, b).unwrap();
        let b = graph.relu("b.relu", b).unwrap();
        let y = graph.cat("cat", &[a, b], 1).unwrap();
        graph
            .conv("c", y, Conv::new(noise(&[5, 44, 1, 1], 3)))
            .unwrap()
    });
    let mapping = default_qconfig_mapping("qnnpack").unwrap();
    let (_, lowered) = flow(&graph, &mapping, &[noise(&shape, 1)]);
    let steps = lowered.plan.steps();
    let cat = steps.iter().find(|step| step.name() == "cat").unwrap();
    let isa = qconfig_core::Isa::SCALAR;
    assert_eq!(lowered.plan.variant(cat, isa), "copy");
    check(&graph, &shape, 3.0, 5);
}

/// A sigmoid keeps its fixed parameters and imposes them on nobody: torch would cut the other operand to
/// 0..1, or fail an assertion.
#[test]
fn beside_a_sigmoid() {
    let shape = [1, 4, 5, 3];
    for first in [true, false] {
        let graph = graph(&shape, |graph, x| {
            let y = graph.unary("sigmoid", x, Unary::Sigmoid).unwrap();
            let both = if first { [y, x] } else { [x, y] };
            graph.cat("cat", &both, 1).unwrap()
        });
        check(&graph, &shape, 1.0, 3);
        let mapping = default_qconfig_mapping("qnnpack").unwrap();
        let sample = noise(&shape, 4);
        let (model, _) = flow(&graph, &mapping, slice::from_ref(&sample));
        let qparams = |at: usize| {
            let id = model.graph().nodes()[at].output;
            model.qparams(id, DType::quint8).unwrap()
        };
        assert_eq!((qparams(0).scale, qparams(0).zero_point), (1.0 / 256.0, 0));
        assert!(qparams(1).zero_point > 100, "negative values are kept");
        let float = &graph.run(slice::from_ref(&sample)).unwrap()[0];
        let found = &model.run(slice::from_ref(&sample)).unwrap()[0];
        for (x, y) in float.data().iter().zip(found.data()) {
            assert!((x - y).abs() < 0.02, "{x} became {y}");
        }
    }
}

#[test]
fn up_to_sixty_four_tensors() {
    let shape = [1, 3, 4, 2];
    let graph = graph(&shape, |graph, x| graph.cat("cat", &[x; 64], 1).unwrap());
    check(&graph, &shape, 1.0, 3);
}
