//! Products of two activations through the whole flow.

use qconfig_backends::QNNPACK;
use qconfig_core::operator::torch;
use qconfig_core::{DType, Spelled};
use qconfig_quantize::{
    Graph, GraphBuilder, GraphError, Movement, Op, Tensor, ValueId, calibrate, convert, lower,
    prepare,
};

use crate::flow::{answers, mappings, noise};

/// The plan of a graph of two inputs against the reference model, and the kernels of its steps.
fn check_two(graph: &Graph, shapes: [&[usize]; 2], kernels: &[&str]) {
    let pair = |seed| [noise(shapes[0], seed), noise(shapes[1], seed + 1)];
    let samples: Vec<[Tensor; 2]> = (0..4).map(|at| pair(2 * at + 1)).collect();
    for mapping in mappings() {
        let prepared = prepare(graph, &QNNPACK, &mapping).unwrap();
        let all = samples.iter().map(<[Tensor; 2]>::as_slice);
        let model = convert(&calibrate(&prepared, all, |_| {}).unwrap()).unwrap();
        let lowered = lower(&model).unwrap();
        let steps = lowered.plan.steps().iter();
        let found: Vec<&str> = steps.map(|step| step.kernel().name).collect();
        assert_eq!(found, kernels, "{shapes:?}");
        let expected = model.run(&samples[1]).unwrap();
        let lengths: Vec<usize> = expected.iter().map(|y| y.data().len()).collect();
        let found = answers(&lowered, &samples[1], &lengths);
        for (output, (expected, found)) in model
            .graph()
            .outputs()
            .iter()
            .zip(expected.iter().zip(&found))
        {
            let scale = [DType::quint8, DType::qint8]
                .iter()
                .find_map(|dtype| model.qparams(*output, *dtype))
                .unwrap()
                .scale;
            for (at, (x, y)) in expected.data().iter().zip(found).enumerate() {
                let is_near = (x - y).abs() <= 1.001 * scale;
                assert!(is_near, "element {at}: reference {x}, plan {y}");
            }
        }
    }
}

fn product(a: &[usize], b: &[usize]) -> Result<(GraphBuilder, ValueId), GraphError> {
    let mut graph = GraphBuilder::new();
    let (left, right) = (graph.input("a", a)?, graph.input("b", b)?);
    let y = graph.matmul("y", left, right)?;
    Ok((graph, y))
}

#[test]
fn shapes_are_those_of_torch() {
    for (a, b, expected) in [
        (&[3, 4][..], &[4, 5][..], &[3, 5][..]),
        (&[2, 3, 4], &[2, 4, 5], &[2, 3, 5]),
        (&[2, 1, 3, 4], &[6, 4, 5], &[2, 6, 3, 5]),
        (&[2, 3, 4], &[4, 5], &[2, 3, 5]),
        (&[4], &[4, 5], &[5]),
        (&[2, 3, 4], &[4], &[2, 3]),
        (&[4], &[4], &[1]),
    ] {
        let (graph, y) = product(a, b).unwrap();
        let graph = graph.finish(&[y]).unwrap();
        assert_eq!(graph.value(y).shape, expected, "{a:?} by {b:?}");
        let kernels = ["quantize", "quantize", "q8_matmul", "dequantize"];
        check_two(&graph, [a, b], &kernels);
    }
    for (a, b) in [
        (&[2, 3, 4][..], &[2, 3, 4][..]),
        (&[2, 3, 4], &[5, 4, 3]),
        (&[3], &[4]),
    ] {
        assert!(product(a, b).is_err(), "{a:?} by {b:?}");
    }
}

/// Scores of an attention: the transposed keys are no step of their own, as the kernel takes them as they
/// lie, unless something else reads them.
#[test]
fn a_transposed_right_operand_is_read_as_it_lies() {
    let shape = [2, 3, 10, 8];
    let scores = |is_output: bool, order: &[usize]| {
        let mut graph = GraphBuilder::new();
        let (q, k) = (
            graph.input("q", &shape).unwrap(),
            graph.input("k", &shape).unwrap(),
        );
        let op = Op::Movement(Movement::Permute(order.to_vec()));
        let t = graph
            .node("t", torch::transpose::SPELLING, op, &[k])
            .unwrap();
        let y = graph.matmul("y", q, t).unwrap();
        let outputs = if is_output { vec![y, t] } else { vec![y] };
        graph.finish(&outputs).unwrap()
    };
    let swap = [0, 1, 3, 2];
    let direct = ["quantize", "quantize", "q8_matmul", "dequantize"];
    check_two(&scores(false, &swap), [&shape; 2], &direct);
    let copied = [
        "quantize",
        "to_channels_last",
        "rearrange",
        "quantize",
        "q8_matmul",
        "dequantize",
        "dequantize",
    ];
    check_two(&scores(true, &swap), [&shape; 2], &copied);
}
