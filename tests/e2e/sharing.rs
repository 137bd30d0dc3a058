//! Operators that share observers: the parameters of every value are torch's.

use qconfig_backends::QNNPACK;
use qconfig_core::kernel::{QParams, Unary};
use qconfig_core::operator::{F, operator, torch};
use qconfig_core::{DType, Spelled, default_qconfig_mapping};
use qconfig_quantize::{
    Graph, GraphBuilder, Op, Tensor, ValueId, calibrate, convert, fuse, prepare,
};
use qconfig_tests::golden::Archive;

const SHAPE: [usize; 4] = [1, 3, 4, 5];

/// A graph of two inputs; nodes are named as torch names them.
fn graph(build: impl Fn(&mut GraphBuilder, ValueId, ValueId) -> ValueId) -> Graph {
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", &SHAPE).unwrap();
    let y = graph.input("y", &SHAPE).unwrap();
    let out = build(&mut graph, x, y);
    graph.finish(&[out]).unwrap()
}

/// Holds the parameters of every value that torch observes against those found here.
fn equals_torch(name: &str, graph: &Graph) {
    let archive = Archive::open("sharing.npz");
    let values = |name: &str| archive.array(name).f32().to_vec();
    let (x, y) = (values("x"), values("y"));
    let samples: Vec<[Tensor; 2]> = x
        .chunks(60)
        .zip(y.chunks(60))
        .map(|pair| {
            [pair.0, pair.1].map(|data| Tensor::new(SHAPE.to_vec(), data.to_vec()).unwrap())
        })
        .collect();
    let mapping = default_qconfig_mapping("qnnpack").unwrap();
    let prepared = prepare(&fuse(graph, &QNNPACK), &QNNPACK, &mapping).unwrap();
    let calibrated = calibrate(&prepared, samples.iter().map(|pair| &pair[..]), |_| {}).unwrap();
    let model = convert(&calibrated).unwrap();
    let torch = archive.meta["networks"][name].as_object().unwrap();
    let nodes = model.graph().nodes().iter().map(|node| node.output);
    let values: Vec<ValueId> = model
        .graph()
        .inputs()
        .iter()
        .copied()
        .chain(nodes)
        .collect();
    assert_eq!(torch.len(), values.len());
    for id in values {
        let value = &model.graph().value(id).name;
        // torch works the parameters of a sum with a number out when it runs
        if value == "add" {
            continue;
        }
        let expected = QParams {
            scale: torch[value][0].as_f64().unwrap() as f32,
            zero_point: torch[value][1].as_i64().unwrap() as i32,
        };
        assert_eq!(model.qparams(id, DType::quint8), Some(expected), "{value}");
    }
}

fn hardswish(graph: &mut GraphBuilder, name: &str, x: ValueId) -> ValueId {
    let op = Op::Unary(Unary::Hardswish);
    graph.node(name, F::hardswish::SPELLING, op, &[x]).unwrap()
}

fn leaky_relu(graph: &mut GraphBuilder, x: ValueId) -> ValueId {
    let op = Op::Unary(Unary::LeakyRelu {
        negative_slope: 0.1,
    });
    let spelling = F::leaky_relu::SPELLING;
    graph.node("leaky_relu", spelling, op, &[x]).unwrap()
}

#[test]
fn what_is_concatenated_has_the_firsts_parameters() {
    let graph = graph(|graph, x, y| {
        let a = hardswish(graph, "hardswish", x);
        let b = graph
            .node("relu", torch::relu::SPELLING, Op::Relu, &[y])
            .unwrap();
        graph.cat("cat", &[a, y, b], 1).unwrap()
    });
    equals_torch("cat_of_two", &graph);
}

#[test]
fn a_concatenation_inside_a_stack() {
    let graph = graph(|graph, x, y| {
        let (a, b) = (hardswish(graph, "hardswish", x), leaky_relu(graph, y));
        let a = graph.cat("cat", &[a, b], 2).unwrap();
        let six = Op::Clamp {
            low: 0.0,
            high: 6.0,
        };
        let b = graph.node("relu6", F::relu6::SPELLING, six, &[a]).unwrap();
        let c = hardswish(graph, "hardswish_1", a);
        graph.stack("stack", &[b, c], 0).unwrap()
    });
    equals_torch("cat_then_stack", &graph);
}

#[test]
fn a_sum_with_a_number_is_watched_together_with_its_input() {
    let graph = graph(|graph, x, y| {
        let a = hardswish(graph, "hardswish", x);
        let op = Op::Unary(Unary::AddScalar { other: 0.75 });
        let a = graph
            .node("add", operator::add::SPELLING, op, &[a])
            .unwrap();
        let a = leaky_relu(graph, a);
        graph
            .node("mul", operator::mul::SPELLING, Op::Mul, &[a, y])
            .unwrap()
    });
    equals_torch("sum_with_a_number", &graph);
}
