//! What observers answer after some batches: random values, then those of a trained network.

use qconfig_core::{DType, ObserverKind, ObserverSpec, QScheme, SCALE_2_NEG_12};
use qconfig_quantize::Tensor;
use qconfig_quantize::observer::Observer;
use qconfig_tests::golden::{Archive, Case};
use qconfig_tests::harness::Tally;

fn spec(kind: &str) -> ObserverSpec {
    const QUINT8: DType = DType::quint8;
    const QINT8: DType = DType::qint8;
    let reduced = |spec| ObserverSpec {
        reduce_range: true,
        ..spec
    };
    let moving = |kind, dtype, qscheme| ObserverSpec {
        kind,
        ..ObserverSpec::min_max(dtype, qscheme)
    };
    let averaging_constant = 0.01;
    match kind {
        "min_max_quint8" => ObserverSpec::min_max(QUINT8, QScheme::PerTensorAffine),
        "min_max_quint8_reduce_range" => {
            reduced(ObserverSpec::min_max(QUINT8, QScheme::PerTensorAffine))
        }
        "min_max_qint8_eps_2^-12" => {
            ObserverSpec::min_max(QINT8, QScheme::PerTensorAffine).eps(SCALE_2_NEG_12)
        }
        "default_weight" => ObserverSpec::min_max(QINT8, QScheme::PerTensorSymmetric),
        "weight_neg_127_to_127" => ObserverSpec::min_max(QINT8, QScheme::PerTensorSymmetric)
            .range(-127, 127)
            .eps(SCALE_2_NEG_12),
        "default_per_channel_weight" => {
            ObserverSpec::per_channel_min_max(QINT8, QScheme::PerChannelSymmetric)
        }
        "per_channel_weight_neg_127_to_127" => {
            ObserverSpec::per_channel_min_max(QINT8, QScheme::PerChannelSymmetric)
                .range(-127, 127)
                .eps(SCALE_2_NEG_12)
        }
        "moving_average_quint8" => moving(
            ObserverKind::MovingAverageMinMax { averaging_constant },
            QUINT8,
            QScheme::PerTensorAffine,
        ),
        "moving_average_per_channel_qint8" => moving(
            ObserverKind::MovingAveragePerChannelMinMax {
                averaging_constant,
                ch_axis: 0,
            },
            QINT8,
            QScheme::PerChannelSymmetric,
        ),
        "histogram_quint8" => ObserverSpec::histogram(QUINT8),
        "histogram_quint8_reduce_range" => reduced(ObserverSpec::histogram(QUINT8)),
        "histogram_qint8_eps_2^-12" => ObserverSpec::histogram(QINT8).eps(SCALE_2_NEG_12),
        other => panic!("unknown observer {other}"),
    }
}

/// What is not as torch has it.
fn differences(case: &Case<'_>) -> Vec<String> {
    let x = case.f32("x");
    let [batches, channels, len] = *x.shape else {
        panic!("three axes")
    };
    let mut observer = Observer::new(spec(case.word("kind")));
    for batch in 0..batches {
        let data = &x.data[batch * channels * len..][..channels * len];
        let tensor = Tensor::new(vec![channels, len], data.to_vec()).unwrap();
        observer.observe(&tensor).unwrap();
    }
    let found = observer.channel_qparams().unwrap();
    let (scales, zero_points) = (case.f64("scales"), case.i32("zero_points"));
    let mut wrong = Vec::new();
    if found.scales.len() != scales.len() || found.zero_points.len() != zero_points.len() {
        wrong.push(format!("{found:?} for {} channels", scales.len()));
    }
    for (at, (found, expected)) in found.scales.iter().zip(&scales).enumerate() {
        if f64::from(*found) != *expected {
            let off = (f64::from(*found) / expected - 1.0) * 1e6;
            wrong.push(format!(
                "{}: scale {at} is {found:?}, torch's is {expected:?} ({off:+.3} ppm)",
                case.word("kind")
            ));
        }
    }
    for (at, (found, expected)) in found.zero_points.iter().zip(&zero_points).enumerate() {
        if found != expected {
            wrong.push(format!(
                "{}: zero point {at} is {found}, torch's is {expected}",
                case.word("kind")
            ));
        }
    }
    wrong
}

fn observers(family: &str, name: &str, least: usize, of: impl Fn(&str) -> bool) {
    let archive = Archive::open(&format!("numerics/{family}.npz"));
    let mut tally = Tally::new(name);
    for case in archive.cases().filter(|case| of(case.word("kind"))) {
        tally.count(&case.name(), case.f64("scales").len(), &differences(&case));
    }
    tally.finish(least);
}

#[test]
fn ranges() {
    observers("observers", "observers of ranges", 200, |kind| {
        !kind.starts_with("histogram")
    });
}

#[test]
fn histograms() {
    observers("observers", "histogram observers", 80, |kind| {
        kind.starts_with("histogram")
    });
}

#[test]
fn a_trained_network() {
    observers(
        "observers_digits",
        "observers of a trained network",
        43,
        |_| true,
    );
}
