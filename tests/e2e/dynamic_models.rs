//! Models that ONNX Runtime quantized as they come (`quantize_dynamic`): their products run on the dynamic kernel,
//! within one step of the input of what the operators of the file say.

use std::collections::BTreeMap;

use qconfig_backends::QNNPACK;
use qconfig_core::Isa;
use qconfig_onnx::{
    Array, Attribute, Attributes, Data, Dimension, ElementType, ImportOptions, Input, Model, Node,
    import,
};
use qconfig_quantize::{Decision, Energy, Tensor, adopt, lower, set_input};
use qconfig_runtime::{Session, SessionOptions};
use qconfig_tests::golden::Archive;

use crate::onnx_models::{model, options, tensor};

/// What a plan answers, and its steps' kernels by node.
fn planned(
    model: &Model,
    options: &ImportOptions,
    inputs: &BTreeMap<String, Tensor>,
) -> (Vec<Vec<f32>>, BTreeMap<String, &'static str>) {
    let imported = import(model, options).unwrap();
    assert!(imported.is_quantized());
    let reference = adopt(&imported.graph, &QNNPACK, &imported.given);
    let dynamic = reference.decisions().iter().filter(
        |decision| matches!(decision, Decision::Quantized(quantized) if !quantized.is_static()),
    );
    let count = dynamic.count();
    let lowered = lower(&reference).unwrap();
    let steps = lowered.plan.steps().iter();
    let kernels: BTreeMap<String, &str> = steps
        .map(|step| (step.name().to_owned(), step.kernel().name))
        .collect();
    let found = kernels
        .values()
        .filter(|name| **name == "q8_linear_dynamic");
    assert_eq!(found.count(), count);
    let options = SessionOptions::with_isa(Isa::detect());
    let mut session = Session::new(lowered.plan, options).unwrap();
    for (at, id) in imported.graph.inputs().iter().enumerate() {
        let name = &imported.graph.value(*id).name;
        set_input(&mut session, at, &inputs[name]).unwrap();
    }
    session.run().unwrap();
    let sizes: Vec<usize> = (session.plan().outputs().iter())
        .map(|id| session.plan().tensor(*id).unwrap().shape().iter().product())
        .collect();
    let outputs = sizes.into_iter().enumerate().map(|(at, size)| {
        let mut values = vec![0.0; size];
        session.output_f32(at, &mut values).unwrap();
        values
    });
    (outputs.collect(), kernels)
}

fn answers_near(name: &str, kernels: usize, least_db: f64) {
    let archive = Archive::open("onnx/small.npz");
    let models = archive.meta["models"].as_array().unwrap();
    let entry = models.iter().find(|entry| entry["model"] == name).unwrap();
    let arrays = |key: &str| -> Vec<(String, Tensor)> {
        let named = entry[key].as_object().unwrap().iter();
        named
            .map(|(name, at)| (name.clone(), tensor(archive.array(at.as_str().unwrap()))))
            .collect()
    };
    let inputs: BTreeMap<String, Tensor> = arrays("inputs").into_iter().collect();
    let model = model(name);
    let (found, steps) = planned(&model, &options(&model, &inputs), &inputs);
    let dynamic = steps.values().filter(|name| **name == "q8_linear_dynamic");
    assert_eq!(dynamic.count(), kernels, "{name}: {steps:?}");
    for ((output, expected), found) in arrays("outputs").iter().zip(&found) {
        let mut energy = Energy::default();
        let found = Tensor::new(expected.shape().to_vec(), found.clone()).unwrap();
        energy.add(expected, &found);
        let equal =
            (expected.data().iter().zip(found.data())).filter(|(a, b)| (*a - *b).abs() < 1e-5);
        println!(
            "{name} {output}: {:.1} dB, {} of {} within 1e-5",
            energy.db(),
            equal.count(),
            expected.data().len()
        );
        assert!(energy.db() > least_db, "{name} {output}: {}", energy.db());
    }
}

#[test]
fn a_transformer_quantized_as_it_comes_answers_as_onnx_runtime() {
    for name in ["s8", "u8", "s8_per_channel"] {
        answers_near(&format!("transformer_dynamic_{name}"), 4, 100.0);
    }
}

/// Convolutions have no dynamic kernel and run on floats, so that only the rounding of their inputs is missing.
#[test]
fn convolutions_quantized_as_they_come_run_on_floats() {
    answers_near("pads_dynamic_u8", 1, 30.0);
}

fn node(op_type: &str, inputs: &[&str], outputs: &[&str]) -> Node {
    Node {
        name: format!("{op_type}:{}", outputs[0]),
        op_type: op_type.into(),
        domain: String::new(),
        inputs: inputs.iter().map(|name| (*name).to_owned()).collect(),
        outputs: outputs.iter().map(|name| (*name).to_owned()).collect(),
        attributes: Attributes::default(),
    }
}

/// A product as `quantize_dynamic` writes it, or as ONNX Runtime's optimizer does.
fn product(form: usize, weight: [Array; 3], bias: Option<Array>, shape: &[usize]) -> Model {
    let [w, scale, zero_point] = weight;
    let cast = Node {
        attributes: Attributes::from([("to".to_owned(), Attribute::Int(1))]),
        ..node("Cast", &["sum"], &["float"])
    };
    let quantized = node("DynamicQuantizeLinear", &["x"], &["q", "s", "z"]);
    let microsoft = |node: Node| Node {
        domain: "com.microsoft".into(),
        ..node
    };
    let mut nodes = match form {
        0 | 1 => vec![
            quantized,
            node("MatMulInteger", &["q", "w", "z", "wz"], &["sum"]),
            cast,
            node(
                "Mul",
                if form == 0 {
                    &["s", "ws"]
                } else {
                    &["ws", "s"]
                },
                &["scales"],
            ),
            node(
                "Mul",
                if form == 0 {
                    &["float", "scales"]
                } else {
                    &["scales", "float"]
                },
                &["y"],
            ),
        ],
        2 => vec![
            quantized,
            microsoft(node(
                "MatMulIntegerToFloat",
                &["q", "w", "s", "ws", "z", "wz"],
                &["y"],
            )),
        ],
        _ => vec![microsoft(node(
            "DynamicQuantizeMatMul",
            &["x", "w", "ws", "wz"],
            &["y"],
        ))],
    };
    let mut initializers = BTreeMap::from([
        ("w".to_owned(), w),
        ("ws".to_owned(), scale),
        ("wz".to_owned(), zero_point),
    ]);
    let mut output = "y";
    if let Some(bias) = bias {
        initializers.insert("b".into(), bias);
        match form {
            0 | 1 => {
                nodes.push(node("Add", &["y", "b"], &["sum_b"]));
                output = "sum_b";
            }
            _ => {
                let last = nodes.last_mut().unwrap();
                last.inputs.push("b".into());
            }
        }
    }
    Model {
        opset: 17,
        inputs: vec![Input {
            name: "x".into(),
            element_type: Some(ElementType::Float32),
            shape: Some(shape.iter().map(|size| Dimension::Fixed(*size)).collect()),
        }],
        outputs: vec![output.into()],
        nodes,
        initializers,
        ..Model::default()
    }
}

#[test]
fn every_form_of_a_dynamic_product_is_within_a_step_of_its_input() {
    let mut state = 7u64;
    let mut random = || {
        state = state
            .wrapping_mul(0x5851_F42D_4C95_7F2D)
            .wrapping_add(0x1405_7B7E_F767_814F);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let (mut equal, mut all, mut steps) = (0usize, 0usize, 0usize);
    for case in 0..240 {
        let (form, signed, per_axis, biased) = (
            case % 4,
            case / 4 % 2 == 0,
            case / 8 % 2 == 0,
            case / 16 % 2 == 0,
        );
        let (k, n) = (
            1 + (random() * 70.0) as usize,
            1 + (random() * 40.0) as usize,
        );
        let rows = 1 + (random() * 5.0) as usize;
        let bytes: Vec<u8> = (0..k * n).map(|_| (random() * 256.0) as u8).collect();
        let count = if per_axis { n } else { 1 };
        let scales: Vec<f32> = (0..count).map(|_| 0.001 + 0.01 * random()).collect();
        let zeros: Vec<u8> = (0..count).map(|_| (random() * 256.0) as u8).collect();
        let shape = if per_axis { vec![n] } else { vec![] };
        let array = |bytes: &[u8], shape: Vec<usize>| {
            let data = match signed {
                true => Data::Int8(bytes.iter().map(|b| (b ^ 128) as i8).collect()),
                false => Data::UInt8(bytes.to_vec()),
            };
            Array::new(shape, data).unwrap()
        };
        let weight = [
            array(&bytes, vec![k, n]),
            Array::new(shape.clone(), Data::Float32(scales.clone())).unwrap(),
            array(&zeros, shape),
        ];
        let bias =
            biased.then(|| Array::vector((0..n).map(|_| random() - 0.5).collect::<Vec<f32>>()));
        let shape = [rows, k];
        let model = product(form, weight, bias, &shape);
        // at times all on one side of zero, or nothing but zeros
        let low = [0.3, 0.0, 1.0][case / 32 % 3];
        let x: Vec<f32> = (0..rows * k)
            .map(|_| {
                if case % 50 == 49 {
                    0.0
                } else {
                    4.0 * (random() - low)
                }
            })
            .collect();
        let given = Array::new(shape.to_vec(), Data::Float32(x.clone())).unwrap();
        let expected = model
            .run(&BTreeMap::from([("x".to_owned(), given)]))
            .unwrap();
        let expected = expected[0].to_f32().unwrap();
        let inputs = [(
            "x".to_owned(),
            Tensor::new(shape.to_vec(), x.clone()).unwrap(),
        )];
        let (found, kernels) = planned(&model, &ImportOptions::default(), &inputs.into());
        assert!(
            kernels.values().any(|name| *name == "q8_linear_dynamic"),
            "{kernels:?}"
        );
        let (least, most) = x
            .iter()
            .fold((0f32, 0f32), |(a, b), x| (a.min(*x), b.max(*x)));
        let step = (most - least) / 255.0;
        for (at, (expected, found)) in expected.iter().zip(&found[0]).enumerate() {
            let column = at % n;
            let (scale, zero) = (scales[column % count], f32::from(zeros[column % count]));
            let column = bytes.iter().skip(column).step_by(n);
            let magnitude: f32 = column.map(|b| (f32::from(*b) - zero).abs() * scale).sum();
            let apart = (expected - found).abs();
            assert!(
                apart <= 1.001 * step * magnitude + 1e-5,
                "case {case}: {expected} {found}"
            );
            let rounding = 1e-5 * (most - least).max(1.0) * magnitude.max(1.0);
            all += 1;
            equal += usize::from(apart <= rounding);
            steps += usize::from(apart > rounding);
        }
    }
    println!("{equal} of {all} outputs within rounding, {steps} differ by steps of the input");
    assert!(equal * 100 >= all * 99);
}

/// A product whose right operand is no matrix is one of two activations, on floats.
#[test]
fn a_dynamic_product_without_a_kernel_runs_on_floats() {
    let weight = [
        Array::new(vec![2, 3, 4], Data::Int8((0..24).map(|x| x - 12).collect())).unwrap(),
        Array::scalar(0.05f32),
        Array::scalar(3i8),
    ];
    let model = product(0, weight, None, &[2, 5, 3]);
    let x: Vec<f32> = (0..30).map(|x| (x as f32 * 0.7).sin()).collect();
    let given = Array::new(vec![2, 5, 3], Data::Float32(x.clone())).unwrap();
    let expected = model
        .run(&BTreeMap::from([("x".to_owned(), given)]))
        .unwrap();
    let inputs = [("x".to_owned(), Tensor::new(vec![2, 5, 3], x).unwrap())];
    let (found, kernels) = planned(&model, &ImportOptions::default(), &inputs.into());
    assert!(
        kernels.values().all(|name| *name != "q8_linear_dynamic"),
        "{kernels:?}"
    );
    for (a, b) in expected[0].to_f32().unwrap().iter().zip(&found[0]) {
        // half a step of the input for each of three weights of at most 15 steps of 0.05
        assert!(
            (a - b).abs() <= 0.5 * (2.0 / 255.0) * 3.0 * 0.75 + 1e-5,
            "{a} {b}"
        );
    }
}
