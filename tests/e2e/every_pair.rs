//! Walks the backends' tables: every pattern with every dtype config that has a kernel is lowered to it and runs.

use std::slice;

use qconfig_backends::{FBGEMM, NATIVE, ONEDNN, QNNPACK, X86};
use qconfig_core::kernel::{BagMode, InterpolationMode, RecurrentCell, Unary};
use qconfig_core::{
    BackendConfig, BackendPatternConfig, DType, QConfig, QConfigMapping, Spelling,
    default_qconfig_mapping,
};
use qconfig_quantize::{
    Bag, Conv, ConvTranspose, Decision, Embedding, Gates, Graph, GraphBuilder, Interpolate, Linear,
    Movement, Norm, Op, Pool, Recurrent, Target, Tensor, fuse, prepare,
};

use crate::flow::{answer, batch_norm, check_on, flow_on, noise};

/// Channels, sequence features and everything else that is not spatial.
const C: usize = 4;

/// The spatial dimensions that an operator's name ends with; two where it has none.
fn rank(name: &str) -> usize {
    match name.trim_end_matches('d').chars().last() {
        Some(digit) if name.ends_with('d') && digit.is_ascii_digit() => {
            digit.to_digit(10).unwrap_or(2) as usize
        }
        _ => 2,
    }
}

fn pool(rank: usize) -> Pool {
    Pool {
        kernel: vec![3; rank],
        stride: vec![2; rank],
        padding: vec![1; rank],
        dilation: vec![1; rank],
        ceil_mode: false,
    }
}

fn recurrent(cell: RecurrentCell) -> Op {
    let gates = match cell {
        RecurrentCell::Lstm => 4,
        RecurrentCell::Gru => 3,
        _ => 1,
    };
    let layer = |seed| {
        Gates::new(
            noise(&[gates * C, C], seed),
            noise(&[gates * C, C], seed + 1),
        )
        .bias(noise(&[gates * C], seed + 2), noise(&[gates * C], seed + 3))
    };
    Op::Recurrent(Recurrent::new(cell, vec![layer(1)]))
}

/// An operator, how often it reads the input, and the input's shape.
fn operator(spelling: &Spelling) -> (Op, usize, Vec<usize>) {
    let name = spelling.operator.name;
    let spatial = rank(name);
    let image = [&[2, C][..], &[6, 5, 4][..spatial]].concat();
    let kernel = [&[C, C][..], &[3; 3][..spatial]].concat();
    let one = |op| (op, 1, image.clone());
    let two = |op| (op, 2, image.clone());
    match name {
        "conv1d" | "conv2d" | "conv3d" => {
            let conv = Conv::new(noise(&kernel, 1)).bias(noise(&[C], 2));
            one(Op::Conv(conv.padding(1)))
        }
        "conv_transpose1d" | "conv_transpose2d" | "conv_transpose3d" => {
            let conv = ConvTranspose::new(noise(&kernel, 1)).bias(noise(&[C], 2));
            one(Op::ConvTranspose(conv.stride(2)))
        }
        "linear" => {
            let (weight, bias) = (noise(&[C, C], 1), noise(&[C], 2).data().to_vec());
            let bias = Some(bias);
            (Op::Linear(Linear { weight, bias }), 1, vec![3, C])
        }
        "bn1d" => (Op::BatchNorm(batch_norm(C, 1)), 1, vec![3, C]),
        "bn2d" | "bn3d" => one(Op::BatchNorm(batch_norm(C, 1))),
        "instance_norm1d" | "instance_norm2d" | "instance_norm3d" | "instance_norm" => {
            let (groups, norm) = (C, Norm::PLAIN);
            one(Op::GroupNorm { groups, norm })
        }
        "layer_norm" => one(Op::LayerNorm {
            axes: 1,
            norm: Norm::affine(
                noise(&[5], 1).data().to_vec(),
                noise(&[5], 2).data().to_vec(),
            ),
        }),
        "group_norm" => one(Op::GroupNorm {
            groups: 2,
            norm: Norm::affine(
                noise(&[C], 1).data().to_vec(),
                noise(&[C], 2).data().to_vec(),
            ),
        }),
        "add" => two(Op::Add),
        "mul" => two(Op::Mul),
        "matmul" => (Op::MatMul, 2, vec![2, C, 5, 5]),
        "prelu" => one(Op::PRelu(noise(&[C], 1).data().to_vec())),
        "cat" => two(Op::Cat { axis: 1 }),
        "stack" => two(Op::Stack { axis: 1 }),
        "relu" => one(Op::Relu),
        "relu6" => one(Op::Clamp {
            low: 0.0,
            high: 6.0,
        }),
        "hardtanh" | "clamp" => one(Op::Clamp {
            low: -0.5,
            high: 0.5,
        }),
        "softmax" => one(Op::Softmax { axis: 1 }),
        "hardswish" => one(Op::Unary(Unary::Hardswish)),
        "hardsigmoid" => one(Op::Unary(Unary::Hardsigmoid)),
        "sigmoid" => one(Op::Unary(Unary::Sigmoid)),
        "tanh" => one(Op::Unary(Unary::Tanh)),
        "elu" => one(Op::Unary(Unary::Elu { alpha: 1.0 })),
        "leaky_relu" => one(Op::Unary(Unary::LeakyRelu {
            negative_slope: 0.1,
        })),
        "floordiv" => one(Op::Unary(Unary::FloorDivide { divisor: 0.25 })),
        "max_pool1d" | "max_pool2d" | "max_pool3d" => one(Op::MaxPool(pool(spatial))),
        "avg_pool1d" | "avg_pool2d" | "avg_pool3d" => one(Op::AvgPool {
            pool: pool(spatial),
            count_include_pad: false,
            divisor_override: None,
        }),
        "adaptive_avg_pool1d" | "adaptive_avg_pool2d" | "adaptive_avg_pool3d" => {
            one(Op::AdaptiveAvgPool(vec![2; spatial]))
        }
        "mean" => one(Op::Mean {
            axes: vec![2, 3],
            keepdim: true,
        }),
        "flatten" => one(Op::Flatten { start: 1 }),
        "reshape" | "view" | "resize" => one(Op::Reshape(vec![2, C * 30])),
        "squeeze" => (Op::Reshape(vec![2, C, 6]), 1, vec![2, C, 6, 1]),
        "unsqueeze" => one(Op::Reshape(vec![2, C, 6, 5, 1])),
        "identity" | "dropout" | "contiguous" | "detach" => one(Op::Identity),
        "transpose" => one(Op::Movement(Movement::Permute(vec![0, 1, 3, 2]))),
        "permute" => one(Op::Movement(Movement::Permute(vec![0, 2, 3, 1]))),
        "narrow" => one(Op::Movement(Movement::Narrow {
            dim: 1,
            start: 1,
            length: 2,
        })),
        "repeat" => one(Op::Movement(Movement::Repeat(vec![1, 2, 1, 1]))),
        "repeat_interleave" => one(Op::Movement(Movement::RepeatInterleave {
            dim: Some(1),
            repeats: 2,
        })),
        "pixel_shuffle" => one(Op::Movement(Movement::PixelShuffle(2))),
        "pixel_unshuffle" => {
            let shape = vec![2, C, 6, 4];
            (Op::Movement(Movement::PixelUnshuffle(2)), 1, shape)
        }
        "interpolate" => one(Op::Interpolate(Interpolate {
            mode: InterpolationMode::Linear,
            target: Target::Factor(vec![2.0, 2.0]),
        })),
        "lstm" => (recurrent(RecurrentCell::Lstm), 1, vec![5, 2, C]),
        "gru" => (recurrent(RecurrentCell::Gru), 1, vec![5, 2, C]),
        "lstm_cell" => (recurrent(RecurrentCell::Lstm), 1, vec![2, C]),
        "gru_cell" => (recurrent(RecurrentCell::Gru), 1, vec![2, C]),
        "rnn_cell" => (recurrent(RecurrentCell::Tanh), 1, vec![2, C]),
        "embedding" | "embedding_bag" => {
            let bag = (name == "embedding_bag").then_some(Bag::new(BagMode::Max));
            let weight = noise(&[9, C], 1);
            (Op::Embedding(Embedding { weight, bag }), 1, vec![2, 5])
        }
        _ => panic!("a pattern begins with `{name}`, for which this test has no node"),
    }
}

/// The network of one pattern, its chain over one input; and an input.
fn network(config: &BackendPatternConfig) -> (Graph, Tensor) {
    let [first, rest @ ..] = config.pattern.chain() else {
        panic!("{} is no chain", config.pattern);
    };
    let (op, count, shape) = operator(first);
    let mut graph = GraphBuilder::new();
    let (x, sample) = if matches!(op, Op::Embedding(_)) {
        let x = graph.input_integers("x", &shape, DType::int64).unwrap();
        let indices = (0..shape.iter().product::<usize>()).map(|at| (at * 4 % 9) as i64);
        (x, Tensor::indices(shape, indices.collect()).unwrap())
    } else {
        (graph.input("x", &shape).unwrap(), noise(&shape, 3))
    };
    let mut y = graph.node("0", first, op, &vec![x; count]).unwrap();
    for (at, spelling) in rest.iter().enumerate() {
        let (op, ..) = operator(spelling);
        y = graph
            .node(&(at + 1).to_string(), spelling, op, &[y])
            .unwrap();
    }
    (graph.finish(&[y]).unwrap(), sample)
}

/// What a user asks for to get a dtype config of a pattern.
fn mapping(
    backend: &BackendConfig,
    config: &BackendPatternConfig,
    dtype_config: &str,
) -> QConfigMapping {
    let everywhere = |qconfig| QConfigMapping::new().global(Some(qconfig));
    let head = config.pattern.head().map(|head| head.operator.name);
    match dtype_config {
        // the default mapping has a reshape take the parameters of what comes before it: here nothing
        "default_quint8" if head == Some("reshape") => everywhere(QConfig::QNNPACK),
        "weighted_quint8" | "default_quint8" | "activation_quint8" => {
            default_qconfig_mapping(backend.name)
                .or(default_qconfig_mapping("qnnpack"))
                .unwrap()
        }
        "weighted_qint8" | "default_qint8" => {
            everywhere(QConfig::DEFAULT_PER_CHANNEL_SYMMETRIC_QNNPACK)
        }
        "dynamic_int8" => everywhere(QConfig::DEFAULT_DYNAMIC),
        "dynamic_f16" => everywhere(QConfig::FLOAT16_DYNAMIC),
        "weight_only_quint8" => everywhere(QConfig::FLOAT_QPARAMS_WEIGHT_ONLY),
        "weight_only_quint4x2" => everywhere(QConfig::FLOAT_QPARAMS_WEIGHT_ONLY_4BIT),
        _ => panic!("no qconfig gives `{dtype_config}`"),
    }
}

#[test]
fn every_pair_is_lowered_to_its_kernel_and_runs() {
    assert_eq!(pairs(&QNNPACK), [404, 0]);
}

#[test]
fn every_pair_of_servers_is_lowered_to_its_kernel_and_runs() {
    for (backend, counts) in [
        (&FBGEMM, [223, 2]),
        (&X86, [223, 2]),
        (&ONEDNN, [200, 44]),
        (&NATIVE, [225, 2]),
    ] {
        assert_eq!(pairs(backend), counts, "{}", backend.name);
    }
}

/// How many pairs ran, and how many have no kernel.
fn pairs(backend: &'static BackendConfig) -> [usize; 2] {
    let [mut ran, mut none] = [0; 2];
    for config in backend.configs {
        for (index, dtypes) in config.dtype_configs.iter().enumerate() {
            let pair = format!(
                "{} with {} on {}",
                config.pattern, dtypes.name, backend.name
            );
            println!("{pair}");
            if backend.kernel(config, index).is_none() {
                none += 1;
                continue;
            }
            let (graph, sample) = network(config);
            let mapping = mapping(backend, config, dtypes.name);
            let fused = fuse(&graph, backend);
            let prepared = prepare(&fused, backend, &mapping).unwrap();
            for (node, decision) in prepared.graph().nodes().iter().zip(prepared.decisions()) {
                let Decision::Quantized(quantized) = decision else {
                    panic!("{pair}: node {} stays float: {decision:?}", node.name);
                };
                assert_eq!(quantized.dtypes().name, dtypes.name, "{pair}");
            }
            // a chain of which the backend makes one module is matched as that module
            assert_eq!(prepared.graph().nodes().len(), 1, "{pair}");
            if quantized_ahead(dtypes.name) {
                check_on(backend, &graph, &mapping, sample.shape(), 1.5, 3);
            } else {
                let (_, lowered) = flow_on(backend, &graph, &mapping, slice::from_ref(&sample));
                let expected = &graph.run(slice::from_ref(&sample)).unwrap()[0];
                let found = answer(&lowered, slice::from_ref(&sample), expected.data().len());
                let most = expected.data().iter().fold(0.0f32, |m, x| m.max(x.abs()));
                // a row of four bits has 16 steps
                let share = if dtypes.name == "weight_only_quint4x2" {
                    0.08
                } else {
                    0.05
                };
                for (x, y) in expected.data().iter().zip(&found) {
                    assert!((x - y).abs() <= share * most, "{pair}: float {x}, plan {y}");
                }
            }
            ran += 1;
        }
    }
    [ran, none]
}

/// Whether activations are quantized before the run.
fn quantized_ahead(dtype_config: &str) -> bool {
    !dtype_config.starts_with("dynamic") && !dtype_config.starts_with("weight_only")
}
