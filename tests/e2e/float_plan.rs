//! Plans in which nodes stay float: whole networks, half of a network, and every operator by itself.

use qconfig_backends::QNNPACK;
use qconfig_core::kernel::{
    BagMode, Binary, InterpolationMode, Padding, RecurrentCell, Reduction, Unary,
};
use qconfig_core::operator::{method, nn, torch};
use qconfig_core::{DType, QConfig, QConfigMapping, Spelled};
use qconfig_kernels::glue;
use qconfig_quantize::{
    Bag, BatchNorm, Conv, ConvTranspose, Gates, Graph, GraphBuilder, Interpolate, LowerError,
    LowerOptions, Lowered, Movement, Norm, Op, Pool, Recurrent, ReferenceModel, Target, Tensor,
    ValueId, calibrate, convert, fuse, lower, lower_with, prepare, report, sqnr_db,
};
use qconfig_runtime::{Session, SessionOptions};

use crate::flow::{answers, flow, noise};

fn float() -> QConfigMapping {
    QConfigMapping::new()
}

/// The model with nothing quantized, lowered.
fn lowered(graph: &Graph, inputs: &[Tensor]) -> Lowered {
    let prepared = prepare(&fuse(graph, &QNNPACK), &QNNPACK, &float()).unwrap();
    let calibrated = calibrate(&prepared, [inputs], |_| {}).unwrap();
    lower(&convert(&calibrated).unwrap()).unwrap()
}

#[test]
fn a_model_without_a_backend() {
    let (graph, x) = (network(), noise(&[2, 3, 12, 12], 9));
    let plain = ReferenceModel::float(&graph);
    let lowered = lower(&plain).unwrap();
    assert!(
        lowered
            .plan
            .steps()
            .iter()
            .all(|step| step.dtype_config() == "float32" || glue(step.kernel().name).is_some())
    );
    let right = graph.run(std::slice::from_ref(&x)).unwrap();
    assert_eq!(plain.run(std::slice::from_ref(&x)).unwrap(), right);
    let found = answers(&lowered, &[x], &[20]).remove(0);
    for (y, right) in found.iter().zip(right[0].data()) {
        assert!((y - right).abs() <= 1e-4, "{y}, not {right}");
    }
}

/// Holds the plan of a float model to the float run, `tolerance` apart relative to what is larger, 1 or the
/// value.
fn hold(graph: &Graph, inputs: &[Tensor], tolerance: f32) {
    let lowered = lowered(graph, inputs);
    let right = graph.run(inputs).unwrap();
    let lengths: Vec<usize> = right.iter().map(|tensor| tensor.data().len()).collect();
    let found = answers(&lowered, inputs, &lengths);
    for (found, right) in found.iter().zip(&right) {
        for (at, (y, right)) in found.iter().zip(right.data()).enumerate() {
            let error = (y - right).abs() / right.abs().max(1.0);
            assert!(error <= tolerance, "element {at} is {y}, not {right}");
        }
    }
}

fn bn(channels: usize, seed: u64) -> BatchNorm {
    let values = |seed| noise(&[channels], seed).data().to_vec();
    BatchNorm {
        weight: values(seed),
        bias: values(seed + 1),
        running_mean: values(seed + 2),
        running_var: values(seed + 3).iter().map(|v| v.abs() + 0.5).collect(),
        eps: 1e-3,
    }
}

/// A block of EfficientNet's kind: convolutions, batch normalization, SiLU, squeeze and excitation, a sum.
fn network() -> Graph {
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", &[2, 3, 12, 12]).unwrap();
    let stem = Conv::new(noise(&[8, 3, 3, 3], 1)).stride(2).padding(1);
    let x = graph.conv("stem.conv", x, stem).unwrap();
    let x = graph.batch_norm("stem.bn", x, bn(8, 2)).unwrap();
    let x = graph.unary("stem.act", x, Unary::Silu).unwrap();
    let wide = Conv::new(noise(&[16, 8, 1, 1], 3));
    let y = graph.conv("body.wide", x, wide).unwrap();
    let y = graph.batch_norm("body.bn", y, bn(16, 4)).unwrap();
    let y = graph.relu("body.relu", y).unwrap();
    let depthwise = Conv::new(noise(&[16, 1, 3, 3], 5)).padding(1).groups(16);
    let y = graph.conv("body.depthwise", y, depthwise).unwrap();
    let s = graph.global_avg_pool("body.squeeze", y).unwrap();
    let s = graph
        .conv("body.excite", s, Conv::new(noise(&[16, 16, 1, 1], 6)))
        .unwrap();
    let s = graph.unary("body.gate", s, Unary::Sigmoid).unwrap();
    let y = graph.mul("body.scaled", y, s).unwrap();
    let y = graph
        .conv("body.narrow", y, Conv::new(noise(&[8, 16, 1, 1], 7)))
        .unwrap();
    let y = graph.add("body.sum", x, y).unwrap();
    let y = graph.max_pool("head.pool", y, Pool::square(2)).unwrap();
    let y = graph.flatten("head.flatten", y).unwrap();
    let y = graph
        .linear("head.linear", y, noise(&[10, 72], 8), None)
        .unwrap();
    let y = graph.softmax("head.softmax", y, 1).unwrap();
    graph.finish(&[y]).unwrap()
}

#[test]
fn a_whole_float_network() {
    hold(&network(), &[noise(&[2, 3, 12, 12], 9)], 1e-4);
}

#[test]
fn half_of_a_network() {
    let graph = network();
    let inputs: Vec<Tensor> = (0..4).map(|n| noise(&[2, 3, 12, 12], 20 + n)).collect();
    let quantized = Some(QConfig::DEFAULT_PER_CHANNEL_SYMMETRIC_QNNPACK);
    let all = QConfigMapping::new().global(quantized);
    for (mapping, least) in [
        // SiLU is no pattern and stays float either way
        (all, 20.0),
        (QConfigMapping::new().module_name("body", quantized), 22.0),
        (
            QConfigMapping::new().module_name_regex("stem|head", quantized),
            22.0,
        ),
        (
            QConfigMapping::new().module_name_regex(".*conv|.*depthwise|.*linear|.*sum", quantized),
            22.0,
        ),
    ] {
        let (model, lowered) = flow(&graph, &mapping, &inputs);
        let refused = lower_with(&model, LowerOptions::ALL_QUANTIZED);
        assert!(matches!(refused, Err(LowerError::Float { .. })));
        // the plan does what the reference model says
        let mut energy = [[0.0f64; 2]; 2];
        for input in &inputs {
            let input = std::slice::from_ref(input);
            let (float, reference) = (graph.run(input).unwrap(), model.run(input).unwrap());
            let found = answers(&lowered, input, &[20]).remove(0);
            for (at, right) in [&float[0], &reference[0]].into_iter().enumerate() {
                for (y, right) in found.iter().zip(right.data()) {
                    energy[at][0] += f64::from(*right).powi(2);
                    energy[at][1] += f64::from(y - right).powi(2);
                }
            }
        }
        let [of_float, of_reference] = energy.map(|[signal, noise]| sqnr_db(signal, noise));
        println!("{of_float:.1} dB against float, {of_reference:.1} dB against the reference");
        assert!(of_float >= least, "{of_float} dB");
        assert!(of_reference >= 30.0, "{of_reference} dB");
    }
}

#[test]
fn the_report_says_what_stayed_float_and_why() {
    let graph = network();
    let mapping = QConfigMapping::new()
        .global(Some(QConfig::DEFAULT_PER_CHANNEL_SYMMETRIC_QNNPACK))
        .module_name("body.narrow", None);
    let inputs = [noise(&[2, 3, 12, 12], 3)];
    let (model, lowered) = flow(&graph, &mapping, &inputs);
    let options = SessionOptions {
        keep_all: true,
        ..SessionOptions::new().unwrap()
    };
    let mut session = Session::new(&lowered.plan, options).unwrap();
    let rows = report(&model, &lowered, &mut session, [inputs.as_slice()]).unwrap();
    let of = |node: &str| rows.iter().find(|row| row.node == node).unwrap();
    let act = of("stem.act");
    assert_eq!(act.pattern, "nn::SiLU");
    assert!(
        act.dtype_config.contains("no pattern"),
        "{}",
        act.dtype_config
    );
    assert!(act.kernel.starts_with("f32_unary"), "{}", act.kernel);
    let narrow = of("body.narrow");
    assert!(
        narrow.dtype_config.contains("leaves it float"),
        "{}",
        narrow.dtype_config
    );
    assert!(narrow.kernel.starts_with("f32_conv"), "{}", narrow.kernel);
    // and so does the plan itself, wherever it is read
    let steps = lowered.plan.steps();
    let step = steps.iter().find(|step| step.name() == "stem.act").unwrap();
    assert_eq!(
        (step.pattern(), step.dtype_config()),
        ("nn::SiLU", "float32")
    );
}

/// The graph of one node over one input, which runs in float.
fn one(shape: &[usize], tolerance: f32, node: impl FnOnce(&mut GraphBuilder, ValueId) -> ValueId) {
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", shape).unwrap();
    let y = node(&mut graph, x);
    let graph = graph.finish(&[y]).unwrap();
    hold(&graph, &[noise(shape, 7)], tolerance);
}

#[test]
fn every_layer_by_itself() {
    for (spatial, kernel) in [
        (&[9][..], &[3][..]),
        (&[7, 6], &[3, 2]),
        (&[5, 4, 6], &[2, 3, 2]),
    ] {
        let shape = [&[2, 6], spatial].concat();
        for groups in [1, 2, 6] {
            let weight = [&[6, 6 / groups], kernel].concat();
            let conv = Conv::new(noise(&weight, 1)).padding(1).groups(groups);
            let bias = Tensor::new(vec![6], vec![0.25; 6]).unwrap();
            one(&shape, 1e-5, |graph, x| {
                graph.conv("y", x, conv.bias(bias)).unwrap()
            });
            let weight = [&[6, 6 / groups], kernel].concat();
            let conv = ConvTranspose::new(noise(&weight, 2))
                .stride(2)
                .groups(groups);
            one(&shape, 1e-5, |graph, x| {
                graph.conv_transpose("y", x, conv).unwrap()
            });
        }
    }
    one(&[2, 5, 7], 1e-5, |graph, x| {
        graph
            .linear("y", x, noise(&[3, 7], 1), Some(noise(&[3], 2)))
            .unwrap()
    });
    one(&[3, 4, 5], 1e-5, |graph, x| {
        let y = graph.constant("c", noise(&[5, 6], 4)).unwrap();
        graph
            .node("y", torch::matmul::SPELLING, Op::MatMul, &[x, y])
            .unwrap()
    });
    // the product with the transpose of the same
    one(&[3, 4, 5], 1e-5, |graph, x| {
        let order = Op::Movement(Movement::Permute(vec![0, 2, 1]));
        let t = graph
            .node("t", method::permute::SPELLING, order, &[x])
            .unwrap();
        graph
            .node("y", torch::matmul::SPELLING, Op::MatMul, &[x, t])
            .unwrap()
    });
}

#[test]
fn normalizations_pools_and_reductions() {
    for shape in [&[2, 6][..], &[2, 6, 5], &[2, 6, 5, 4], &[2, 6, 3, 4, 2]] {
        one(shape, 1e-5, |graph, x| {
            graph.batch_norm("y", x, bn(6, 3)).unwrap()
        });
        let norm = Norm::affine(
            noise(&[6], 1).data().to_vec(),
            noise(&[6], 2).data().to_vec(),
        );
        one(shape, 1e-4, |graph, x| {
            let op = Op::GroupNorm { groups: 3, norm };
            graph
                .node("y", nn::InstanceNorm2d::SPELLING, op, &[x])
                .unwrap()
        });
        one(shape, 1e-4, |graph, x| {
            let op = Op::LayerNorm {
                axes: 1,
                norm: Norm::PLAIN,
            };
            graph.node("y", nn::LayerNorm::SPELLING, op, &[x]).unwrap()
        });
        for axis in 0..shape.len() {
            one(shape, 1e-5, |graph, x| graph.softmax("y", x, axis).unwrap());
            for keepdim in [false, true] {
                one(shape, 1e-5, |graph, x| {
                    graph
                        .reduce("y", x, Reduction::Sum, &[axis], keepdim)
                        .unwrap()
                });
                one(shape, 1e-5, |graph, x| {
                    let axes = vec![axis];
                    let op = Op::Mean { axes, keepdim };
                    graph.node("y", torch::mean::SPELLING, op, &[x]).unwrap()
                });
            }
        }
        let Some(spatial) = shape.get(2..).filter(|spatial| !spatial.is_empty()) else {
            continue;
        };
        let pool = Pool::new(&vec![2; spatial.len()]);
        one(shape, 1e-5, |graph, x| {
            graph.max_pool("y", x, pool.clone()).unwrap()
        });
        one(shape, 1e-5, |graph, x| {
            let op = Op::AvgPool {
                pool: pool.clone(),
                count_include_pad: false,
                divisor_override: None,
            };
            graph.node("y", nn::AvgPool2d::SPELLING, op, &[x]).unwrap()
        });
        one(shape, 1e-5, |graph, x| {
            graph.global_avg_pool("y", x).unwrap()
        });
        one(shape, 1e-5, |graph, x| {
            let op = Op::AdaptiveAvgPool(vec![2; spatial.len()]);
            graph
                .node("y", nn::AdaptiveAvgPool2d::SPELLING, op, &[x])
                .unwrap()
        });
        for mode in [
            InterpolationMode::Nearest,
            InterpolationMode::Linear,
            InterpolationMode::LinearAligned,
        ] {
            one(shape, 1e-5, |graph, x| {
                let target = Target::Size(vec![7; spatial.len()]);
                let op = Op::Interpolate(Interpolate { mode, target });
                let spelling = qconfig_core::operator::F::interpolate::SPELLING;
                graph.node("y", spelling, op, &[x]).unwrap()
            });
        }
    }
}

#[test]
fn what_has_several_operands_or_moves_elements() {
    for shape in [
        &[6][..],
        &[2, 6],
        &[2, 6, 5],
        &[2, 6, 5, 4],
        &[2, 3, 2, 4, 2],
    ] {
        for function in [Binary::Sub, Binary::Div, Binary::Maximum, Binary::Less] {
            for other in [&shape[shape.len() - 1..], &[1], shape] {
                one(shape, 1e-5, |graph, x| {
                    let c = noise(other, 5).data().iter().map(|c| c + 2.0).collect();
                    let c = Tensor::new(other.to_vec(), c).unwrap();
                    let c = graph.constant("c", c).unwrap();
                    graph.binary("y", x, c, function).unwrap()
                });
            }
        }
        for other in [&shape[shape.len() - 1..], &[1], shape] {
            one(shape, 1e-6, |graph, x| {
                // what is not chosen is infinite
                let mask = noise(other, 3)
                    .data()
                    .iter()
                    .map(|c| f32::from(*c > 0.0))
                    .collect();
                let mask = graph.constant("mask", Tensor::new(other.to_vec(), mask).unwrap());
                let endless = Tensor::new(vec![1], vec![f32::NEG_INFINITY]).unwrap();
                let endless = graph.constant("endless", endless).unwrap();
                let y = graph.choose("y", mask.unwrap(), x, endless).unwrap();
                graph.unary("exp", y, Unary::Exp).unwrap()
            });
        }
        for axis in 0..shape.len() {
            one(shape, 0.0, |graph, x| {
                let y = graph.relu("relu", x).unwrap();
                graph.cat("y", &[x, y, x], axis).unwrap()
            });
            one(shape, 0.0, |graph, x| {
                graph.stack("y", &[x, x], axis).unwrap()
            });
            one(shape, 0.0, |graph, x| {
                graph.select("y", x, axis, &[1, 0, 1]).unwrap()
            });
            one(shape, 0.0, |graph, x| {
                let mut sides = vec![0; shape.len()];
                sides[axis] = 1;
                graph.pad("y", x, Padding::Reflect, &sides, &sides).unwrap()
            });
            one(shape, 0.0, |graph, x| {
                let op = Op::Movement(Movement::Slice {
                    dim: axis,
                    start: 1,
                    step: 1,
                    length: 1,
                });
                graph.node("y", torch::narrow::SPELLING, op, &[x]).unwrap()
            });
        }
        one(shape, 0.0, |graph, x| {
            let op = Op::Reshape(vec![1, shape.iter().product()]);
            graph
                .node("y", method::reshape::SPELLING, op, &[x])
                .unwrap()
        });
        one(shape, 0.0, |graph, x| {
            let slopes = Op::PRelu(vec![0.25]);
            graph.node("y", nn::PReLU::SPELLING, slopes, &[x]).unwrap()
        });
    }
    // a convolution on both sides of each
    for axis in 0..4 {
        one(&[2, 4, 5, 6], 1e-5, |graph, x| {
            let conv = |seed| Conv::new(noise(&[4, 4, 1, 1], seed));
            let x = graph.conv("before", x, conv(1)).unwrap();
            let order: Vec<usize> = (0..4).map(|dim| (dim + axis) % 4).collect();
            let op = Op::Movement(Movement::Permute(order));
            let y = graph
                .node("moved", method::permute::SPELLING, op, &[x])
                .unwrap();
            let y = graph.softmax("softmax", y, axis).unwrap();
            let order: Vec<usize> = (0..4).map(|dim| (dim + 4 - axis) % 4).collect();
            let op = Op::Movement(Movement::Permute(order));
            let y = graph
                .node("back", method::permute::SPELLING, op, &[y])
                .unwrap();
            let y = graph.add("sum", x, y).unwrap();
            graph.conv("behind", y, conv(2)).unwrap()
        });
    }
}

#[test]
fn recurrent_layers_and_tables() {
    for (cell, gates) in [
        (RecurrentCell::Lstm, 4),
        (RecurrentCell::Gru, 3),
        (RecurrentCell::Tanh, 1),
        (RecurrentCell::Relu, 1),
    ] {
        let layer = |input: usize, seed: u64| Gates {
            weight_ih: noise(&[gates * 5, input], seed),
            weight_hh: noise(&[gates * 5, 5], seed + 1),
            bias: Some([
                noise(&[gates * 5], seed + 2).data().to_vec(),
                noise(&[gates * 5], seed + 3).data().to_vec(),
            ]),
        };
        let recurrent = Recurrent {
            cell,
            gates: vec![layer(3, 1), layer(3, 5), layer(10, 9), layer(10, 13)],
            bidirectional: true,
            batch_first: false,
        };
        let mut graph = GraphBuilder::new();
        let x = graph.input("x", &[6, 2, 3]).unwrap();
        let outputs = graph.recurrent("rnn", x, &[], recurrent).unwrap();
        let graph = graph.finish(&outputs).unwrap();
        hold(&graph, &[noise(&[6, 2, 3], 3)], 1e-5);
    }
    for bag in [None, Some(Bag::new(BagMode::Mean))] {
        let mut graph = GraphBuilder::new();
        let ids = graph.input_integers("ids", &[2, 3], DType::int64).unwrap();
        let y = match bag {
            None => graph.embedding("rows", ids, noise(&[9, 4], 1)).unwrap(),
            Some(bag) => {
                let bags = graph.embedding_bag("rows", &[ids], noise(&[9, 4], 1), bag);
                let ids = graph.to_float("floats", ids).unwrap();
                let sum = graph
                    .reduce("sum", ids, Reduction::Sum, &[1], true)
                    .unwrap();
                graph.mul("y", bags.unwrap(), sum).unwrap()
            }
        };
        let graph = graph.finish(&[y]).unwrap();
        let ids = Tensor::indices(vec![2, 3], vec![0, 8, 3, 3, 1, 7]).unwrap();
        hold(&graph, &[ids], 1e-5);
    }
}

#[test]
fn a_small_transformer() {
    let (b, t, c, heads) = (2, 5, 8, 2);
    let mut graph = GraphBuilder::new();
    let ids = graph.input_integers("ids", &[b, t], DType::int64).unwrap();
    let x = graph.embedding("embed", ids, noise(&[11, c], 1)).unwrap();
    let place = graph.constant("place", noise(&[t, c], 2)).unwrap();
    let x = graph.add("placed", x, place).unwrap();
    let norm = |graph: &mut GraphBuilder, name: &str, x| {
        let op = Op::LayerNorm {
            axes: 1,
            norm: Norm::affine(vec![1.5; c], vec![0.5; c]),
        };
        graph.node(name, nn::LayerNorm::SPELLING, op, &[x]).unwrap()
    };
    let n = norm(&mut graph, "norm1", x);
    let split = |graph: &mut GraphBuilder, name: &str, order: [usize; 4]| {
        let seed = name.len() as u64;
        let y = graph
            .linear(name, n, noise(&[c, c], seed), Some(noise(&[c], 4)))
            .unwrap();
        let shape = Op::Reshape(vec![b, t, heads, c / heads]);
        let name_of = |what: &str| format!("{name}.{what}");
        let spelling = method::reshape::SPELLING;
        let y = graph
            .node(&name_of("heads"), spelling, shape, &[y])
            .unwrap();
        let order = Op::Movement(Movement::Permute(order.to_vec()));
        graph
            .node(&name_of("order"), method::permute::SPELLING, order, &[y])
            .unwrap()
    };
    let q = split(&mut graph, "q", [0, 2, 1, 3]);
    let k = split(&mut graph, "kk", [0, 2, 3, 1]);
    let v = split(&mut graph, "vvv", [0, 2, 1, 3]);
    let s = graph
        .node("scores", torch::matmul::SPELLING, Op::MatMul, &[q, k])
        .unwrap();
    let s = graph
        .unary("scaled", s, Unary::MulScalar { other: 0.5 })
        .unwrap();
    let s = graph.softmax("attention", s, 3).unwrap();
    let y = graph
        .node("mixed", torch::matmul::SPELLING, Op::MatMul, &[s, v])
        .unwrap();
    let order = Op::Movement(Movement::Permute(vec![0, 2, 1, 3]));
    let y = graph
        .node("joined", method::permute::SPELLING, order, &[y])
        .unwrap();
    let shape = Op::Reshape(vec![b, t, c]);
    let y = graph
        .node("flat", method::reshape::SPELLING, shape, &[y])
        .unwrap();
    let y = graph.linear("out", y, noise(&[c, c], 5), None).unwrap();
    let x = graph.add("sum1", x, y).unwrap();
    let y = norm(&mut graph, "norm2", x);
    let y = graph.linear("up", y, noise(&[4 * c, c], 6), None).unwrap();
    let y = graph.unary("gelu", y, Unary::Gelu { tanh: false }).unwrap();
    let y = graph
        .linear("down", y, noise(&[c, 4 * c], 7), None)
        .unwrap();
    let x = graph.add("sum2", x, y).unwrap();
    let op = Op::Mean {
        axes: vec![1],
        keepdim: false,
    };
    let y = graph
        .node("pooled", torch::mean::SPELLING, op, &[x])
        .unwrap();
    let graph = graph.finish(&[y]).unwrap();
    let ids = Tensor::indices(vec![b, t], (0..10).collect()).unwrap();
    hold(&graph, std::slice::from_ref(&ids), 1e-4);
    // nothing is moved to and fro: only heads are split and joined
    let lowered = lowered(&graph, &[ids]);
    let moves = lowered.plan.steps().iter().filter(|step| {
        matches!(
            step.kernel().name,
            "rearrange" | "to_channels_last" | "to_channels_first"
        )
    });
    let moves: Vec<&str> = moves.map(qconfig_runtime::Step::name).collect();
    assert_eq!(moves.len(), 4, "{moves:?}");
}
