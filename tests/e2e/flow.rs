//! The lowered plan against the reference model executed in float, on random networks.

use std::slice;

use proptest::prelude::*;
use qconfig_backends::{ALL, QNNPACK};
use qconfig_core::{
    BackendConfig, DType, Isa, QConfig, QConfigMapping, default_qconfig_mapping,
    qconfig_mapping_with,
};
use qconfig_kernels::glue;
use qconfig_quantize::{
    BatchNorm, Conv, Graph, GraphBuilder, Lowered, Pool, ReferenceModel, Tensor, calibrate,
    convert, fuse, lower, prepare, set_input,
};
use qconfig_runtime::{Plan, Session, SessionOptions};

/// Values between -1 and 1 that depend on a seed only.
pub(crate) fn noise(shape: &[usize], seed: u64) -> Tensor {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let count = shape.iter().product();
    let values = (0..count).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    });
    Tensor::new(shape.to_vec(), values.collect()).unwrap()
}

pub(crate) fn mappings() -> [QConfigMapping; 2] {
    [
        default_qconfig_mapping("qnnpack").unwrap(),
        qconfig_mapping_with("qnnpack", QConfig::DEFAULT_PER_CHANNEL_SYMMETRIC_QNNPACK).unwrap(),
    ]
}

pub(crate) fn flow(
    graph: &Graph,
    mapping: &QConfigMapping,
    samples: &[Tensor],
) -> (ReferenceModel, Lowered) {
    flow_on(&QNNPACK, graph, mapping, samples)
}

/// The same for another backend.
pub(crate) fn flow_on(
    backend: &'static BackendConfig,
    graph: &Graph,
    mapping: &QConfigMapping,
    samples: &[Tensor],
) -> (ReferenceModel, Lowered) {
    let prepared = prepare(&fuse(graph, backend), backend, mapping).unwrap();
    let calibrated = calibrate(&prepared, samples.iter().map(slice::from_ref), |_| {}).unwrap();
    let model = convert(&calibrated).unwrap();
    let lowered = lower(&model).unwrap();
    (model, lowered)
}

/// The first of [`answers`].
pub(crate) fn answer(lowered: &Lowered, inputs: &[Tensor], length: usize) -> Vec<f32> {
    answers(lowered, inputs, &[length]).remove(0)
}

/// The plan's outputs on every instruction set and one to three threads, with and without memory of its own
/// for each tensor, from memory and from its bytes: always the same.
pub(crate) fn answers(lowered: &Lowered, inputs: &[Tensor], lengths: &[usize]) -> Vec<Vec<f32>> {
    let bytes = lowered.plan.to_bytes();
    let saved = Plan::from_bytes(&bytes, |name| {
        let mut kernels = ALL.iter().filter_map(|backend| backend.kernel_named(name));
        kernels.next().or_else(|| glue(name))
    })
    .unwrap();
    let mut first: Option<Vec<Vec<f32>>> = None;
    for isa in Isa::available() {
        for (threads, keep_all) in [(1, false), (2, false), (2, true), (3, false)] {
            for plan in [&lowered.plan, &saved] {
                let options = SessionOptions {
                    threads,
                    keep_all,
                    ..SessionOptions::with_isa(isa)
                };
                let mut session = Session::new(plan, options).unwrap();
                for (at, input) in inputs.iter().enumerate() {
                    set_input(&mut session, at, input).unwrap();
                }
                session.run().unwrap();
                let outputs = lengths.iter().enumerate().map(|(at, length)| {
                    let mut values = vec![0.0; *length];
                    session.output_f32(at, &mut values).unwrap();
                    values
                });
                let found: Vec<Vec<f32>> = outputs.collect();
                let first = first.get_or_insert_with(|| found.clone());
                assert_eq!(
                    *first, found,
                    "{isa}, {threads} threads, keep_all: {keep_all}"
                );
            }
        }
    }
    first.unwrap()
}

/// Holds the plan to the reference model, `steps` quantization steps of the output apart at most.
pub(crate) fn check(graph: &Graph, input_shape: &[usize], steps: f32, seed: u64) {
    for mapping in mappings() {
        check_with(graph, &mapping, input_shape, steps, seed);
    }
}

/// The same under one mapping.
pub(crate) fn check_with(
    graph: &Graph,
    mapping: &QConfigMapping,
    input_shape: &[usize],
    steps: f32,
    seed: u64,
) {
    check_on(&QNNPACK, graph, mapping, input_shape, steps, seed);
}

/// The same for another backend.
pub(crate) fn check_on(
    backend: &'static BackendConfig,
    graph: &Graph,
    mapping: &QConfigMapping,
    input_shape: &[usize],
    steps: f32,
    seed: u64,
) {
    let samples: Vec<Tensor> = (0..4).map(|n| noise(input_shape, seed + n)).collect();
    let (model, lowered) = flow_on(backend, graph, mapping, &samples);
    let output = model.graph().outputs()[0];
    let scale = [DType::quint8, DType::qint8]
        .iter()
        .find_map(|dtype| model.qparams(output, *dtype))
        .unwrap()
        .scale;
    let expected = &model.run(slice::from_ref(&samples[1])).unwrap()[0];
    let found = answer(
        &lowered,
        slice::from_ref(&samples[1]),
        expected.data().len(),
    );
    for (at, (x, y)) in expected.data().iter().zip(&found).enumerate() {
        assert!(
            (x - y).abs() <= steps * scale * 1.001,
            "element {at}: reference {x}, plan {y}, step {scale}"
        );
    }
}

pub(crate) fn batch_norm(channels: usize, seed: u64) -> BatchNorm {
    let near_one = |seed| {
        noise(&[channels], seed)
            .data()
            .iter()
            .map(|x| 1.0 + 0.3 * x)
            .collect()
    };
    BatchNorm {
        weight: near_one(seed),
        bias: noise(&[channels], seed + 1).data().to_vec(),
        running_mean: noise(&[channels], seed + 2).data().to_vec(),
        running_var: near_one(seed + 3),
        eps: 1e-5,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn one_convolution(
        (groups, per_group, out_per_group) in (1usize..4, 1usize..6, 1usize..20),
        kernel in 1usize..4, stride in 1usize..3, dilation in 1usize..3, padding in 0usize..2,
        (h, w) in (7usize..12, 7usize..12), (bias, relu, norm) in any::<(bool, bool, bool)>(), seed in 0u64..1 << 40,
    ) {
        let channels = groups * per_group;
        let weight = noise(&[groups * out_per_group, per_group, kernel, kernel], seed);
        let mut conv = Conv::new(weight).stride(stride).dilation(dilation).padding(padding).groups(groups);
        if bias {
            conv = conv.bias(noise(&[groups * out_per_group], seed + 9));
        }
        let mut graph = GraphBuilder::new();
        let x = graph.input("x", &[1, channels, h, w]).unwrap();
        let mut y = graph.conv("conv", x, conv).unwrap();
        if norm {
            y = graph.batch_norm("bn", y, batch_norm(groups * out_per_group, seed)).unwrap();
        }
        if relu {
            y = graph.relu("relu", y).unwrap();
        }
        check(&graph.finish(&[y]).unwrap(), &[1, channels, h, w], 1.0, seed);
    }

    #[test]
    fn one_linear(n in 1usize..9, k in 1usize..80, o in 1usize..40, relu in any::<bool>(), seed in 0u64..1 << 40) {
        let mut graph = GraphBuilder::new();
        let x = graph.input("x", &[n, k]).unwrap();
        let mut y = graph.linear("fc", x, noise(&[o, k], seed), Some(noise(&[o], seed + 5))).unwrap();
        if relu {
            y = graph.relu("relu", y).unwrap();
        }
        check(&graph.finish(&[y]).unwrap(), &[n, k], 1.0, seed);
    }

    #[test]
    fn a_residual_network(channels in 1usize..20, size in 6usize..11, relu in any::<bool>(), seed in 0u64..1 << 40) {
        let mut graph = GraphBuilder::new();
        let x = graph.input("x", &[1, channels, size, size]).unwrap();
        let weight = |seed| noise(&[channels, channels, 3, 3], seed);
        let y = graph.conv("a", x, Conv::new(weight(seed)).padding(1)).unwrap();
        let y = graph.relu("a.relu", y).unwrap();
        let y = graph.conv("b", y, Conv::new(weight(seed + 1)).padding(1)).unwrap();
        let mut y = graph.add("sum", x, y).unwrap();
        if relu {
            y = graph.relu("sum.relu", y).unwrap();
        }
        let y = graph.max_pool("pool", y, Pool::square(2)).unwrap();
        let y = graph.flatten("flatten", y).unwrap();
        let features = channels * (size / 2) * (size / 2);
        let y = graph.linear("fc", y, noise(&[7, features], seed + 2), None).unwrap();
        // one step a layer, spread by the layers behind it
        check(&graph.finish(&[y]).unwrap(), &[1, channels, size, size], 6.0, seed);
    }
}

#[test]
fn values_that_are_used_in_two_layouts_are_converted() {
    // flattened twice: once for a linear layer, once as the output
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", &[2, 5, 4, 3]).unwrap();
    let y = graph
        .conv("conv", x, Conv::new(noise(&[6, 5, 1, 1], 1)))
        .unwrap();
    let flat = graph.flatten("flat", y).unwrap();
    let graph = graph.finish(&[flat]).unwrap();
    check(&graph, &[2, 5, 4, 3], 1.0, 3);

    let mut graph = GraphBuilder::new();
    let x = graph.input("x", &[2, 5, 4, 3]).unwrap();
    let y = graph
        .conv("conv", x, Conv::new(noise(&[6, 5, 1, 1], 1)))
        .unwrap();
    let flat = graph.flatten("flat", y).unwrap();
    let out = graph.linear("fc", flat, noise(&[3, 72], 2), None).unwrap();
    let again = graph.global_avg_pool("mean", y).unwrap();
    let graph = graph.finish(&[out, again]).unwrap();
    check(&graph, &[2, 5, 4, 3], 2.0, 3);
}

#[test]
fn dynamic_qconfigs_quantize_linear_layers_while_the_model_runs() {
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", &[3, 40]).unwrap();
    let y = graph
        .linear("fc1", x, noise(&[30, 40], 1), Some(noise(&[30], 2)))
        .unwrap();
    let y = graph.relu("relu", y).unwrap();
    let y = graph.linear("fc2", y, noise(&[5, 30], 3), None).unwrap();
    let graph = graph.finish(&[y]).unwrap();
    let input = noise(&[3, 40], 4);
    let float = graph.run(slice::from_ref(&input)).unwrap();
    for (qconfig, kernel, tolerance) in [
        (QConfig::DEFAULT_DYNAMIC, "q8_linear_dynamic", 0.02),
        (QConfig::PER_CHANNEL_DYNAMIC, "q8_linear_dynamic", 0.02),
        (QConfig::FLOAT16_DYNAMIC, "f16_linear_dynamic", 1e-3),
    ] {
        let mapping = QConfigMapping::new().global(Some(qconfig));
        let (_, lowered) = flow(&graph, &mapping, slice::from_ref(&input));
        let kernels: Vec<&str> = lowered
            .plan
            .steps()
            .iter()
            .map(|step| step.kernel().name)
            .collect();
        assert_eq!(kernels, [kernel; 2]);
        let found = answer(&lowered, slice::from_ref(&input), 15);
        let largest = float[0]
            .data()
            .iter()
            .fold(0.0f32, |most, x| most.max(x.abs()));
        for (x, y) in float[0].data().iter().zip(&found) {
            assert!(
                (x - y).abs() <= tolerance * largest,
                "{kernel}: float {x}, plan {y}"
            );
        }
    }
}
