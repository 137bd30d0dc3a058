//! Float models as exporters write them: imported, and run in float and as a plan, they answer as ONNX
//! Runtime does.

use std::collections::BTreeMap;
use std::io::Read;

use qconfig_backends::QNNPACK;
use qconfig_core::QConfigMapping;
use qconfig_onnx::{Dimension, ImportOptions, Imported, Model, import, read};
use qconfig_quantize::{Graph, Tensor, calibrate, convert, lower, prepare, set_input};
use qconfig_runtime::{Session, SessionOptions};
use qconfig_tests::golden::{self, Archive, Values};

pub(crate) fn model(name: &str) -> Model {
    let file = std::fs::File::open(golden::path(&format!("onnx/{name}.onnx.gz"))).unwrap();
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(file)
        .read_to_end(&mut bytes)
        .unwrap();
    read(&bytes).unwrap()
}

/// The shapes that the golden inputs have, for dimensions that the file leaves open.
pub(crate) fn options(model: &Model, inputs: &BTreeMap<String, Tensor>) -> ImportOptions {
    let open = model.inputs.iter().filter(|input| {
        let mut dims = input.shape.iter().flatten();
        dims.any(|dim| matches!(dim, Dimension::Named(_)))
    });
    ImportOptions {
        shapes: open
            .map(|input| (input.name.clone(), inputs[&input.name].shape().to_vec()))
            .collect(),
        ..ImportOptions::default()
    }
}

pub(crate) fn tensor(array: &golden::Array) -> Tensor {
    let shape = array.shape.clone();
    match &array.values {
        Values::F32(values) => Tensor::new(shape, values.clone()).unwrap(),
        Values::I32(values) => {
            Tensor::indices(shape, values.iter().map(|x| i64::from(*x)).collect()).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

/// As the plan of a model in which nothing is quantized.
fn planned(graph: &Graph, inputs: &[Tensor]) -> Vec<Vec<f32>> {
    let mapping = QConfigMapping::new();
    let prepared = prepare(graph, &QNNPACK, &mapping).unwrap();
    let none: [&[Tensor]; 0] = [];
    let model = convert(&calibrate(&prepared, none, |_| {}).unwrap()).unwrap();
    let lowered = lower(&model).unwrap();
    let mut session = Session::new(lowered.plan, SessionOptions::new().unwrap()).unwrap();
    for (at, input) in inputs.iter().enumerate() {
        set_input(&mut session, at, input).unwrap();
    }
    session.run().unwrap();
    let outputs = session.plan().outputs().iter();
    let (names, sizes): (Vec<String>, Vec<usize>) = outputs
        .map(|id| session.plan().tensor(*id).unwrap())
        .map(|tensor| {
            (
                tensor.name().into(),
                tensor.shape().iter().product::<usize>(),
            )
        })
        .unzip();
    assert!(
        names.iter().eq(graph.output_names()),
        "as the file: {names:?}"
    );
    sizes
        .into_iter()
        .enumerate()
        .map(|(at, size)| {
            let mut values = vec![0.0; size];
            session.output_f32(at, &mut values).unwrap();
            values
        })
        .collect()
}

/// The greatest difference over the greatest value.
fn difference(expected: &[f32], found: &[f32]) -> f32 {
    assert_eq!(expected.len(), found.len());
    let largest = expected.iter().fold(1e-6f32, |a, x| a.max(x.abs()));
    let pairs = expected.iter().zip(found);
    pairs.fold(0f32, |a, (x, y)| a.max((x - y).abs())) / largest
}

/// A model of the archive, its inputs in the graph's order, and the outputs that ONNX Runtime gave in the file's.
pub(crate) fn golden(name: &str) -> (Imported, Vec<Tensor>, Vec<Tensor>) {
    let archive = Archive::open("onnx/small.npz");
    let models = archive.meta["models"].as_array().unwrap();
    let entry = models.iter().find(|entry| entry["model"] == name).unwrap();
    let arrays = |key: &str| -> BTreeMap<String, Tensor> {
        let named = entry[key].as_object().unwrap().iter();
        named
            .map(|(name, at)| (name.clone(), tensor(archive.array(at.as_str().unwrap()))))
            .collect()
    };
    let (inputs, outputs) = (arrays("inputs"), arrays("outputs"));
    let model = model(name);
    let imported = import(&model, &options(&model, &inputs)).unwrap();
    let ordered = (imported.graph.inputs().iter())
        .map(|id| inputs[&imported.graph.value(*id).name].clone())
        .collect();
    let outputs = imported.outputs.iter().map(|name| outputs[name].clone());
    let outputs = outputs.collect();
    (imported, ordered, outputs)
}

fn answers_as_onnx_runtime(name: &str) {
    let (imported, ordered, outputs) = golden(name);
    let float = imported.graph.run(&ordered).unwrap();
    let plan = planned(&imported.graph, &ordered);
    assert!(imported.graph.output_names().eq(&imported.outputs));
    let named = imported.outputs.iter().zip(&outputs);
    for (((name, expected), float), plan) in named.zip(&float).zip(&plan) {
        let found = difference(expected.data(), float.data());
        assert!(found < 1e-4, "{name}: the graph differs by {found}");
        let found = difference(expected.data(), plan);
        assert!(found < 1e-4, "{name}: the plan differs by {found}");
    }
}

#[test]
fn convolutions_behind_pads_as_torch_exports_them() {
    for name in [
        "pads_raw",
        "pads_raw_opset11",
        "pads_unfolded",
        "pads_clean",
    ] {
        answers_as_onnx_runtime(name);
    }
}

#[test]
fn a_mobile_network() {
    answers_as_onnx_runtime("mobile_opset11");
    answers_as_onnx_runtime("mobile_opset17");
}

#[test]
fn a_transformer_with_operators_whole_and_taken_apart() {
    answers_as_onnx_runtime("transformer_opset14");
    answers_as_onnx_runtime("transformer_opset17");
}

#[test]
fn recurrent_layers() {
    answers_as_onnx_runtime("recurrent");
}

#[test]
fn a_layer_norm_and_a_gelu_are_one_node_each() {
    let model = model("transformer_opset14");
    let inputs = model.inputs.iter().map(|input| {
        let sizes = input.shape.iter().flatten();
        let sizes = sizes.map(|dim| match dim {
            Dimension::Fixed(size) => *size,
            Dimension::Named(_) => 2,
        });
        (input.name.clone(), sizes.collect())
    });
    let options = ImportOptions {
        shapes: inputs.collect(),
        ..ImportOptions::default()
    };
    let graph = import(&model, &options).unwrap().graph;
    let spelled = |name: &str| {
        graph
            .nodes()
            .iter()
            .filter(|node| node.spelling.dsl == name)
            .count()
    };
    assert!(spelled("nn::LayerNorm") > 0 && spelled("nn::GELU") > 0);
    assert_eq!(spelled("torch::erf") + spelled("torch::sqrt"), 0);
}
