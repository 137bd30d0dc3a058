//! Element-wise operators through the whole flow, in every spelling.

use std::slice;

use qconfig::backend_config;
use qconfig_backends::QNNPACK;
use qconfig_core::kernel::Unary;
use qconfig_core::operator::spellings_of;
use qconfig_core::operator::{F, method, nn, operator, operators, torch};
use qconfig_core::{
    DType, Operator, Pattern, QConfig, QConfigMapping, Spelled, Spelling, default_qconfig_mapping,
    qconfig_mapping_with,
};
use qconfig_quantize::{
    Conv, ConvertError, Graph, GraphBuilder, Op, calibrate, convert, fuse, prepare,
};

use crate::flow::{check, check_with, flow, noise};

/// The spellings of an operator that are patterns of QNNPACK by themselves.
fn spellings(operator: &'static Operator) -> Vec<&'static Spelling> {
    let found: Vec<_> = spellings_of(operator)
        .filter(|spelling| QNNPACK.find(&[spelling]).is_some())
        .collect();
    assert!(!found.is_empty(), "{}", operator.name);
    found
}

/// Every mapping under which every function is quantized: the default ones, where fixed parameters make
/// `quint8` of sigmoids, and `qint8` everywhere.
fn mappings() -> [QConfigMapping; 3] {
    let symmetric = QConfig::DEFAULT_PER_CHANNEL_SYMMETRIC_QNNPACK;
    [
        default_qconfig_mapping("qnnpack").unwrap(),
        qconfig_mapping_with("qnnpack", symmetric).unwrap(),
        QConfigMapping::new().global(Some(symmetric)),
    ]
}

fn kernels(graph: &Graph, mapping: &QConfigMapping, shape: &[usize]) -> Vec<&'static str> {
    let (_, lowered) = flow(graph, mapping, &[noise(shape, 1)]);
    let steps = lowered.plan.steps().iter();
    steps.map(|step| step.kernel().name).collect()
}

#[test]
fn functions_of_one_value_in_every_spelling() {
    let shape = [2, 3, 4, 5];
    for (operator, function) in [
        (&operators::hardswish, Unary::Hardswish),
        (&operators::hardsigmoid, Unary::Hardsigmoid),
        (&operators::sigmoid, Unary::Sigmoid),
        (&operators::tanh, Unary::Tanh),
        (&operators::elu, Unary::Elu { alpha: 0.7 }),
        (
            &operators::leaky_relu,
            Unary::LeakyRelu {
                negative_slope: 0.2,
            },
        ),
        (&operators::floordiv, Unary::FloorDivide { divisor: 0.3 }),
    ] {
        for spelling in spellings(operator) {
            let mut graph = GraphBuilder::new();
            let x = graph.input("x", &shape).unwrap();
            let y = graph
                .node("y", spelling, Op::Unary(function), &[x])
                .unwrap();
            let graph = graph.finish(&[y]).unwrap();
            for mapping in mappings() {
                assert!(kernels(&graph, &mapping, &shape).contains(&"q8_lut"));
                check_with(&graph, &mapping, &shape, 1.0, 7);
            }
        }
    }
}

#[test]
fn softmax_along_every_axis() {
    for shape in [&[7][..], &[3, 9], &[2, 5, 6], &[2, 3, 4, 5]] {
        for axis in 0..shape.len() {
            let mut graph = GraphBuilder::new();
            let x = graph.input("x", shape).unwrap();
            let y = graph.softmax("y", x, axis).unwrap();
            let graph = graph.finish(&[y]).unwrap();
            for mapping in mappings() {
                assert!(kernels(&graph, &mapping, shape).contains(&"q8_softmax"));
                check_with(&graph, &mapping, shape, 1.0, 7);
            }
        }
    }
}

#[test]
fn prelu_with_one_slope_and_with_one_a_channel() {
    for shape in [
        &[5][..],
        &[3, 9],
        &[2, 5, 6],
        &[2, 5, 4, 3],
        &[2, 4, 3, 3, 2],
    ] {
        let channels = shape.get(1).copied().unwrap_or(1);
        for count in [1, channels] {
            let mut graph = GraphBuilder::new();
            let x = graph.input("x", shape).unwrap();
            let y = graph.prelu("y", x, noise(&[count], 5).data()).unwrap();
            let graph = graph.finish(&[y]).unwrap();
            for mapping in mappings() {
                assert!(kernels(&graph, &mapping, shape).contains(&"q8_prelu"));
                check_with(&graph, &mapping, shape, 1.0, 7);
            }
        }
    }
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", &[2, 3, 4]).unwrap();
    for slopes in [&[][..], &[0.1, 0.2], &[0.1, f32::NAN, 0.3]] {
        assert!(graph.prelu("y", x, slopes).is_err(), "{slopes:?}");
    }
}

/// torch gives the input of a sigmoid that nothing else observes the sigmoid's own parameters, 1/256 and
/// 0, so that negative values become 0.
#[test]
fn the_input_of_a_sigmoid_keeps_its_range() {
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", &[1, 64]).unwrap();
    let y = graph.unary("y", x, Unary::Sigmoid).unwrap();
    let graph = graph.finish(&[y]).unwrap();
    let mut sample = noise(&[1, 64], 3);
    sample.data_mut().iter_mut().for_each(|x| *x *= 6.0);
    let mapping = default_qconfig_mapping("qnnpack").unwrap();
    let (model, _) = flow(&graph, &mapping, slice::from_ref(&sample));
    let fixed = model.qparams(y, DType::quint8).unwrap();
    assert_eq!((fixed.scale, fixed.zero_point), (1.0 / 256.0, 0));
    let found = &model.run(slice::from_ref(&sample)).unwrap()[0];
    let float = &graph.run(slice::from_ref(&sample)).unwrap()[0];
    for (x, y) in float.data().iter().zip(found.data()) {
        assert!((x - y).abs() < 0.02, "{x} became {y}");
    }
}

backend_config! {
    /// A sigmoid that contradicts itself: its output has the input's parameters, and fixed ones.
    backend CONTRARY = "contrary";
    config plain { input: quint8, output: quint8 }
    pattern nn::Sigmoid: plain {
        observe: shared;
        fix quint8 { quant in 0..=255, scale == 1/256, zero_point == 0 }
        kernel => qconfig::kernels::Q8Lut;
    }
}

#[test]
fn parameters_that_are_not_the_fixed_ones_are_an_error() {
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", &[1, 8]).unwrap();
    let y = graph.unary("y", x, Unary::Sigmoid).unwrap();
    let graph = graph.finish(&[y]).unwrap();
    let mapping = default_qconfig_mapping("qnnpack").unwrap();
    let prepared = prepare(&fuse(&graph, &CONTRARY), &CONTRARY, &mapping).unwrap();
    let sample = noise(&[1, 8], 1);
    let calibrated = calibrate(&prepared, [slice::from_ref(&sample)], |_| {}).unwrap();
    let error = convert(&calibrated).unwrap_err();
    let ConvertError::Fixed { value, file, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(value, "y");
    assert!(file.ends_with("elementwise.rs"), "{file}");
}

/// A relu in each spelling that may follow an addition or a multiplication, or none.
fn relus() -> [Option<&'static Spelling>; 4] {
    [
        None,
        Some(nn::ReLU::SPELLING),
        Some(F::relu::SPELLING),
        Some(torch::relu::SPELLING),
    ]
}

/// A tensor and a number, and a relu behind, in every spelling: the output has the parameters that torch
/// works out.
#[test]
fn numbers_are_added_and_multiplied_in_every_spelling() {
    let shape = [1, 4, 5, 3];
    for (kernel, spelling) in [
        ("q8_add", operator::add::SPELLING),
        ("q8_add", torch::add::SPELLING),
        ("q8_mul", operator::mul::SPELLING),
        ("q8_mul", torch::mul::SPELLING),
    ] {
        for relu in relus() {
            for other in [0.7, -0.25, 9.0, -40.0, 0.0, 1e-9] {
                let function = match kernel {
                    "q8_add" => Unary::AddScalar { other },
                    _ => Unary::MulScalar { other },
                };
                let mut graph = GraphBuilder::new();
                let x = graph.input("x", &shape).unwrap();
                let mut y = graph
                    .node("y", spelling, Op::Unary(function), &[x])
                    .unwrap();
                if let Some(relu) = relu {
                    y = graph.node("relu", relu, Op::Relu, &[y]).unwrap();
                }
                let graph = graph.finish(&[y]).unwrap();
                for mapping in mappings() {
                    let (model, _) = flow(&graph, &mapping, &[noise(&shape, 1)]);
                    assert_eq!(model.graph().nodes().len(), 1, "one pattern");
                    assert!(kernels(&graph, &mapping, &shape).contains(&kernel));
                    check_with(&graph, &mapping, &shape, 1.0, 11);
                }
            }
        }
    }
}

/// `a + b` and `a * b` with a relu behind, in every spelling, of shapes that broadcast in every way.
#[test]
fn two_tensors_in_every_spelling() {
    let shape = [2, 6, 4, 5];
    for (kernel, spelling) in [
        ("q8_add", operator::add::SPELLING),
        ("q8_add", torch::add::SPELLING),
        ("q8_mul", operator::mul::SPELLING),
        ("q8_mul", torch::mul::SPELLING),
    ] {
        for relu in relus() {
            let mut graph = GraphBuilder::new();
            let x = graph.input("x", &shape).unwrap();
            let y = graph.unary("f", x, Unary::Hardswish).unwrap();
            let op = if kernel == "q8_add" { Op::Add } else { Op::Mul };
            let mut y = graph.node("y", spelling, op, &[x, y]).unwrap();
            if let Some(relu) = relu {
                y = graph.node("relu", relu, Op::Relu, &[y]).unwrap();
            }
            let graph = graph.finish(&[y]).unwrap();
            for mapping in mappings() {
                let (model, _) = flow(&graph, &mapping, &[noise(&shape, 1)]);
                assert_eq!(model.graph().nodes().len(), 2, "one pattern");
                assert!(kernels(&graph, &mapping, &shape).contains(&kernel));
                check_with(&graph, &mapping, &shape, 2.0, 13);
            }
        }
    }
}

#[test]
fn operands_broadcast_as_numpys_do() {
    for (a, b) in [
        (&[2, 6, 4, 5][..], &[2, 6, 1, 1][..]),
        (&[2, 6, 1, 1], &[2, 6, 4, 5]),
        (&[2, 6, 4, 5], &[6, 1, 1]),
        (&[2, 6, 4, 5], &[6, 4, 5]),
        (&[2, 6, 4, 5], &[4, 5]),
        (&[2, 6, 4, 5], &[5]),
        (&[2, 6, 4, 5], &[1]),
        (&[6, 4, 5], &[2, 1, 1, 5]),
        (&[3, 7], &[7]),
        (&[3, 1], &[1, 7]),
        (&[2, 3, 7], &[3, 1]),
        (&[2, 6, 4, 5, 3], &[6, 1, 1, 1]),
    ] {
        for op in [Op::Add, Op::Mul] {
            let spelling = match op {
                Op::Add => torch::add::SPELLING,
                _ => torch::mul::SPELLING,
            };
            let count = |shape: &[usize]| shape.iter().product::<usize>();
            // both operands from one input, as slices of a product
            let mut graph = GraphBuilder::new();
            let x = graph.input("x", &[1, 8]).unwrap();
            let mut operand = |name: &str, shape: &[usize], seed| {
                let n = count(shape);
                let y = graph
                    .linear(&format!("{name}.fc"), x, noise(&[n, 8], seed), None)
                    .unwrap();
                let op = Op::Reshape(shape.to_vec());
                graph
                    .node(name, method::reshape::SPELLING, op, &[y])
                    .unwrap()
            };
            let (first, second) = (operand("a", a, 1), operand("b", b, 2));
            let y = graph.node("y", spelling, op, &[first, second]).unwrap();
            let graph = graph.finish(&[y]).unwrap();
            // the operands themselves are a step off
            check(&graph, &[1, 8], 3.0, 3);
        }
    }
}

/// Squeeze and excitation: a gate for each channel, made from their means.
#[test]
fn a_gate_for_each_channel() {
    let shape = [2, 12, 9, 7];
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", &shape).unwrap();
    let conv = Conv::new(noise(&[12, 12, 3, 3], 1)).padding(1);
    let x = graph.conv("conv", x, conv).unwrap();
    let x = graph.unary("act", x, Unary::Hardswish).unwrap();
    let y = graph.global_avg_pool("pool", x).unwrap();
    let y = graph
        .conv("down", y, Conv::new(noise(&[4, 12, 1, 1], 2)))
        .unwrap();
    let y = graph.relu("relu", y).unwrap();
    let y = graph
        .conv("up", y, Conv::new(noise(&[12, 4, 1, 1], 3)))
        .unwrap();
    let y = graph.unary("gate", y, Unary::Hardsigmoid).unwrap();
    let y = graph.mul("scale", x, y).unwrap();
    let graph = graph.finish(&[y]).unwrap();
    check(&graph, &shape, 8.0, 5);
}

#[test]
fn a_network_with_activations_of_every_kind() {
    let shape = [1, 6, 7, 5];
    let mut graph = GraphBuilder::new();
    let mut x = graph.input("x", &shape).unwrap();
    for (at, function) in [
        Unary::Hardswish,
        Unary::Sigmoid,
        Unary::LeakyRelu {
            negative_slope: 0.1,
        },
        Unary::AddScalar { other: -0.3 },
        Unary::Tanh,
        Unary::Elu { alpha: 1.0 },
        Unary::Hardsigmoid,
    ]
    .into_iter()
    .enumerate()
    {
        let conv = Conv::new(noise(&[6, 6, 3, 3], at as u64)).padding(1);
        x = graph.conv(&format!("conv{at}"), x, conv).unwrap();
        x = graph.unary(&format!("act{at}"), x, function).unwrap();
    }
    let graph = graph.finish(&[x]).unwrap();
    // seven convolutions of 54 products with weights below 1, each a step of its own
    check(&graph, &shape, 30.0, 5);
}

#[test]
fn no_pattern_of_these_operators_is_without_a_kernel() {
    let done = [
        "hardswish",
        "hardsigmoid",
        "sigmoid",
        "tanh",
        "elu",
        "leaky_relu",
        "floordiv",
        "add",
        "mul",
        "cat",
        "stack",
        "softmax",
    ];
    let mut pairs = 0;
    for config in QNNPACK.configs {
        let Pattern::Chain([head, ..]) = config.pattern else {
            continue;
        };
        if done.contains(&head.operator.name) {
            assert!(
                config.kernels.iter().all(Option::is_some),
                "{}",
                config.pattern
            );
            pairs += config.kernels.len();
        }
    }
    println!("{pairs} pairs of {done:?}");
}
