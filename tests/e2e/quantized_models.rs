//! Models that ONNX Runtime's quantizer made, run here with the scales they bring along: layer by layer
//! on ONNX Runtime's own inner values, and end to end.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use qconfig_backends::QNNPACK;
use qconfig_core::Isa;
use qconfig_core::{QConfig, QConfigMapping};
use qconfig_onnx::{
    Array, Attributes, Dimension, ElementType, ImportOptions, Imported, Input, Model, Node, export,
    import, read, write,
};
use qconfig_quantize::{
    LowerError, Lowered, QuantizedWeight, ReferenceModel, Tensor, adopt, calibrate, convert, fuse,
    lower, prepare,
};
use qconfig_runtime::{Session, SessionOptions};
use qconfig_tests::golden::{self, Archive, Values};
use serde_json::Value;

fn model(name: &str) -> Model {
    let file = std::fs::File::open(golden::path(&format!("onnx/{name}.onnx.gz"))).unwrap();
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(file)
        .read_to_end(&mut bytes)
        .unwrap();
    read(&bytes).unwrap()
}

fn imported(model: &Model) -> Imported {
    import(model, &ImportOptions::default()).unwrap()
}

fn lowered(model: &Model) -> Result<Lowered, LowerError> {
    let imported = imported(model);
    lower(&adopt(&imported.graph, &QNNPACK, &imported.given))
}

fn session(lowered: Lowered) -> Session<'static> {
    Session::new(lowered.plan, SessionOptions::with_isa(Isa::detect())).unwrap()
}

/// Numbers of an array from `from` on.
fn numbers(array: &golden::Array) -> Vec<i64> {
    match &array.values {
        Values::U8(values) => values.iter().map(|x| i64::from(*x)).collect(),
        Values::I8(values) => values.iter().map(|x| i64::from(*x)).collect(),
        other => panic!("{other:?} are not 8 bits"),
    }
}

/// The pixels of the evaluation images of `examples/data`, as the golden data has them.
fn digits() -> Vec<Vec<f32>> {
    let data = golden::path("../../examples/data/digits.npz");
    let arrays = golden::arrays(&data);
    let images = arrays["eval_images"].u8().chunks_exact(784).take(100);
    let pixel = |x: &u8| (f32::from(*x) / 255.0 - 0.1307) / 0.3081;
    images
        .map(|image| image.iter().map(pixel).collect())
        .collect()
}

/// Scale and zero point of an 8-bit value, as the initializers that hold them.
fn parameters(model: &Model, value: &str) -> [String; 2] {
    let made = |node: &&Node| node.outputs.iter().any(|output| output == value);
    let node = model.nodes.iter().find(made).unwrap();
    let at = match node.op_type.as_str() {
        "QuantizeLinear" => 1,
        "QLinearConv" | "QLinearAdd" | "QLinearMul" | "QLinearMatMul" => 6,
        "QGemm" => 7,
        "QLinearConcat" => 0,
        other if other.starts_with("QLinear") => 3,
        _ => return parameters(model, &node.inputs[0]),
    };
    [node.inputs[at].clone(), node.inputs[at + 1].clone()]
}

/// One layer: what lies between an 8-bit value and those that it is made of.
struct Layer {
    model: Model,
    sources: Vec<String>,
    operator: String,
}

fn layer(model: &Model, value: &str, entry: &Value, archive: &Archive) -> Option<Layer> {
    let inner = entry["values"].as_object().unwrap();
    let (mut wanted, mut seen) = (vec![value.to_owned()], BTreeSet::new());
    let (mut positions, mut sources) = (BTreeSet::new(), Vec::new());
    while let Some(name) = wanted.pop() {
        if !seen.insert(name.clone()) || model.initializers.contains_key(&name) || name.is_empty() {
            continue;
        }
        if name != value && inner.contains_key(&name) {
            sources.push(name);
            continue;
        }
        let made = |node: &Node| node.outputs.contains(&name);
        // what begins at an input of the whole model is no layer
        let at = model.nodes.iter().position(made)?;
        positions.insert(at);
        wanted.extend(model.nodes[at].inputs.iter().cloned());
    }
    let node = |op_type: &str, inputs: Vec<String>, output: String| Node {
        name: format!("{output}:{op_type}"),
        op_type: op_type.into(),
        domain: String::new(),
        inputs,
        outputs: vec![output],
        attributes: Attributes::default(),
    };
    let mut nodes = Vec::new();
    let mut inputs = Vec::new();
    for source in &sources {
        let [scale, zero_point] = parameters(model, source);
        let name = format!("{source}#float");
        let array = archive.array(inner[source].as_str().unwrap());
        let sizes = [&[1], &array.shape[1..]].concat();
        inputs.push(Input {
            name: name.clone(),
            element_type: Some(ElementType::Float32),
            shape: Some(sizes.into_iter().map(Dimension::Fixed).collect()),
        });
        nodes.push(node(
            "QuantizeLinear",
            vec![name, scale, zero_point],
            source.clone(),
        ));
    }
    nodes.extend(positions.iter().map(|at| model.nodes[*at].clone()));
    let moved = ["QuantizeLinear", "DequantizeLinear"];
    let operators = positions.iter().map(|at| &model.nodes[*at].op_type);
    let operators: Vec<&str> = operators
        .map(String::as_str)
        .filter(|op| !moved.contains(op))
        .collect();
    let [scale, zero_point] = parameters(model, value);
    let result = format!("{value}#float");
    nodes.push(node(
        "DequantizeLinear",
        vec![value.into(), scale, zero_point],
        result.clone(),
    ));
    Some(Layer {
        model: Model {
            inputs,
            outputs: vec![result],
            nodes,
            ..model.clone()
        },
        sources,
        operator: operators.join("+"),
    })
}

fn pair(model: &Model, value: &str) -> (f32, i64) {
    let [scale, zero_point] = parameters(model, value);
    let number = |name: &str| -> &Array { &model.initializers[name] };
    let scale = number(&scale).to_f32().unwrap()[0];
    (scale, number(&zero_point).to_i64().unwrap()[0])
}

/// What a layer did against what ONNX Runtime did.
#[derive(Default)]
struct Seen {
    equal: usize,
    all: usize,
    most: i64,
}

/// Runs every layer of a model on ONNX Runtime's inner values; by operator. Layers that stay float are
/// counted by the second.
fn layers(name: &str, archive: &Archive) -> (BTreeMap<String, Seen>, usize) {
    let models = archive.meta["models"].as_array().unwrap();
    let entry = models.iter().find(|entry| entry["model"] == name).unwrap();
    let model = model(name);
    let (mut seen, mut float) = (BTreeMap::<String, Seen>::new(), 0);
    for (value, key) in entry["values"].as_object().unwrap() {
        let Some(layer) = layer(&model, value, entry, archive) else {
            continue;
        };
        let plan = match lowered(&layer.model) {
            Ok(plan) => plan,
            Err(LowerError::Float { .. }) => {
                float += 1;
                continue;
            }
            Err(error) => panic!("{name}: {value}: {error}"),
        };
        let mut session = session(plan);
        let expected = archive.array(key.as_str().unwrap());
        let sources: Vec<_> = (layer.sources.iter())
            .map(|source| {
                let key = entry["values"][source].as_str().unwrap();
                (pair(&model, source), numbers(archive.array(key)))
            })
            .collect();
        let (scale, zero_point) = pair(&model, value);
        let seen = seen.entry(layer.operator.clone()).or_default();
        let count = expected.shape[0];
        let expected = numbers(expected);
        let mut output = vec![0.0f32; expected.len() / count];
        for (sample, expected) in expected.chunks_exact(output.len()).enumerate() {
            for (at, ((scale, zero_point), values)) in sources.iter().enumerate() {
                let len = values.len() / count;
                let floats: Vec<f32> = values[sample * len..][..len]
                    .iter()
                    .map(|q| scale * (q - zero_point) as f32)
                    .collect();
                session.set_input_f32(at, &floats).unwrap();
            }
            session.run().unwrap();
            session.output_f32(0, &mut output).unwrap();
            for (x, expected) in output.iter().zip(expected) {
                let found = (x / scale).round() as i64 + zero_point;
                seen.all += 1;
                seen.equal += usize::from(found == *expected);
                seen.most = seen.most.max((found - expected).abs());
            }
        }
    }
    (seen, float)
}

fn check_layers(name: &str, archive: &Archive, float_layers: usize) {
    let (seen, float) = layers(name, archive);
    for (operator, Seen { equal, all, most }) in &seen {
        let share = 100.0 * *equal as f64 / *all as f64;
        println!("{name} {operator}: {equal} of {all} equal ({share:.3} %), at most {most} apart");
        assert!(*most <= 1, "{name} {operator}");
        assert!(share >= 99.5, "{name} {operator}");
    }
    assert_eq!(float, float_layers, "{name}");
}

#[test]
fn layers_of_digits_answer_as_onnx_runtime() {
    let archive = Archive::open("onnx/digits.npz");
    check_layers("digits_qdq", &archive, 0);
    check_layers("digits_qoperator", &archive, 0);
}

#[test]
fn layers_of_small_models_answer_as_onnx_runtime() {
    let archive = Archive::open("onnx/small.npz");
    for name in [
        "pads_qdq_u8",
        "pads_qdq_s8",
        "pads_qdq_s8_symmetric_per_tensor",
        "pads_qoperator_u8",
        "pads_qoperator_s8",
        "pads_qoperator_u8_per_tensor",
    ] {
        check_layers(name, &archive, 0);
    }
}

fn best(values: &[f32]) -> usize {
    let pairs = values.iter().enumerate();
    pairs.max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0
}

#[test]
fn digits_end_to_end_have_onnx_runtimes_top_1() {
    let archive = Archive::open("onnx/digits.npz");
    let images = digits();
    for name in ["digits_qdq", "digits_qoperator"] {
        let models = archive.meta["models"].as_array().unwrap();
        let entry = models.iter().find(|entry| entry["model"] == name).unwrap();
        let logits = archive.array(entry["outputs"]["logits"].as_str().unwrap());
        let mut session = session(lowered(&model(name)).unwrap());
        let plan = session.plan();
        assert_eq!(plan.tensor(plan.outputs()[0]).unwrap().name(), "logits");
        let (mut output, mut equal) = ([0.0f32; 10], 0);
        for (image, expected) in images.iter().zip(logits.f32().chunks_exact(10)) {
            session.set_input_f32(0, image).unwrap();
            session.run().unwrap();
            session.output_f32(0, &mut output).unwrap();
            assert_eq!(best(&output), best(expected), "{name}");
            equal += output.iter().zip(expected).filter(|(a, b)| a == b).count();
        }
        println!("{name}: {equal} of {} logits equal", images.len() * 10);
    }
}

/// What a session answers to each input.
fn answers(mut session: Session<'static>, inputs: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let output = session.plan().outputs()[0];
    let len = session
        .plan()
        .tensor(output)
        .unwrap()
        .shape()
        .iter()
        .product();
    let run = |input: &Vec<f32>| {
        let mut output = vec![0.0; len];
        session.set_input_f32(0, input).unwrap();
        session.run().unwrap();
        session.output_f32(0, &mut output).unwrap();
        output
    };
    inputs.iter().map(run).collect()
}

/// Writes a model as ONNX and reads it.
fn written(model: &ReferenceModel) -> ReferenceModel {
    let written = write(&export(model, &["answer".into()]).unwrap()).unwrap();
    let again = imported(&read(&written).unwrap());
    assert_eq!(again.outputs, ["answer"]);
    adopt(&again.graph, &QNNPACK, &again.given)
}

fn weights(model: &ReferenceModel) -> Vec<QuantizedWeight> {
    let nodes = 0..model.graph().nodes().len();
    nodes.filter_map(|at| model.weight(at).cloned()).collect()
}

/// Writes a model as ONNX and reads it again, twice: it must have the same weights, and answer the same
/// bits. A model that was not read has factors whose last bit may be another: now and then a value is
/// rounded to the next step, and at most one in a hundred outputs is a step away.
fn check_written(name: &str, model: &ReferenceModel, inputs: &[Vec<f32>]) {
    let (once, twice) = (written(model), written(&written(model)));
    assert!(!weights(model).is_empty(), "{name}");
    for read in [&once, &twice] {
        assert!(
            weights(model) == weights(read),
            "{name}: the weights are others"
        );
    }
    let [before, once, twice] =
        [model, &once, &twice].map(|model| answers(session(lower(model).unwrap()), inputs));
    assert_eq!(once, twice, "{name}");
    let pairs = before.iter().flatten().zip(once.iter().flatten());
    let other = pairs.filter(|(a, b)| a != b).count();
    println!(
        "{name}: {other} of {} outputs are others",
        before.len() * before[0].len()
    );
    assert!(other * 100 <= before.len() * before[0].len(), "{name}");
    for (before, once) in before.iter().zip(&once) {
        assert_eq!(best(before), best(once), "{name}");
    }
}

#[test]
fn what_is_written_answers_the_same_when_read_again() {
    for name in ["digits_qdq", "digits_qoperator"] {
        let found = imported(&model(name));
        let model = adopt(&found.graph, &QNNPACK, &found.given);
        check_written(name, &model, &digits());
    }
    let archive = Archive::open("onnx/small.npz");
    let models = archive.meta["models"].as_array().unwrap();
    let images = |name: &str| -> Vec<Vec<f32>> {
        let entry = models.iter().find(|entry| entry["model"] == name).unwrap();
        let array = archive.array(entry["inputs"]["input"].as_str().unwrap());
        let len = array.f32().len() / array.shape[0];
        array.f32().chunks_exact(len).map(<[f32]>::to_vec).collect()
    };
    for name in [
        "pads_qdq_u8",
        "pads_qdq_s8_symmetric_per_tensor",
        "pads_qoperator_u8_per_tensor",
    ] {
        let found = imported(&model(name));
        let model = adopt(&found.graph, &QNNPACK, &found.given);
        check_written(name, &model, &images(name));
    }
    for (name, qconfig) in [
        (
            "digits_float",
            QConfig::DEFAULT_PER_CHANNEL_SYMMETRIC_QNNPACK,
        ),
        ("digits_float", QConfig::QNNPACK),
        ("pads_clean", QConfig::DEFAULT_PER_CHANNEL_SYMMETRIC_QNNPACK),
        ("pads_clean", QConfig::QNNPACK),
    ] {
        let found = imported(&model(name));
        let shape = &found.graph.value(found.graph.inputs()[0]).shape;
        let inputs = match name {
            "digits_float" => digits(),
            _ => images(name),
        };
        let samples = inputs
            .iter()
            .take(20)
            .map(|input| [Tensor::new(shape.clone(), input.clone()).unwrap()]);
        let mapping = QConfigMapping::new().global(Some(qconfig));
        let prepared = prepare(&fuse(&found.graph, &QNNPACK), &QNNPACK, &mapping).unwrap();
        let model = convert(&calibrate(&prepared, samples, |_| {}).unwrap()).unwrap();
        check_written(name, &model, &inputs);
    }
}
