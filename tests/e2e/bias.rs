//! Bias correction takes back what rounding shifts.

use qconfig_backends::QNNPACK;
use qconfig_core::default_qconfig_mapping;
use qconfig_quantize::{
    Conv, Graph, GraphBuilder, ReferenceModel, Tensor, calibrate, convert, correct_bias, fuse,
    lower, prepare, set_input,
};
use qconfig_runtime::{Session, SessionOptions};

/// Values between -1 and 1 that a generator makes.
fn random(seed: u32, shape: &[usize]) -> Tensor {
    let mut state = seed;
    let values = (0..shape.iter().product()).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    });
    Tensor::new(shape.to_vec(), values.collect()).unwrap()
}

/// Two convolutions of channels whose weights differ a thousandfold, so that one scale for all of a
/// tensor rounds the small ones to nothing.
fn graph() -> Graph {
    let mut first = random(1, &[8, 4, 3, 3]);
    for (at, w) in first.data_mut().iter_mut().enumerate() {
        let channel = at / 36;
        *w = (*w + 0.4) / 4f32.powi(channel as i32 % 5);
    }
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", &[1, 4, 9, 9]).unwrap();
    let x = graph.conv("first", x, Conv::new(first).padding(1)).unwrap();
    let x = graph.relu("relu", x).unwrap();
    let second = Conv::new(random(2, &[6, 8, 1, 1])).bias(random(3, &[6]));
    let x = graph.conv("second", x, second).unwrap();
    graph.finish(&[x]).unwrap()
}

fn samples(seed: u32) -> Vec<Vec<Tensor>> {
    (0..12)
        .map(|at| {
            let mut x = random(seed + at, &[1, 4, 9, 9]);
            x.data_mut().iter_mut().for_each(|x| *x = x.abs());
            vec![x]
        })
        .collect()
}

fn converted(samples: &[Vec<Tensor>]) -> ReferenceModel {
    let mapping = default_qconfig_mapping("qnnpack").unwrap();
    let prepared = prepare(&fuse(&graph(), &QNNPACK), &QNNPACK, &mapping).unwrap();
    convert(&calibrate(&prepared, samples, |_| {}).unwrap()).unwrap()
}

/// How far the mean of each output channel is from the float model's, and the energy of the errors.
fn errors(model: &ReferenceModel, samples: &[Vec<Tensor>]) -> (f64, f64) {
    let lowered = lower(model).unwrap();
    let mut session = Session::new(lowered.plan, SessionOptions::new().unwrap()).unwrap();
    let (mut shifts, mut noise) = ([0.0; 6], 0.0);
    for inputs in samples {
        let float = model.graph().run(inputs).unwrap().remove(0);
        set_input(&mut session, 0, &inputs[0]).unwrap();
        session.run().unwrap();
        let mut found = vec![0.0; float.data().len()];
        session.output_f32(0, &mut found).unwrap();
        for (at, (x, y)) in float.data().iter().zip(&found).enumerate() {
            let error = f64::from(*x) - f64::from(*y);
            shifts[at / 81] += error / (81 * samples.len()) as f64;
            noise += error * error;
        }
    }
    (shifts.iter().map(|shift| shift.abs()).sum(), noise)
}

#[test]
fn each_channels_mean_is_the_float_models_again() {
    let calibration = samples(100);
    let plain = converted(&calibration);
    let mut corrected = plain.clone();
    let mut told = Vec::new();
    correct_bias(&mut corrected, &calibration, |done| told.push(done)).unwrap();
    assert_eq!(
        told,
        (1..=corrected.graph().nodes().len()).collect::<Vec<_>>()
    );
    // on samples that neither has seen
    let other = samples(900);
    let ((shift, noise), (less, less_noise)) = (errors(&plain, &other), errors(&corrected, &other));
    assert!(less < shift / 4.0, "{less} against {shift}");
    assert!(less_noise < noise, "{less_noise} against {noise}");
    // the float model is what it was
    assert_eq!(plain.graph(), corrected.graph());
}

#[test]
fn the_reference_model_is_corrected_as_the_plan_is() {
    let calibration = samples(100);
    let mut model = converted(&calibration);
    correct_bias(&mut model, &calibration, |_| {}).unwrap();
    let reference = model.run(&calibration[0]).unwrap().remove(0);
    let lowered = lower(&model).unwrap();
    let mut session = Session::new(lowered.plan, SessionOptions::new().unwrap()).unwrap();
    set_input(&mut session, 0, &calibration[0][0]).unwrap();
    session.run().unwrap();
    let mut found = vec![0.0; reference.data().len()];
    session.output_f32(0, &mut found).unwrap();
    let step = reference.data().iter().fold(0f32, |a, x| a.max(x.abs())) / 127.0;
    for (x, y) in reference.data().iter().zip(&found) {
        assert!(
            (x - y).abs() <= 1.01 * step,
            "{x} and {y}, a step is {step}"
        );
    }
}
