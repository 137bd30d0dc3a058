//! Operators over lines, images and volumes, through the whole flow.

use proptest::prelude::*;
use qconfig_core::Spelled;
use qconfig_core::operator::{F, method, nn};
use qconfig_quantize::{Conv, ConvTranspose, GraphBuilder, Op, Pool};

use crate::flow::{batch_norm, check, noise};

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
