//! The networks for measuring, on small images: every layer runs on an integer kernel and gives what
//! the reference model gives for the same inputs, to one quantization step.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::slice;

use qconfig::kernel::{Activation, QParams};
use qconfig::quantize::{
    Decision, GraphBuilder, Lowered, Node, Op, ReferenceModel, Tensor, ValueId, sqnr_db,
};
use qconfig::runtime::{Session, SessionOptions};
use qconfig::{DType, Isa};
use qconfig_benches::nets;

/// Side of the images.
const SIZE: usize = 64;

fn qparams(model: &ReferenceModel, value: ValueId) -> QParams {
    model.qparams(value, DType::quint8).unwrap()
}

/// `value` as the plan holds it in eight bits.
fn quantized(tensor: &Tensor, QParams { scale, zero_point }: QParams) -> Vec<f32> {
    let steps = |x: &f32| (x * (1.0 / scale)).round_ties_even() + zero_point as f32;
    tensor
        .data()
        .iter()
        .map(|x| steps(x).clamp(0.0, 255.0))
        .collect()
}

/// What the plan holds of a value, in real numbers; or would, where the step that makes it goes on to clamp
/// it.
fn held(
    model: &ReferenceModel,
    lowered: &Lowered,
    session: &Session<'_>,
    value: ValueId,
) -> Tensor {
    let tensor = lowered.read(session, value).unwrap().unwrap_or_else(|| {
        let mut nodes = model.graph().nodes().iter();
        let at = nodes.position(|node| node.output == value).unwrap();
        expected(model, lowered, session, at)
    });
    let params = qparams(model, value);
    let real = |q: f32| params.scale * (q - params.zero_point as f32);
    let values = quantized(&tensor, params).into_iter().map(real).collect();
    Tensor::new(tensor.shape().to_vec(), values).unwrap()
}

/// One node of the reference model, in float, on what the plan holds of its inputs.
fn expected(model: &ReferenceModel, lowered: &Lowered, session: &Session<'_>, at: usize) -> Tensor {
    let node = &model.graph().nodes()[at];
    let mut op = node.op.clone();
    if let Some(weight) = model.weight(at) {
        match &mut op {
            Op::Conv(conv) => conv.weight = weight.dequantize(),
            Op::Linear(linear) => linear.weight = weight.dequantize(),
            other => panic!("{other:?} has a weight"),
        }
    }
    let mut alone = GraphBuilder::new();
    let (mut ids, mut inputs) = (Vec::new(), Vec::new());
    for (at, value) in node.inputs.iter().enumerate() {
        let tensor = held(model, lowered, session, *value);
        ids.push(alone.input(&format!("input{at}"), tensor.shape()).unwrap());
        inputs.push(tensor);
    }
    let output = alone.node(&node.name, node.spelling, op, &ids).unwrap();
    let outputs = alone.finish(&[output]).unwrap().run(&inputs).unwrap();
    let mut output = outputs.into_iter().next().unwrap();
    let (low, high) = match node.activation {
        Activation::None => (f32::MIN, f32::MAX),
        Activation::Relu => (0.0, f32::MAX),
        Activation::Clamp { low, high } => (low, high),
    };
    for x in output.data_mut() {
        *x = x.clamp(low, high);
    }
    output
}

fn check(name: &str) {
    let graph = nets::graph(name, SIZE).unwrap();
    let (model, lowered) = nets::quantize(&graph).unwrap();
    for decision in model.decisions() {
        assert!(matches!(decision, Decision::Quantized(_)), "{decision:?}");
    }
    for step in lowered.plan.steps() {
        let kernel = step.kernel();
        let edge = ["quantize", "dequantize", "to_channels_last"].contains(&kernel.name);
        let integer = kernel.signature.output == kernel.signature.input;
        assert!(edge || integer, "{}: {}", step.name(), kernel.name);
        assert_ne!(kernel.name, "q8_clamp", "{}", step.name());
    }

    let image = nets::test_image(&graph).unwrap();
    let mut first = None;
    for isa in Isa::available() {
        for threads in [1, 2] {
            let options = SessionOptions {
                threads,
                keep_all: true,
                ..SessionOptions::with_isa(isa)
            };
            let mut session = Session::new(&lowered.plan, options).unwrap();
            session.set_input_f32(0, image.data()).unwrap();
            session.run().unwrap();
            let mut output = vec![0.0; 1000];
            session.output_f32(0, &mut output).unwrap();
            let first = first.get_or_insert_with(|| output.clone());
            assert_eq!(*first, output, "{isa}, {threads} threads");
            if isa != Isa::detect() || threads > 1 {
                continue;
            }
            for (at, node) in model.graph().nodes().iter().enumerate() {
                let Some(found) = lowered.read(&session, node.output).unwrap() else {
                    // the step goes on to clamp it
                    let is_clamp = |reader: &&Node| {
                        reader.inputs == [node.output] && reader.op.as_activation().is_some()
                    };
                    assert!(model.graph().nodes().iter().any(|reader| is_clamp(&reader)));
                    continue;
                };
                let params = qparams(&model, node.output);
                let expected = expected(&model, &lowered, &session, at);
                let pairs = quantized(&expected, params).into_iter();
                for (x, y) in pairs.zip(quantized(&found, params)) {
                    assert!((x - y).abs() <= 1.0, "{}: {x}, found {y}", node.name);
                }
            }
        }
    }

    // one step in a layer is spread by the layers behind it, further where weights are random; an
    // error would leave nothing of the signal
    let reference = &model.run(slice::from_ref(&image)).unwrap()[0];
    let square = |x: f32, y: f32| (f64::from(x) - f64::from(y)).powi(2);
    let pairs = || reference.data().iter().zip(first.as_ref().unwrap());
    let sqnr = sqnr_db(
        pairs().map(|(x, _)| square(*x, 0.0)).sum(),
        pairs().map(|(x, y)| square(*x, *y)).sum(),
    );
    assert!(
        sqnr > 10.0,
        "{name}: {sqnr:.1} dB against the reference model"
    );
}

#[test]
fn mobilenet_v2() {
    check("mobilenet_v2");
}

#[test]
fn mobilenet_v3() {
    check("mobilenet_v3");
}

#[test]
fn resnet18() {
    check("resnet18");
}
