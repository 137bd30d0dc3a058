//! Cross-layer equalization: the float outputs stay, and one scale for all of a weight loses less.

use qconfig_backends::QNNPACK;
use qconfig_core::{QConfig, QConfigMapping};
use qconfig_quantize::{
    Conv, Energy, Graph, GraphBuilder, Tensor, calibrate, convert, equalize, fuse, prepare,
};

fn random(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state = state
            .wrapping_mul(0x5851_F42D_4C95_7F2D)
            .wrapping_add(0x1405_7B7E_F767_814F);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// Convolution, ReLU, depthwise, ReLU, pointwise; the channels' ranges lie far apart. A clamp behind the first one
/// keeps it out where `clamped`.
fn network(clamped: bool) -> Graph {
    let mut random = random(3);
    let mut tensor = |shape: &[usize], of: &dyn Fn(usize) -> f32| {
        let count: usize = shape.iter().product();
        let row = count / shape[0];
        let data = (0..count).map(|at| random() * of(at / row));
        Tensor::new(shape.to_vec(), data.collect()).unwrap()
    };
    let far = |channel: usize| 0.3 * 3f32.powi(channel as i32 % 5 - 2);
    let (stem, bias) = (tensor(&[8, 3, 3, 3], &far), tensor(&[8], &far));
    let deep = tensor(&[8, 1, 3, 3], &|channel| far(channel + 2));
    let point = tensor(&[6, 8, 1, 1], &|_| 0.5);
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", &[1, 3, 9, 9]).unwrap();
    let x = graph
        .conv("stem", x, Conv::new(stem).padding(1).bias(bias))
        .unwrap();
    let x = match clamped {
        true => graph.relu6("act", x).unwrap(),
        false => graph.relu("act", x).unwrap(),
    };
    let x = graph
        .conv("deep", x, Conv::new(deep).padding(1).groups(8))
        .unwrap();
    let x = graph.relu("act2", x).unwrap();
    let x = graph.conv("point", x, Conv::new(point)).unwrap();
    graph.finish(&[x]).unwrap()
}

fn samples() -> Vec<[Tensor; 1]> {
    let mut random = random(11);
    (0..8)
        .map(|_| [Tensor::new(vec![1, 3, 9, 9], (0..243).map(|_| random()).collect()).unwrap()])
        .collect()
}

/// Of the outputs, with one scale for each weight.
fn db(graph: &Graph, float: &Graph) -> f64 {
    let mapping = QConfigMapping::new().global(Some(QConfig::QNNPACK));
    let prepared = prepare(graph, &QNNPACK, &mapping).unwrap();
    let model = convert(&calibrate(&prepared, samples(), |_| {}).unwrap()).unwrap();
    let mut energy = Energy::default();
    for sample in samples() {
        let (right, found) = (float.run(&sample).unwrap(), model.run(&sample).unwrap());
        energy.add(&right[0], &found[0]);
    }
    energy.db()
}

#[test]
fn float_outputs_stay_to_the_bit_and_quantized_ones_come_nearer() {
    for fused in [false, true] {
        let float = network(false);
        let graph = if fused {
            fuse(&float, &QNNPACK)
        } else {
            float.clone()
        };
        let (equal, pairs) = equalize(&graph);
        assert_eq!(pairs, 2);
        assert_ne!(equal, graph);
        for sample in samples() {
            assert_eq!(equal.run(&sample).unwrap(), graph.run(&sample).unwrap());
        }
        // what is equal stays
        assert_eq!(equalize(&equal), (equal.clone(), 0));
        let (before, after) = (db(&graph, &float), db(&equal, &float));
        println!("one scale for each weight: {before:.1} dB, equalized {after:.1} dB");
        assert!(after > before + 1.0, "{before} {after}");
    }
}

#[test]
fn a_clamp_keeps_a_pair_apart() {
    let graph = network(true);
    let (equal, pairs) = equalize(&graph);
    assert_eq!(pairs, 1, "only behind the ReLU");
    assert_eq!(equal.nodes()[0], graph.nodes()[0]);
    for sample in samples() {
        assert_eq!(equal.run(&sample).unwrap(), graph.run(&sample).unwrap());
    }
}
