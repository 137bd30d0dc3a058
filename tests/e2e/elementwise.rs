//! Element-wise operators through the whole flow, in every spelling.

use std::slice;

use qconfig::backend_config;
use qconfig_backends::QNNPACK;
use qconfig_core::kernel::Unary;
use qconfig_core::operator::spellings_of;
use qconfig_core::operator::{F, nn, operator, operators, torch};
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

/// Addition of a number and a relu behind it, in every spelling: the output has the parameters that torch
/// works out, and shares the input's observer.
#[test]
fn numbers_are_added_in_every_spelling() {
    let shape = [1, 4, 5, 3];
    for operator in [operator::add::SPELLING, torch::add::SPELLING] {
        for relu in [
            None,
            Some(nn::ReLU::SPELLING),
            Some(F::relu::SPELLING),
            Some(torch::relu::SPELLING),
        ] {
            for other in [0.7, -0.25, 9.0, -40.0, 0.0] {
                let mut graph = GraphBuilder::new();
                let x = graph.input("x", &shape).unwrap();
                let op = Op::Unary(Unary::AddScalar { other });
                let mut y = graph.node("y", operator, op, &[x]).unwrap();
                if let Some(relu) = relu {
                    y = graph.node("relu", relu, Op::Relu, &[y]).unwrap();
                }
                let graph = graph.finish(&[y]).unwrap();
                for mapping in mappings() {
                    let (model, _) = flow(&graph, &mapping, &[noise(&shape, 1)]);
                    assert_eq!(model.graph().nodes().len(), 1, "one pattern");
                    assert!(kernels(&graph, &mapping, &shape).contains(&"q8_add"));
                    check_with(&graph, &mapping, &shape, 1.0, 11);
                }
            }
        }
    }
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
