//! Operators over lines, images and volumes, through the whole flow.

use std::slice;

use proptest::prelude::*;
use qconfig_core::operator::{F, method, nn};
use qconfig_core::{DType, Isa, Spelled};
use qconfig_quantize::{
    Conv, ConvTranspose, Graph, GraphBuilder, Norm, Op, Pool, Tensor, calibrate, convert, lower,
    prepare,
};
use qconfig_runtime::{Session, SessionOptions};

use crate::flow::{batch_norm, check, mappings, noise};

/// `[1, channels, size..]` of a rank.
fn shape(channels: usize, sizes: &[usize]) -> Vec<usize> {
    [&[1, channels], sizes].concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn one_convolution_of_a_volume(
        (groups, per_group, out_per_group) in (1usize..4, 1usize..4, 1usize..6),
        kernel in 1usize..4, stride in 1usize..3, dilation in 1usize..3, padding in 0usize..2,
        (bias, relu, norm) in any::<(bool, bool, bool)>(), seed in 0u64..1 << 40,
    ) {
        let outputs = groups * out_per_group;
        let weight = noise(&[outputs, per_group, kernel, kernel, kernel], seed);
        let mut conv = Conv::new(weight).stride(stride).dilation(dilation).padding(padding).groups(groups);
        if bias {
            conv = conv.bias(noise(&[outputs], seed + 9));
        }
        let input = shape(groups * per_group, &[6, 7, 6]);
        let mut graph = GraphBuilder::new();
        let x = graph.input("x", &input).unwrap();
        let mut y = graph.conv("conv", x, conv).unwrap();
        if norm {
            y = graph.batch_norm("bn", y, batch_norm(outputs, seed)).unwrap();
        }
        if relu {
            y = graph.relu("relu", y).unwrap();
        }
        check(&graph.finish(&[y]).unwrap(), &input, 1.0, seed);
    }

    #[test]
    fn one_transposed_convolution(
        rank in 1usize..4, (groups, per_group, out_per_group) in (1usize..4, 1usize..5, 1usize..6),
        kernel in 1usize..4, stride in 1usize..4, dilation in 1usize..3, padding in 0usize..2,
        (bias, functional, norm) in any::<(bool, bool, bool)>(), seed in 0u64..1 << 40,
    ) {
        let outputs = groups * out_per_group;
        let weight = noise(&[&[groups * per_group, out_per_group], vec![kernel; rank].as_slice()].concat(), seed);
        let mut conv = ConvTranspose::new(weight).stride(stride).dilation(dilation).padding(padding)
            .output_padding(stride.max(dilation) - 1).groups(groups);
        if bias {
            conv = conv.bias(noise(&[outputs], seed + 9));
        }
        let input = shape(groups * per_group, &[4, 5, 4][..rank]);
        let mut graph = GraphBuilder::new();
        let x = graph.input("x", &input).unwrap();
        let y = if functional {
            let spelling = [F::conv_transpose1d::SPELLING, F::conv_transpose2d::SPELLING, F::conv_transpose3d::SPELLING];
            graph.node("conv", spelling[rank - 1], Op::ConvTranspose(conv), &[x])
        } else {
            graph.conv_transpose("conv", x, conv)
        };
        // a batch normalization behind the functional form is an operator of its own
        let mut y = y.unwrap();
        if norm && !functional {
            y = graph.batch_norm("bn", y, batch_norm(outputs, seed)).unwrap();
        }
        check(&graph.finish(&[y]).unwrap(), &input, 1.0, seed);
    }
}

#[test]
fn a_transposed_convolution_takes_in_its_batch_normalization() {
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", &[1, 4, 5, 6]).unwrap();
    let conv = ConvTranspose::new(noise(&[4, 3, 3, 2], 1))
        .stride(2)
        .groups(2);
    let y = graph.conv_transpose("up", x, conv).unwrap();
    let y = graph.batch_norm("bn", y, batch_norm(6, 2)).unwrap();
    let graph = graph.finish(&[y]).unwrap();
    let fused = qconfig_quantize::fuse(&graph, &qconfig_backends::QNNPACK);
    let [node] = fused.nodes() else {
        panic!("one node is left, not {}", fused.nodes().len())
    };
    assert_eq!(node.spelling, nn::ConvTranspose2d::SPELLING);
    let input = [noise(&[1, 4, 5, 6], 3)];
    let (apart, folded) = (graph.run(&input).unwrap(), fused.run(&input).unwrap());
    for (x, y) in apart[0].data().iter().zip(folded[0].data()) {
        assert!((x - y).abs() < 1e-4, "{x} apart, {y} folded");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn one_pool(
        rank in 1usize..4, channels in 1usize..6, kernel in 1usize..4, stride in 1usize..3,
        (padded, ceil_mode, include, average) in any::<(bool, bool, bool, bool)>(),
        divisor in proptest::option::of(1usize..9), functional in any::<bool>(), seed in 0u64..1 << 40,
    ) {
        let pool = Pool {
            stride: vec![stride; rank],
            padding: vec![if padded { kernel / 2 } else { 0 }; rank],
            ceil_mode,
            ..Pool::new(&vec![kernel; rank])
        };
        let input = shape(channels, &[6, 5, 7][..rank]);
        let mut graph = GraphBuilder::new();
        let x = graph.input("x", &input).unwrap();
        let y = match (average, functional) {
            (true, true) => {
                let spelling = [F::avg_pool1d::SPELLING, F::avg_pool2d::SPELLING, F::avg_pool3d::SPELLING];
                let op = Op::AvgPool { pool, count_include_pad: include, divisor_override: divisor };
                graph.node("pool", spelling[rank - 1], op, &[x])
            }
            (true, false) => graph.avg_pool("pool", x, pool, include),
            (false, true) => {
                let spelling = [F::max_pool1d::SPELLING, F::max_pool2d::SPELLING, F::max_pool3d::SPELLING];
                graph.node("pool", spelling[rank - 1], Op::MaxPool(pool), &[x])
            }
            (false, false) => graph.max_pool("pool", x, pool),
        };
        check(&graph.finish(&[y.unwrap()]).unwrap(), &input, 1.0, seed);
    }

    #[test]
    fn one_adaptive_pool(
        sizes in prop::collection::vec((1usize..9, 1usize..9), 1..4), channels in 1usize..6,
        functional in any::<bool>(), seed in 0u64..1 << 40,
    ) {
        let (from, to): (Vec<usize>, Vec<usize>) = sizes.into_iter().unzip();
        let input = shape(channels, &from);
        let mut graph = GraphBuilder::new();
        let x = graph.input("x", &input).unwrap();
        let y = if functional {
            let spelling = [
                F::adaptive_avg_pool1d::SPELLING,
                F::adaptive_avg_pool2d::SPELLING,
                F::adaptive_avg_pool3d::SPELLING,
            ];
            graph.node("pool", spelling[to.len() - 1], Op::AdaptiveAvgPool(to), &[x])
        } else {
            graph.adaptive_avg_pool("pool", x, &to)
        };
        check(&graph.finish(&[y.unwrap()]).unwrap(), &input, 1.0, seed);
    }

    #[test]
    fn one_mean(
        input in prop::collection::vec(1usize..7, 1..6), mask in 1u32..32, keepdim in any::<bool>(),
        method in any::<bool>(), seed in 0u64..1 << 40,
    ) {
        let axes: Vec<usize> = (0..input.len()).filter(|axis| mask >> axis & 1 == 1).collect();
        let mut graph = GraphBuilder::new();
        let x = graph.input("x", &input).unwrap();
        let y = if method {
            graph.node("mean", method::mean::SPELLING, Op::Mean { axes, keepdim }, &[x])
        } else {
            graph.mean("mean", x, &axes, keepdim)
        };
        check(&graph.finish(&[y.unwrap()]).unwrap(), &input, 1.0, seed);
    }
}

/// With affine parameters for so many channels, or without.
fn affine(channels: usize, plain: bool, seed: u64) -> Norm {
    if plain {
        return Norm::PLAIN;
    }
    let values = |seed| noise(&[channels], seed).data().to_vec();
    Norm::affine(values(seed), values(seed + 1))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn one_batch_norm(
        volume in any::<bool>(), channels in 1usize..40, relu in 0usize..4, seed in 0u64..1 << 40,
    ) {
        let input = shape(channels, if volume { &[4, 3, 5] } else { &[6, 5] });
        let mut graph = GraphBuilder::new();
        let x = graph.input("x", &input).unwrap();
        let mut y = graph.batch_norm("bn", x, batch_norm(channels, seed)).unwrap();
        if relu > 0 {
            let spelling = [nn::ReLU::SPELLING, F::relu::SPELLING][relu % 2];
            y = graph.node("relu", spelling, Op::Relu, &[y]).unwrap();
        }
        let graph = graph.finish(&[y]).unwrap();
        if relu > 0 {
            let fused = qconfig_quantize::fuse(&graph, &qconfig_backends::QNNPACK);
            assert_eq!(fused.nodes().len(), 1, "one module");
        }
        check(&graph, &input, 1.0, seed);
    }

    #[test]
    fn one_normalization_by_its_own_moments(
        rank in 1usize..4, (groups, size) in (1usize..6, 1usize..6), kind in 0usize..3, plain in any::<bool>(),
        seed in 0u64..1 << 40,
    ) {
        let channels = groups * size;
        let input = shape(channels, &[5, 6, 4][..rank]);
        let norm = affine(channels, plain, seed);
        let mut graph = GraphBuilder::new();
        let x = graph.input("x", &input).unwrap();
        let y = match kind {
            0 => graph.instance_norm("norm", x, norm),
            1 => graph.group_norm("norm", x, groups, norm),
            _ => {
                let op = Op::GroupNorm { groups: channels, norm };
                graph.node("norm", F::instance_norm::SPELLING, op, &[x])
            }
        };
        check(&graph.finish(&[y.unwrap()]).unwrap(), &input, 1.0, seed);
    }
}

qconfig::backend_config! {
    /// QNNPACK and layer normalization, which PyTorch's lacks.
    pub backend WITH_LAYER_NORM = "with_layer_norm" extends qconfig::backends::QNNPACK;
    group layer_norm: [default_qint8, default_quint8] { kernel => qconfig::kernels::Q8LayerNorm; }
}

/// As [`check`], one step, on that backend.
fn check_layer_norm(graph: &Graph, input: &[usize], seed: u64) {
    let samples: Vec<Tensor> = (0..4).map(|n| noise(input, seed + n)).collect();
    for mapping in mappings() {
        let prepared = prepare(graph, &WITH_LAYER_NORM, &mapping).unwrap();
        let calibrated = calibrate(&prepared, samples.iter().map(slice::from_ref), |_| {});
        let model = convert(&calibrated.unwrap()).unwrap();
        let lowered = lower(&model).unwrap();
        let output = model.graph().outputs()[0];
        let scale = [DType::quint8, DType::qint8]
            .iter()
            .find_map(|dtype| model.qparams(output, *dtype))
            .unwrap()
            .scale;
        let expected = &model.run(slice::from_ref(&samples[1])).unwrap()[0];
        let mut first: Option<Vec<f32>> = None;
        for (isa, threads) in Isa::available().flat_map(|isa| [(isa, 1), (isa, 3)]) {
            let options = SessionOptions {
                threads,
                ..SessionOptions::with_isa(isa)
            };
            let mut session = Session::new(&lowered.plan, options).unwrap();
            session.set_input_f32(0, samples[1].data()).unwrap();
            session.run().unwrap();
            let mut found = vec![0.0; expected.data().len()];
            session.output_f32(0, &mut found).unwrap();
            for (x, y) in expected.data().iter().zip(&found) {
                assert!(
                    (x - y).abs() <= scale * 1.001,
                    "reference {x}, plan {y}, step {scale}"
                );
            }
            let first = first.get_or_insert_with(|| found.clone());
            assert_eq!(*first, found, "{isa}, {threads} threads");
        }
    }
}

#[test]
fn layer_norm_of_a_backend_of_ones_own() {
    let mut seed = 1;
    for input in [vec![3, 40], vec![2, 5, 24], vec![1, 3, 4, 5]] {
        for axes in 1..input.len() {
            for functional in [false, true] {
                seed += 10;
                let features = input[input.len() - axes..].iter().product();
                let norm = affine(features, functional, seed);
                let mut graph = GraphBuilder::new();
                let x = graph.input("x", &input).unwrap();
                let y = if functional {
                    let op = Op::LayerNorm { axes, norm };
                    graph.node("norm", F::layer_norm::SPELLING, op, &[x])
                } else {
                    graph.layer_norm("norm", x, axes, norm)
                };
                let graph = graph.finish(&[y.unwrap()]).unwrap();
                check_layer_norm(&graph, &input, seed);
            }
        }
    }
}
