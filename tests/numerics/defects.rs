//! What torch 2.8.0 gets wrong or refuses, and is right here. The letters are those of the list of defects
//! that came out of testing torch.

mod spatial;

use std::slice;

use qconfig_backends::QNNPACK;
use qconfig_core::{DType, Isa, QConfig, QConfigMapping};
use qconfig_quantize::{
    Graph, GraphBuilder, Lowered, ReferenceModel, Tensor, calibrate, convert, fuse, lower, prepare,
    set_input,
};
use qconfig_runtime::{Session, SessionOptions};
use qconfig_tests::golden::Archive;

fn flow(graph: &Graph, qconfig: QConfig, sample: &Tensor) -> (ReferenceModel, Lowered) {
    let mapping = QConfigMapping::new().global(Some(qconfig));
    let prepared = prepare(&fuse(graph, &QNNPACK), &QNNPACK, &mapping).unwrap();
    let calibrated = calibrate(&prepared, [slice::from_ref(sample)], |_| {}).unwrap();
    let model = convert(&calibrated).unwrap();
    let lowered = lower(&model).unwrap();
    (model, lowered)
}

fn answer(lowered: &Lowered, input: &Tensor, len: usize, isa: Isa) -> Vec<f32> {
    let mut session = Session::new(&lowered.plan, SessionOptions::with_isa(isa)).unwrap();
    set_input(&mut session, 0, input).unwrap();
    session.run().unwrap();
    let mut output = vec![0.0; len];
    session.output_f32(0, &mut output).unwrap();
    output
}

/// f: `torch.ao.nn.quantized.Embedding.from_float` looks rows of four bits up as rows of eight, and gives
/// `(N, 22)` in place of `(N, 52)`. Here the module's rows, scales and zero points are torch's, and the lookup is
/// what torch's own 4-bit operator makes of them, to the bit; so in eight bits.
#[test]
fn f_an_embedding_of_four_bits_is_one() {
    for (family, qconfig, dtype) in [
        (
            "embedding_byte",
            QConfig::FLOAT_QPARAMS_WEIGHT_ONLY,
            DType::quint8,
        ),
        (
            "embedding_4bit",
            QConfig::FLOAT_QPARAMS_WEIGHT_ONLY_4BIT,
            DType::quint4x2,
        ),
    ] {
        let archive = Archive::open(&format!("numerics/{family}.npz"));
        let (mut tables, mut lookups) = (0, 0);
        for case in archive.cases().filter(|case| case.flag("module")) {
            let (w, y) = (case.f32("w"), case.f32("y"));
            let indices: Vec<i64> = case.i32("indices").into_iter().map(i64::from).collect();
            let weight = Tensor::new(w.shape.clone(), w.data).unwrap();
            let mut graph = GraphBuilder::new();
            let shape = [indices.len()];
            let x = graph.input_integers("x", &shape, DType::int64).unwrap();
            let rows = graph.embedding("rows", x, weight).unwrap();
            let graph = graph.finish(&[rows]).unwrap();
            assert_eq!(graph.value(rows).shape, [indices.len(), w.shape[1]]);
            let input = Tensor::indices(shape.to_vec(), indices).unwrap();
            let (model, lowered) = flow(&graph, qconfig, &input);

            let table = model.table(0).unwrap();
            let name = case.name();
            assert_eq!(table.data, case.stored("q").data, "{name}");
            assert_eq!(table.scales, case.f32("scales").data, "{name}");
            assert_eq!(table.zero_points, case.f32("zero_points").data, "{name}");
            let config = QNNPACK.find(&[graph.nodes()[0].spelling]).unwrap();
            let stored = config
                .dtype_configs
                .iter()
                .filter_map(|config| config.weight);
            assert!(
                stored
                    .map(|weight| weight.dtype)
                    .any(|found| found == dtype)
            );
            tables += 1;
            if case.word("mode") == "lookup" {
                for isa in Isa::available() {
                    assert_eq!(
                        answer(&lowered, &input, y.data.len(), isa),
                        y.data,
                        "{name} on {isa}"
                    );
                }
                lookups += 1;
            }
        }
        println!("{family}: {tables} tables, {lookups} lookups");
        assert!(tables >= 100 && lookups >= 20);
    }
}

/// g: a linear layer with `qint8` activations and a scale for each output channel is
/// "Unsupported config for dtype KQInt8" under engine qnnpack.
#[test]
fn g_linear_layers_in_qint8_have_scales_per_channel() {
    let values = |count: usize, seed: usize| -> Vec<f32> {
        (0..count)
            .map(|at| ((at * 7919 + seed * 104_729) % 2003) as f32 / 1000.0 - 1.0)
            .collect()
    };
    let (rows, k, channels) = (5, 37, 19);
    let mut weight = values(channels * k, 1);
    for (channel, row) in weight.chunks_mut(k).enumerate() {
        // scales that differ by far
        row.iter_mut()
            .for_each(|w| *w *= 0.01 * 1.4f32.powi(channel as i32));
    }
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", &[rows, k]).unwrap();
    let weight = Tensor::new(vec![channels, k], weight).unwrap();
    let bias = Tensor::new(vec![channels], values(channels, 2)).unwrap();
    let y = graph.linear("fc", x, weight, Some(bias)).unwrap();
    let graph = graph.finish(&[y]).unwrap();
    let input = Tensor::new(vec![rows, k], values(rows * k, 3)).unwrap();
    let qconfig = QConfig::DEFAULT_PER_CHANNEL_SYMMETRIC_QNNPACK;
    let (model, lowered) = flow(&graph, qconfig, &input);
    assert_eq!(model.weight(0).unwrap().qparams.scales.len(), channels);
    let step = model.qparams(y, DType::qint8).unwrap().scale;
    let expected = &model.run(slice::from_ref(&input)).unwrap()[0];
    for isa in Isa::available() {
        let found = answer(&lowered, &input, rows * channels, isa);
        for (x, y) in expected.data().iter().zip(&found) {
            assert!(
                (x - y).abs() <= step * 1.001,
                "reference {x}, plan {y}, step {step}"
            );
        }
    }
}
