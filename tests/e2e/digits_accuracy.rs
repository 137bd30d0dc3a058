//! The main job's result: both qconfigs stay within a tenth of a point of float, every layer in eight bits.

use std::slice;

use qconfig::backends::QNNPACK;
use qconfig::quantize::{Decision, Tensor, calibrate, convert, fuse, lower, prepare};
use qconfig::runtime::{Session, SessionOptions};
use qconfig::{QConfig, QConfigMapping, default_qconfig_mapping, qconfig_mapping_with};

#[path = "../../examples/digits/data.rs"]
mod data;
#[path = "../../examples/digits/network.rs"]
mod network;

fn argmax(logits: &[f32]) -> usize {
    logits
        .iter()
        .enumerate()
        .max_by(|a, b| a.1.total_cmp(b.1))
        .map_or(0, |(class, _)| class)
}

/// Right answers of the plan on all evaluation digits.
fn right(mapping: &QConfigMapping, calibration: &[Tensor], eval: &data::Labelled) -> usize {
    let float = network::digits_cnn().unwrap();
    let prepared = prepare(&fuse(&float, &QNNPACK), &QNNPACK, mapping).unwrap();
    let calibrated = calibrate(&prepared, calibration.iter().map(slice::from_ref), |_| {}).unwrap();
    let model = convert(&calibrated).unwrap();
    assert!(
        model
            .decisions()
            .iter()
            .all(|decision| matches!(decision, Decision::Quantized(q) if q.is_static()))
    );
    let lowered = lower(&model).unwrap();
    let mut session = Session::new(&lowered.plan, SessionOptions::new().unwrap()).unwrap();
    let mut logits = [0.0; 10];
    let mut right = 0;
    for (image, label) in eval.images.iter().zip(&eval.labels) {
        session.set_input_f32(0, image.data()).unwrap();
        session.run().unwrap();
        session.output_f32(0, &mut logits).unwrap();
        right += usize::from(argmax(&logits) == usize::from(*label));
    }
    right
}

#[test]
fn both_qconfigs_stay_within_a_tenth_of_a_point_of_float() {
    let digits = data::load().unwrap();
    assert_eq!(
        data::samples().unwrap(),
        include_bytes!("../../examples/data/samples.bin")
    );
    let graph = network::digits_cnn().unwrap();
    let classify = |image: &Tensor| argmax(graph.run(slice::from_ref(image)).unwrap()[0].data());
    let answers = digits.eval.images.iter().map(classify);
    let float = answers
        .zip(&digits.eval.labels)
        .filter(|(class, label)| *class == usize::from(**label))
        .count();
    let symmetric = QConfig::DEFAULT_PER_CHANNEL_SYMMETRIC_QNNPACK;
    for mapping in [
        default_qconfig_mapping("qnnpack"),
        qconfig_mapping_with("qnnpack", symmetric),
    ] {
        let right = right(&mapping.unwrap(), &digits.calibration, &digits.eval);
        let lost = 100.0 * (float as f64 - right as f64) / digits.eval.labels.len() as f64;
        println!(
            "float {float}, eight bits {right} of {}",
            digits.eval.labels.len()
        );
        assert!(lost <= 0.1, "{lost} points lost");
    }
}
