//! Tables of rows through the whole flow.

use qconfig_backends::QNNPACK;
use qconfig_core::kernel::BagMode;
use qconfig_core::{DType, Isa, QConfig, QConfigMapping};
use qconfig_quantize::{
    Bag, Graph, GraphBuilder, InputError, Lowered, Tensor, calibrate, convert, fuse, lower,
    prepare, set_input,
};
use qconfig_runtime::{Session, SessionOptions};

use crate::flow::{answer, noise};

const QCONFIGS: [(QConfig, f32); 2] = [
    (QConfig::FLOAT_QPARAMS_WEIGHT_ONLY, 0.005),
    (QConfig::FLOAT_QPARAMS_WEIGHT_ONLY_4BIT, 0.08),
];

fn flow(graph: &Graph, mapping: &QConfigMapping, inputs: &[Tensor]) -> (Vec<Tensor>, Lowered) {
    let prepared = prepare(&fuse(graph, &QNNPACK), &QNNPACK, mapping).unwrap();
    let calibrated = calibrate(&prepared, [inputs], |_| {}).unwrap();
    let model = convert(&calibrated).unwrap();
    (model.run(inputs).unwrap(), lower(&model).unwrap())
}

fn check(graph: &Graph, inputs: &[Tensor], rows_of_a_bag: f32) {
    let float = &graph.run(inputs).unwrap()[0];
    for (qconfig, tolerance) in QCONFIGS {
        let mapping = QConfigMapping::new().global(Some(qconfig));
        let (reference, lowered) = flow(graph, &mapping, inputs);
        assert_eq!(lowered.plan.steps()[0].kernel().name, "embedding_rowwise");
        let found = answer(&lowered, inputs, float.data().len());
        for ((x, r), y) in float.data().iter().zip(reference[0].data()).zip(&found) {
            // 4-bit scales are rounded to half precision
            let near = (r - y).abs() <= rows_of_a_bag * 2e-3 * tolerance / 0.005;
            assert!(
                near && (x - y).abs() <= rows_of_a_bag * tolerance,
                "float {x}, reference {r}, plan {y}"
            );
        }
    }
}

fn indices(shape: &[usize], rows: usize, seed: usize) -> Tensor {
    let count = shape.iter().product::<usize>();
    let values = (0..count).map(|at| ((at * 31 + seed * 17) % rows) as i64);
    Tensor::indices(shape.to_vec(), values.collect()).unwrap()
}

#[test]
fn lookups_of_any_shape_and_index_type() {
    for (shape, dtype) in [
        (&[7usize][..], DType::int32),
        (&[2, 3], DType::int64),
        (&[2, 1, 4], DType::int32),
    ] {
        let mut graph = GraphBuilder::new();
        let x = graph.input_integers("x", shape, dtype).unwrap();
        let y = graph.embedding("rows", x, noise(&[11, 18], 1)).unwrap();
        assert_eq!(
            graph.finish(&[y]).map(|graph| {
                check(&graph, &[indices(shape, 11, 3)], 1.0);
                graph.value(y).shape.clone()
            }),
            Ok([shape, &[18]].concat())
        );
    }
}

#[test]
fn bags_of_every_mode() {
    for mode in [BagMode::Sum, BagMode::Mean, BagMode::Max] {
        for form in 0..8 {
            let [include_last_offset, padding, weights] = [1, 2, 4].map(|bit| form & bit != 0);
            if weights && mode != BagMode::Sum {
                continue;
            }
            let bag = Bag {
                include_last_offset,
                padding_idx: padding.then_some(4),
                ..Bag::new(mode)
            };
            let mut graph = GraphBuilder::new();
            let list = graph.input_integers("list", &[14], DType::int64).unwrap();
            let mut starts = vec![0, 3, 3, 8];
            if include_last_offset {
                starts.push(14);
            }
            let count = starts.len();
            let offsets = graph
                .input_integers("offsets", &[count], DType::int64)
                .unwrap();
            let mut inputs = vec![
                indices(&[14], 9, 2),
                Tensor::indices(vec![count], starts).unwrap(),
            ];
            let mut ids = vec![list, offsets];
            if weights {
                ids.push(graph.input("weights", &[14]).unwrap());
                inputs.push(noise(&[14], 7));
            }
            let y = graph
                .embedding_bag("bag", &ids, noise(&[9, 20], 5), bag)
                .unwrap();
            assert_eq!(
                graph.finish(&[y]).map(|graph| check(&graph, &inputs, 6.0)),
                Ok(())
            );
        }
        let mut graph = GraphBuilder::new();
        let x = graph.input_integers("x", &[3, 5], DType::int32).unwrap();
        let y = graph
            .embedding_bag("bag", &[x], noise(&[9, 33], 6), Bag::new(mode))
            .unwrap();
        check(&graph.finish(&[y]).unwrap(), &[indices(&[3, 5], 9, 1)], 5.0);
    }
}

/// Behind the table, what reads floats: a dynamic layer, and one with activations in eight bits.
#[test]
fn rows_are_read_by_layers() {
    let mut graph = GraphBuilder::new();
    let x = graph.input_integers("x", &[6], DType::int64).unwrap();
    let rows = graph.embedding("rows", x, noise(&[13, 24], 1)).unwrap();
    let y = graph.linear("fc", rows, noise(&[5, 24], 2), None).unwrap();
    let graph = graph.finish(&[y]).unwrap();
    let inputs = [indices(&[6], 13, 1)];
    let float = &graph.run(&inputs).unwrap()[0];
    let table = QConfig::FLOAT_QPARAMS_WEIGHT_ONLY;
    for qconfig in [QConfig::DEFAULT_DYNAMIC, QConfig::QNNPACK] {
        let mapping = QConfigMapping::new()
            .global(Some(qconfig))
            .object_type("torch.nn.Embedding", Some(table));
        let (_, lowered) = flow(&graph, &mapping, &inputs);
        let found = answer(&lowered, &inputs, float.data().len());
        for (x, y) in float.data().iter().zip(&found) {
            assert!((x - y).abs() <= 0.15, "float {x}, plan {y}");
        }
    }
}

#[test]
fn indices_from_outside_are_errors() {
    let mut graph = GraphBuilder::new();
    let list = graph.input_integers("list", &[4], DType::int64).unwrap();
    let offsets = graph.input_integers("offsets", &[2], DType::int32).unwrap();
    let bag = Bag::new(BagMode::Sum);
    let y = graph
        .embedding_bag("bag", &[list, offsets], noise(&[9, 8], 5), bag)
        .unwrap();
    let graph = graph.finish(&[y]).unwrap();
    let inputs = |list: [i64; 4], offsets: [i64; 2]| {
        [
            Tensor::indices(vec![4], list.to_vec()).unwrap(),
            Tensor::indices(vec![2], offsets.to_vec()).unwrap(),
        ]
    };
    let good = inputs([0, 8, 3, 3], [0, 2]);
    let mapping = QConfigMapping::new().global(Some(QConfig::FLOAT_QPARAMS_WEIGHT_ONLY));
    let (_, lowered) = flow(&graph, &mapping, &good);
    for (list, offsets, float, run) in [
        (
            [0, 9, 3, 3],
            [0, 2],
            "node `bag`: index 1 is 9, which is outside",
            "step 0 \"bag\": index 1 is 9, outside 0..9",
        ),
        (
            [0, 8, 3, i64::MIN],
            [0, 2],
            "node `bag`: index 3 is -9223372036854775808, which is outside",
            "step 0 \"bag\": index 3 is -9223372036854775808, outside 0..9",
        ),
        (
            [0, 8, 3, 3],
            [0, 5],
            "node `bag`: offset 1 is 5, which is outside",
            "step 0 \"bag\": offset 1 is 5, outside 0..5",
        ),
        (
            [0, 8, 3, 3],
            [1, 2],
            "node `bag`: offset 0 is 1, which is outside",
            "step 0 \"bag\": offset 0 is 1, outside 0..1",
        ),
    ] {
        let bad = inputs(list, offsets);
        assert_eq!(graph.run(&bad).unwrap_err().to_string(), float);
        for threads in [1, 2] {
            let options = SessionOptions {
                threads,
                ..SessionOptions::with_isa(Isa::detect())
            };
            let mut session = Session::new(&lowered.plan, options).unwrap();
            for (at, input) in bad.iter().enumerate() {
                set_input(&mut session, at, input).unwrap();
            }
            assert_eq!(session.run().unwrap_err().to_string(), run);
            // and the session goes on
            for (at, input) in good.iter().enumerate() {
                set_input(&mut session, at, input).unwrap();
            }
            session.run().unwrap();
        }
    }
    let floats = [noise(&[4], 1), good[1].clone()];
    let error = graph.run(&floats).unwrap_err();
    assert_eq!(
        error,
        InputError::DType {
            name: "list".into(),
            expected: DType::int64
        }
    );
}

#[test]
fn graphs_that_do_not_fit_are_named() {
    let mut graph = GraphBuilder::new();
    let floats = graph.input("floats", &[4]).unwrap();
    let list = graph.input_integers("list", &[4], DType::int64).unwrap();
    let table = || noise(&[9, 8], 5);
    let error = |result: Result<_, qconfig_quantize::GraphError>| result.unwrap_err().to_string();
    assert_eq!(
        error(graph.embedding("a", floats, table())),
        "node `a`: an input is float32, which the operator does not take"
    );
    assert_eq!(
        error(graph.relu("b", list)),
        "node `b`: an input is int64, which the operator does not take"
    );
    assert_eq!(
        error(graph.embedding_bag("c", &[list], table(), Bag::new(BagMode::Sum))),
        "node `c`: bags are [bags, length] or a list, with where each begins; the input is [4]"
    );
    let padded = Bag {
        padding_idx: Some(9),
        ..Bag::new(BagMode::Max)
    };
    assert_eq!(
        error(graph.embedding_bag("d", &[list, list], table(), padded)),
        "node `d`: the padding row is not a row of the table"
    );
    let mean = Bag::new(BagMode::Mean);
    assert_eq!(
        error(graph.embedding_bag("e", &[list, list, floats], table(), mean)),
        "node `e`: only sums of rows have weights"
    );
}
