//! Operators that only move elements, through the whole flow, in every spelling.

use qconfig_backends::QNNPACK;
use qconfig_core::operator::{nn, operators, spellings_of};
use qconfig_core::{Operator, Spelled};
use qconfig_quantize::{Conv, GraphBuilder, Movement, Op, Tensor};

use crate::flow::{check, flow, noise};

const SHAPE: [usize; 4] = [2, 8, 6, 4];

fn movements() -> Vec<(&'static Operator, Movement)> {
    let narrow = |dim, start, length| Movement::Narrow { dim, start, length };
    let interleave = |dim, repeats| Movement::RepeatInterleave { dim, repeats };
    vec![
        (&operators::transpose, Movement::Permute(vec![0, 1, 3, 2])),
        (&operators::transpose, Movement::Permute(vec![0, 3, 2, 1])),
        (&operators::permute, Movement::Permute(vec![0, 2, 3, 1])),
        (&operators::permute, Movement::Permute(vec![3, 1, 0, 2])),
        (&operators::narrow, narrow(0, 1, 1)),
        (&operators::narrow, narrow(1, 3, 4)),
        (&operators::narrow, narrow(2, 2, 3)),
        (&operators::narrow, narrow(3, 0, 4)),
        (&operators::repeat, Movement::Repeat(vec![1, 2, 1, 3])),
        (&operators::repeat, Movement::Repeat(vec![2, 1, 1, 2, 1])),
        (&operators::repeat_interleave, interleave(Some(1), 2)),
        (&operators::repeat_interleave, interleave(Some(3), 3)),
        (&operators::repeat_interleave, interleave(None, 2)),
        (&operators::pixel_shuffle, Movement::PixelShuffle(2)),
        (&operators::pixel_unshuffle, Movement::PixelUnshuffle(2)),
    ]
}

#[test]
fn every_spelling_moves_the_same_elements() {
    for (operator, movement) in movements() {
        let spellings =
            spellings_of(operator).filter(|spelling| QNNPACK.find(&[spelling]).is_some());
        let mut count = 0;
        for spelling in spellings {
            let mut graph = GraphBuilder::new();
            let x = graph.input("x", &SHAPE).unwrap();
            let conv = Conv::new(noise(&[8, 8, 3, 3], 1)).padding(1);
            let x = graph.conv("conv", x, conv).unwrap();
            let op = Op::Movement(movement.clone());
            let y = graph.node("y", spelling, op, &[x]).unwrap();
            let graph = graph.finish(&[y]).unwrap();
            // the convolution itself may be a step off
            check(&graph, &SHAPE, 1.5, 3);
            count += 1;
        }
        assert!(count > 0, "{}", operator.name);
    }
}

#[test]
fn elements_go_where_pytorch_puts_them() {
    // what torch 2.8.0 answers for these; checked there once, small enough to read
    let counted = |shape: &[usize]| {
        let n = shape.iter().product::<usize>();
        Tensor::new(shape.to_vec(), (0..n).map(|i| i as f32).collect()).unwrap()
    };
    for (movement, shape, expected) in [
        (
            Movement::PixelShuffle(2),
            &[1, 4, 1, 2][..],
            &[0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0][..],
        ),
        (
            Movement::PixelUnshuffle(2),
            &[1, 1, 2, 4],
            &[0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0],
        ),
        (
            Movement::RepeatInterleave {
                dim: Some(1),
                repeats: 2,
            },
            &[1, 2],
            &[0.0, 0.0, 1.0, 1.0],
        ),
        (
            Movement::Repeat(vec![2, 2]),
            &[1, 2],
            &[0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0],
        ),
        (
            Movement::Permute(vec![1, 0]),
            &[2, 3],
            &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0],
        ),
        (
            Movement::Narrow {
                dim: 1,
                start: 1,
                length: 2,
            },
            &[2, 3],
            &[1.0, 2.0, 4.0, 5.0],
        ),
    ] {
        let mut graph = GraphBuilder::new();
        let x = graph.input("x", shape).unwrap();
        let op = Op::Movement(movement.clone());
        let y = graph.node("y", nn::Identity::SPELLING, op, &[x]).unwrap();
        let graph = graph.finish(&[y]).unwrap();
        let found = graph.run(&[counted(shape)]).unwrap();
        assert_eq!(found[0].data(), expected, "{movement:?}");
    }
}

#[test]
fn a_view_of_the_same_bytes_costs_nothing() {
    let narrow = |dim, start, length| Movement::Narrow { dim, start, length };
    for (movement, steps) in [
        // images of a batch lie behind each other, lines of one image too
        (narrow(0, 1, 1), 0),
        (narrow(1, 0, 8), 0),
        (narrow(1, 1, 4), 1),
        // channels last is how they are kept
        (Movement::Permute(vec![0, 2, 3, 1]), 0),
        (Movement::PixelShuffle(2), 1),
    ] {
        let mut graph = GraphBuilder::new();
        let x = graph.input("x", &SHAPE).unwrap();
        let x = graph
            .conv("conv", x, Conv::new(noise(&[8, 8, 1, 1], 1)))
            .unwrap();
        let op = Op::Movement(movement.clone());
        let spelling = match movement {
            Movement::PixelShuffle(_) => nn::PixelShuffle::SPELLING,
            Movement::Permute(_) => qconfig_core::operator::method::permute::SPELLING,
            _ => qconfig_core::operator::torch::narrow::SPELLING,
        };
        let mut y = graph.node("y", spelling, op, &[x]).unwrap();
        if matches!(movement, Movement::Narrow { .. }) {
            // read as it is written: channels last
            y = graph.relu("relu", y).unwrap();
        }
        let graph = graph.finish(&[y]).unwrap();
        let mapping = qconfig_core::default_qconfig_mapping("qnnpack").unwrap();
        let (_, lowered) = flow(&graph, &mapping, &[noise(&SHAPE, 1)]);
        let copies = lowered.plan.steps().iter();
        let copies = copies.filter(|step| step.kernel().name == "rearrange");
        assert_eq!(copies.count(), steps, "{movement:?}");
    }
}

#[test]
fn what_does_not_fit_says_so() {
    for (movement, message) in [
        (
            Movement::Permute(vec![0, 1, 2]),
            "does not name each dimension once",
        ),
        (
            Movement::Narrow {
                dim: 1,
                start: 5,
                length: 4,
            },
            "do not lie in a dimension of 8",
        ),
        (Movement::Repeat(vec![2]), "fewer numbers"),
        (Movement::PixelShuffle(3), "no multiple of 3 x 3"),
        (Movement::PixelUnshuffle(4), "no multiple of 4"),
    ] {
        let mut graph = GraphBuilder::new();
        let x = graph.input("x", &SHAPE).unwrap();
        let op = Op::Movement(movement);
        let error = graph
            .node("y", nn::Identity::SPELLING, op, &[x])
            .unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
}
