//! Convolutions and pools.

use qconfig_core::{ObserverSpec, QScheme, Spelled};
use qconfig_quantize::{Conv, ConvTranspose, Op, Pool};

use super::*;

/// Values between -1 and 1 that depend on a seed only.
fn values(count: usize, seed: usize) -> Vec<f32> {
    let value = |at: usize| ((at * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0;
    (0..count).map(value).collect()
}

fn tensor(shape: &[usize], seed: usize) -> Tensor {
    Tensor::new(shape.to_vec(), values(shape.iter().product(), seed)).unwrap()
}

/// Minimum and maximum, so that a test says exactly which parameters come out.
fn min_max() -> QConfig {
    QConfig {
        activation: ObserverSpec::min_max(DType::quint8, QScheme::PerTensorAffine),
        ..QConfig::QNNPACK
    }
}

/// Holds the plan, on every instruction set, to the reference model executed in float: one step at most.
fn check(model: &ReferenceModel, lowered: &Lowered, input: &Tensor) {
    let output = model.graph().outputs()[0];
    let step = [DType::quint8, DType::qint8]
        .iter()
        .find_map(|dtype| model.qparams(output, *dtype))
        .unwrap()
        .scale;
    let expected = &model.run(slice::from_ref(input)).unwrap()[0];
    for isa in Isa::available() {
        let found = answer(lowered, input, expected.data().len(), isa);
        for (at, (x, y)) in expected.data().iter().zip(&found).enumerate() {
            assert!(
                (x - y).abs() <= step * 1.001,
                "element {at}: reference {x}, plan {y}, step {step}"
            );
        }
    }
}

/// a: QNNPACK packs weights anew only when the scale of the input changes. Here one layer is calibrated
/// three times: with another zero point of its padded input at the same scale, then with another output
/// scale; the plans run in turn.
#[test]
fn a_packed_weights_follow_zero_points_and_scales() {
    let shape = [1, 3, 8, 8];
    let len = shape.iter().product::<usize>();
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", &shape).unwrap();
    let conv = Conv::new(tensor(&[4, 3, 3, 3], 1)).bias(tensor(&[4], 2));
    let y = graph.conv("conv", x, conv.padding(1)).unwrap();
    let graph = graph.finish(&[y]).unwrap();
    // the same width of range, from -1 and from -0.25; then the same range, the values at its ends
    let spread = |low: f32| -> Vec<f32> {
        let of = |x: &f32| low + 2.55 * (x + 1.0) / 2.0;
        let mut all: Vec<f32> = values(len, 3).iter().map(of).collect();
        (all[0], all[1]) = (low, low + 2.55);
        all
    };
    let ends = (0..len).map(|at| if at % 64 < 32 { -0.25 } else { 2.3 });
    let samples = [spread(-1.0), spread(-0.25), ends.collect()]
        .map(|data| Tensor::new(shape.to_vec(), data).unwrap());
    let plans: Vec<_> = samples
        .iter()
        .map(|sample| flow(&graph, min_max(), sample))
        .collect();
    let qparams = |value, at: usize| plans[at].0.qparams(value, DType::quint8).unwrap();
    let [first, second, third] = [0, 1, 2].map(|at| qparams(x, at));
    assert!((first.scale - second.scale).abs() < 1e-6 * first.scale);
    assert_ne!(first.zero_point, second.zero_point);
    assert_eq!(second.zero_point, third.zero_point);
    assert_ne!(qparams(y, 1).scale, qparams(y, 2).scale);
    for _ in 0..2 {
        for ((model, lowered), sample) in plans.iter().zip(&samples) {
            check(model, lowered, sample);
        }
    }
}

/// b: QNNPACK's average pool divides by the size of the window, whatever `count_include_pad` and
/// `divisor_override` say. Here both are honoured, in ceil mode too.
#[test]
fn b_average_pools_divide_by_what_they_are_asked_to() {
    let shape = [1, 5, 7, 8];
    let mut input = tensor(&shape, 5);
    input.data_mut().iter_mut().for_each(|x| *x += 1.5);
    for (include, divisor, ceil_mode) in [
        (true, None, false),
        (true, None, true),
        (false, None, false),
        (false, None, true),
        (true, Some(4), false),
        (false, Some(7), true),
    ] {
        let pool = Pool {
            stride: vec![2, 2],
            padding: vec![1, 1],
            ceil_mode,
            ..Pool::new(&[3, 3])
        };
        let op = |count_include_pad, divisor_override| Op::AvgPool {
            pool: pool.clone(),
            count_include_pad,
            divisor_override,
        };
        let graph = |op| {
            let mut graph = GraphBuilder::new();
            let x = graph.input("x", &shape).unwrap();
            let spelling = qconfig_core::operator::F::avg_pool2d::SPELLING;
            let y = graph.node("pool", spelling, op, &[x]).unwrap();
            graph.finish(&[y]).unwrap()
        };
        let asked = graph(op(include, divisor));
        let (model, lowered) = flow(&asked, min_max(), &input);
        check(&model, &lowered, &input);
        if (include, divisor) != (true, None) {
            // dividing by the window would be wrong by far
            let window = graph(op(true, None)).run(slice::from_ref(&input)).unwrap();
            let right = asked.run(slice::from_ref(&input)).unwrap();
            let step = model.qparams(asked.outputs()[0], DType::quint8).unwrap();
            let pairs = window[0].data().iter().zip(right[0].data());
            let wrong = pairs.filter(|(a, b)| (**a - **b).abs() > 4.0 * step.scale);
            assert!(wrong.count() * 5 > right[0].data().len());
        }
    }
}

/// c: FBGEMM's depthwise kernels add pairs of products in 16 bits, which saturates where activations take
/// all of eight bits. Here inputs of 255 meet weights of 127 and -127.
#[test]
fn c_depthwise_convolutions_do_not_saturate() {
    for (channels, kernel) in [(8, 3), (128, 3), (256, 3), (96, 5)] {
        let shape = [1, channels, 9, 9];
        let mut input = Tensor::zeros(&shape);
        for (at, x) in input.data_mut().iter_mut().enumerate() {
            *x = if at % 31 == 0 { 0.0 } else { 1.0 };
        }
        let mut weight = tensor(&[channels, 1, kernel, kernel], 1);
        for (at, w) in weight.data_mut().iter_mut().enumerate() {
            // channels of one sign, so that every pair of products passes 2^15
            let sign = if at / (kernel * kernel) % 2 == 0 {
                1.0
            } else {
                -1.0
            };
            *w = sign * (0.9 + 0.1 * w.abs());
        }
        let mut graph = GraphBuilder::new();
        let x = graph.input("x", &shape).unwrap();
        let conv = Conv::new(weight).groups(channels).padding(kernel / 2);
        let y = graph.conv("conv", x, conv).unwrap();
        let graph = graph.finish(&[y]).unwrap();
        let (model, lowered) = flow(&graph, min_max(), &input);
        let stored = model.weight(0).unwrap();
        let least = stored.data.iter().map(|w| w.unsigned_abs()).min().unwrap();
        assert!(2 * 255 * i32::from(least) > 1 << 15, "no pair saturates");
        check(&model, &lowered, &input);
    }
}

/// A transposed convolution of 6 channels to 3, of 2 to 10, and of groups.
fn transposed() -> Vec<(Graph, Tensor)> {
    let layer = |channels: usize, outputs: usize, groups: usize, rank: usize| {
        let kernel = [&[channels, outputs / groups], &[3; 3][..rank]].concat();
        let mut weight = tensor(&kernel, channels);
        let (each, area) = (outputs / groups, 3usize.pow(rank as u32));
        for (row, weights) in weight.data_mut().chunks_mut(area).enumerate() {
            // output channels whose scales differ by far
            let factor = 1.5f32.powi((row % each) as i32);
            weights.iter_mut().for_each(|w| *w *= factor);
        }
        let shape = [&[2, channels], &[5, 4, 3][..rank]].concat();
        let mut graph = GraphBuilder::new();
        let x = graph.input("x", &shape).unwrap();
        let conv = ConvTranspose::new(weight)
            .bias(tensor(&[outputs], 9))
            .stride(2)
            .padding(1)
            .output_padding(1)
            .groups(groups);
        let y = graph.conv_transpose("up", x, conv).unwrap();
        (graph.finish(&[y]).unwrap(), tensor(&shape, 4))
    };
    let mut layers = Vec::new();
    for rank in 1..4 {
        layers.push(layer(6, 3, 1, rank));
        layers.push(layer(2, 10, 1, rank));
        layers.push(layer(8, 12, 4, rank));
    }
    layers
}

/// d: engines x86 and onednn mix up the channels of a transposed convolution that has not as many going
/// out as coming in.
#[test]
fn d_transposed_convolutions_have_any_number_of_channels() {
    for (graph, input) in transposed() {
        let (model, lowered) = flow(&graph, min_max(), &input);
        assert_eq!(model.weight(0).unwrap().qparams.scales.len(), 1);
        check(&model, &lowered, &input);
    }
}

/// e: engines x86, fbgemm and onednn have no transposed convolution with a scale for each output channel;
/// under qnnpack it works without groups.
#[test]
fn e_transposed_convolutions_have_scales_per_channel() {
    for weight in [
        ObserverSpec::per_channel_min_max(DType::qint8, QScheme::PerChannelSymmetric),
        QConfig::DEFAULT_PER_CHANNEL_SYMMETRIC_QNNPACK.weight,
    ] {
        for (graph, input) in transposed() {
            let qconfig = QConfig {
                weight,
                ..min_max()
            };
            let (model, lowered) = flow(&graph, qconfig, &input);
            let outputs = graph.value(graph.outputs()[0]).shape[1];
            assert_eq!(model.weight(0).unwrap().qparams.scales.len(), outputs);
            check(&model, &lowered, &input);
        }
    }
}
