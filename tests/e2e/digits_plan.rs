//! The committed plan that `examples/digits_static` compiles in.

use std::path::PathBuf;

use qconfig_backends::QNNPACK;
use qconfig_core::{Isa, IsaLevel};
use qconfig_kernels::glue;
use qconfig_runtime::{Plan, Session, SessionOptions};

use qconfig_tests::golden;

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../examples/data")
        .join(name)
}

/// Right answers of the float model on the same digits (`examples/data/torch.json`).
const FLOAT_RIGHT: usize = 2495;

#[test]
fn the_committed_plan_loses_at_most_a_tenth_of_a_point() {
    let bytes = std::fs::read(data("digits.plan")).unwrap();
    let plan = Plan::from_bytes(&bytes, |name| {
        QNNPACK.kernel_named(name).or_else(|| glue(name))
    })
    .unwrap();
    let arrays = golden::arrays(&data("digits.npz"));
    let (pixels, labels) = (arrays["eval_images"].u8(), arrays["eval_labels"].u8());
    let best = Isa::detect();
    let mut right = 0;
    let mut sessions: Vec<Session<'_>> = [(best, 1), (best, 2), (Isa::SCALAR, 1)]
        .into_iter()
        .map(|(isa, threads)| {
            Session::new(
                &plan,
                SessionOptions {
                    threads,
                    ..SessionOptions::with_isa(isa)
                },
            )
            .unwrap()
        })
        .collect();
    for (at, (pixels, label)) in pixels.chunks_exact(784).zip(labels).enumerate() {
        let image: Vec<f32> = pixels
            .iter()
            .map(|x| (f32::from(*x) / 255.0 - 0.1307) / 0.3081)
            .collect();
        let mut answers = Vec::new();
        for session in &mut sessions {
            // the scalar reference is slow without optimization: it answers for some
            if session.isa().level() == IsaLevel::Scalar && at % 50 != 0 {
                continue;
            }
            session.set_input_f32(0, &image).unwrap();
            session.run().unwrap();
            let mut logits = [0.0f32; 10];
            session.output_f32(0, &mut logits).unwrap();
            answers.push(logits);
        }
        assert!(
            answers.windows(2).all(|pair| pair[0] == pair[1]),
            "digit {at}: {answers:?}"
        );
        let class = (0..10).max_by(|a, b| answers[0][*a].total_cmp(&answers[0][*b]));
        right += usize::from(class == Some(usize::from(*label)));
    }
    let lost = 100.0 * (FLOAT_RIGHT as f64 - right as f64) / labels.len() as f64;
    println!(
        "{right} of {} right, {lost:.2} points below float",
        labels.len()
    );
    assert!(lost <= 0.1);
}
