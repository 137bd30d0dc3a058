//! Weights of 4 and 8 bits in float layers: models that bring them along, and those that are rounded here.

use std::collections::BTreeMap;

use qconfig_backends::QNNPACK;
use qconfig_core::Isa;
use qconfig_onnx::{
    Array, Attribute, Attributes, Data, Dimension, ElementType, ImportOptions, Imported, Input,
    Model, Node, import,
};
use qconfig_quantize::{
    Decision, Energy, ReferenceModel, Tensor, WeightOnly, adopt, lower, report, sensitivity,
    set_input, weight_only,
};
use qconfig_runtime::{Session, SessionOptions};

use crate::onnx_models::golden;

/// What a plan of the model answers, and how many of its steps are weight-only layers.
fn planned(
    imported: &Imported,
    reference: &ReferenceModel,
    inputs: &[Tensor],
) -> (Vec<Vec<f32>>, usize) {
    let lowered = lower(reference).unwrap();
    let steps = lowered.plan.steps().iter();
    let count = steps.filter(|step| step.kernel().name == "weight_only_linear");
    let count = count.count();
    let rounded = (reference.decisions().iter())
        .filter(|decision| matches!(decision, Decision::WeightOnly(_)));
    assert_eq!(count, rounded.count());
    let options = SessionOptions::with_isa(Isa::detect());
    let mut session = Session::new(lowered.plan, options).unwrap();
    for (at, input) in inputs.iter().enumerate() {
        set_input(&mut session, at, input).unwrap();
    }
    session.run().unwrap();
    let sizes = imported.graph.outputs().iter();
    let sizes = sizes.map(|id| imported.graph.value(*id).shape.iter().product());
    let outputs = sizes.enumerate().map(|(at, size)| {
        let mut values = vec![0.0; size];
        session.output_f32(at, &mut values).unwrap();
        values
    });
    (outputs.collect(), count)
}

#[test]
fn models_with_weights_of_4_bits_answer_as_onnx_runtime() {
    for form in [
        "int4",
        "int4_zero_points",
        "int4_qdq",
        "int4_qdq_zero_points",
    ] {
        let name = format!("transformer_{form}");
        let (imported, inputs, outputs) = golden(&name);
        assert!(imported.is_quantized(), "{name}");
        assert_eq!(imported.given.blocks.len(), 4, "{name}");
        for weight in imported.given.blocks.values() {
            let zero_points = form.ends_with("zero_points");
            let expected = WeightOnly {
                block: Some(16),
                zero_points,
                ..WeightOnly::FOUR_BITS
            };
            assert_eq!(weight.how(), expected, "{name}");
        }
        let reference = adopt(&imported.graph, &QNNPACK, &imported.given);
        let (found, count) = planned(&imported, &reference, &inputs);
        assert_eq!(count, 4, "{name}");
        for (expected, found) in outputs.iter().zip(&found) {
            let pairs = expected.data().iter().zip(found);
            let apart = pairs.fold(0f32, |most, (a, b)| most.max((a - b).abs()));
            println!("{name}: at most {apart:e} apart");
            assert!(apart < 1e-5, "{name}: {apart}");
        }
    }
}

/// A product with its weight in every form that ONNX has.
fn product(signed: bool, bits: u32, form: usize, [k, n]: [usize; 2], seed: u64) -> Model {
    let mut state = seed;
    let mut random = move || {
        state = state
            .wrapping_mul(0x5851_F42D_4C95_7F2D)
            .wrapping_add(0x1405_7B7E_F767_814F);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let levels = 1 << bits;
    let mut integers = |shape: Vec<usize>| {
        let count: usize = shape.iter().product();
        let q: Vec<i32> = (0..count)
            .map(|_| (random() * levels as f32) as i32)
            .collect();
        let data = match (bits, signed) {
            (4, true) => Data::Int4(q.iter().map(|q| (q - 8) as i8).collect()),
            (4, false) => Data::UInt4(q.iter().map(|q| *q as u8).collect()),
            (_, true) => Data::Int8(q.iter().map(|q| (q - 128) as i8).collect()),
            (_, false) => Data::UInt8(q.iter().map(|q| *q as u8).collect()),
        };
        Array::new(shape, data).unwrap()
    };
    // [K, N], [N, K] of a Gemm; in blocks, per output, one scale
    let (transposed, blocked, single) = (form % 2 == 1, form / 2 == 0, form / 2 == 2);
    let shape = if transposed { vec![n, k] } else { vec![k, n] };
    let inner = usize::from(transposed);
    let mut parameters = shape.clone();
    parameters[inner] = k.div_ceil(32);
    let parameters = match (blocked, single) {
        (true, _) => parameters,
        (false, true) => vec![],
        (false, false) => vec![n],
    };
    let weight = integers(shape);
    let zero_points = integers(parameters.clone());
    let count: usize = parameters.iter().product();
    let scales = (0..count)
        .map(|at| 0.01 + 0.001 * (at % 7) as f32)
        .collect();
    let scales = Array::new(parameters, Data::Float32(scales)).unwrap();
    let int = |name: &str, value: usize| (name.to_owned(), Attribute::Int(value as i64));
    let axis = if blocked { inner } else { 1 - inner };
    let node = |op_type: &str, inputs: &[&str], output: &str, attributes: Attributes| Node {
        name: output.into(),
        op_type: op_type.into(),
        domain: String::new(),
        inputs: inputs.iter().map(|name| (*name).to_owned()).collect(),
        outputs: vec![output.into()],
        attributes,
    };
    let blocks = Attributes::from([
        int("axis", axis),
        int("block_size", if blocked { 32 } else { 0 }),
    ]);
    let mut nodes = vec![node("DequantizeLinear", &["w", "s", "z"], "f", blocks)];
    nodes.push(match transposed {
        true => node(
            "Gemm",
            &["x", "f"],
            "y",
            Attributes::from([int("transB", 1)]),
        ),
        false => node("MatMul", &["x", "f"], "y", Attributes::default()),
    });
    Model {
        opset: 21,
        inputs: vec![Input {
            name: "x".into(),
            element_type: Some(ElementType::Float32),
            shape: Some(vec![Dimension::Fixed(3), Dimension::Fixed(k)]),
        }],
        outputs: vec!["y".into()],
        nodes,
        initializers: BTreeMap::from([
            ("w".to_owned(), weight),
            ("s".to_owned(), scales),
            ("z".to_owned(), zero_points),
        ]),
        ..Model::default()
    }
}

#[test]
fn every_form_of_a_dequantized_weight_is_a_weight_only_layer() {
    for case in 0..48 {
        let (signed, bits, form) = (
            case % 2 == 0,
            if case / 2 % 2 == 0 { 4 } else { 8 },
            case / 4 % 6,
        );
        let (k, n) = (17 + case * 5, 3 + case);
        let model = product(signed, bits, form, [k, n], case as u64 + 1);
        let x: Vec<f32> = (0..3 * k).map(|at| (at as f32 * 0.3).sin()).collect();
        let given = Array::new(vec![3, k], Data::Float32(x.clone())).unwrap();
        let expected = model
            .run(&BTreeMap::from([("x".to_owned(), given)]))
            .unwrap();
        let expected = expected[0].to_f32().unwrap();
        let imported = import(&model, &ImportOptions::default()).unwrap();
        let reference = adopt(&imported.graph, &QNNPACK, &imported.given);
        let inputs = [Tensor::new(vec![3, k], x).unwrap()];
        let (found, count) = planned(&imported, &reference, &inputs);
        assert_eq!(count, 1, "case {case}");
        let largest = expected.iter().fold(1f32, |most, x| most.max(x.abs()));
        for (a, b) in expected.iter().zip(&found[0]) {
            assert!((a - b).abs() <= 1e-5 * largest, "case {case}: {a} {b}");
        }
    }
}

/// Rounding the weights of a transformer: the plan is the reference model, and more bits are nearer to float.
#[test]
fn weights_are_rounded_and_reported() {
    let (imported, inputs, _) = golden("transformer_opset17");
    let float = imported.graph.run(&inputs).unwrap();
    let mut found = Vec::new();
    for how in [
        WeightOnly {
            block: Some(64),
            ..WeightOnly::FOUR_BITS
        },
        WeightOnly {
            block: Some(16),
            ..WeightOnly::FOUR_BITS
        },
        WeightOnly {
            block: Some(16),
            zero_points: true,
            ..WeightOnly::FOUR_BITS
        },
        WeightOnly::EIGHT_BITS,
        WeightOnly {
            block: Some(16),
            zero_points: true,
            ..WeightOnly::EIGHT_BITS
        },
    ] {
        let reference = weight_only(&imported.graph, &QNNPACK, how, |_| false);
        let (plan, count) = planned(&imported, &reference, &inputs);
        assert_eq!(count, 4, "{how}");
        let simulated = reference.run(&inputs).unwrap();
        let apart = (simulated[0].data().iter().zip(&plan[0]))
            .fold(0f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(
            apart < 1e-5,
            "{how}: the plan is {apart} from the reference"
        );
        let mut energy = Energy::default();
        let plan = Tensor::new(float[0].shape().to_vec(), plan[0].clone()).unwrap();
        energy.add(&float[0], &plan);
        // layer by layer too
        let lowered = lower(&reference).unwrap();
        let options = SessionOptions {
            keep_all: true,
            ..SessionOptions::with_isa(Isa::detect())
        };
        let mut session = Session::new(lower(&reference).unwrap().plan, options).unwrap();
        let rows = report(&reference, &lowered, &mut session, [&inputs[..]]).unwrap();
        let rows: Vec<_> = rows
            .iter()
            .filter(|row| row.kernel.starts_with("weight_only"))
            .collect();
        assert!(rows.len() == 4 && rows.iter().all(|row| row.sqnr_db > 10.0));
        let layers = sensitivity(&reference, [&inputs], |_| {}).unwrap();
        assert_eq!(layers.len(), 4, "{how}");
        println!("{how}: {:.1} dB", energy.db());
        found.push(energy.db());
    }
    assert!(found.is_sorted(), "{found:?}");
    let float = |name: &str| name.contains("wide");
    let reference = weight_only(&imported.graph, &QNNPACK, WeightOnly::FOUR_BITS, float);
    assert_eq!(planned(&imported, &reference, &inputs).1, 3);
}
