//! Networks by name.

mod builder;
mod mobilenet_v2;
mod mobilenet_v3;
mod resnet18;

use std::slice;

use anyhow::{Context as _, bail};
use qconfig::backends::QNNPACK;
use qconfig::quantize::{
    Graph, Lowered, ReferenceModel, Tensor, calibrate, convert, fuse, lower, prepare,
};
use qconfig::{DType, Isa, IsaLevel, ObserverSpec, QConfig, QScheme, qconfig_mapping_with};

use crate::data::image;

/// The names that [`graph`] knows.
pub const NAMES: &[&str] = &["mobilenet_v2", "mobilenet_v3", "resnet18"];

/// Images a network is calibrated on.
pub const CALIBRATION_IMAGES: u64 = 4;

/// The float network of that name for images of `size` x `size`, batch 1, 1,000 classes.
///
/// # Errors
/// Where there is no such network, or the images are too small for it.
pub fn graph(name: &str, size: usize) -> anyhow::Result<Graph> {
    match name {
        "mobilenet_v2" => mobilenet_v2::graph(size),
        "mobilenet_v3" => mobilenet_v3::graph(size),
        "resnet18" => resnet18::graph(size),
        _ => bail!(
            "no network is called `{name}`; there are: {}",
            NAMES.join(", ")
        ),
    }
}

/// Images to calibrate on, of the network's input shape.
///
/// # Errors
/// Where the network's input is not one square image.
pub fn calibration(graph: &Graph) -> anyhow::Result<Vec<Tensor>> {
    (0..CALIBRATION_IMAGES)
        .map(|n| sample(graph, 1000 + n))
        .collect()
}

/// The image to measure with; none of those to calibrate on.
///
/// # Errors
/// As [`calibration`].
pub fn test_image(graph: &Graph) -> anyhow::Result<Tensor> {
    sample(graph, 1)
}

fn sample(graph: &Graph, seed: u64) -> anyhow::Result<Tensor> {
    let input = graph.inputs().first().context("a network has an input")?;
    match graph.value(*input).shape[..] {
        [1, channels, size, width] if size == width => Ok(image(channels, size, seed)?),
        ref shape => bail!("the input is no square image but {shape:?}"),
    }
}

/// `quint8` activations, from the smallest to the largest value seen; `qint8` weights, one scale a
/// channel.
pub const QCONFIG: QConfig = QConfig {
    activation: ObserverSpec::min_max(DType::quint8, QScheme::PerTensorAffine),
    weight: QConfig::DEFAULT_PER_CHANNEL.weight,
};

/// Whether weights take 7 bits, as the others' do on a CPU without VNNI (`reduce_range` in `peers/run.py`).
pub fn has_narrow_weights() -> bool {
    Isa::detect().level() == IsaLevel::Avx2
}

/// A network through the whole flow for QNNPACK.
///
/// # Errors
/// Those of the passes: a node that stays float, or that has no kernel.
pub fn quantize(graph: &Graph) -> anyhow::Result<(ReferenceModel, Lowered)> {
    let qconfig = QConfig {
        weight: ObserverSpec {
            reduce_range: has_narrow_weights(),
            ..QCONFIG.weight
        },
        ..QCONFIG
    };
    let mapping = qconfig_mapping_with("qnnpack", qconfig).context("no mapping for qnnpack")?;
    let prepared = prepare(&fuse(graph, &QNNPACK), &QNNPACK, &mapping)?;
    let samples = calibration(graph)?;
    let calibrated = calibrate(&prepared, samples.iter().map(slice::from_ref), |_| {})?;
    let model = convert(&calibrated)?;
    let lowered = lower(&model)?;
    Ok((model, lowered))
}
