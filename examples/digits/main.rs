//! The main job: a trained MNIST network, quantized for QNNPACK two ways, on 2,500 real digits.
//!
//!     cargo run --release --example digits
//!     cargo run --release --example digits -- --save examples/data    # what `digits_static` compiles in

mod data;
mod evaluate;
mod network;
mod print;

use std::error::Error;
use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};
use qconfig::backends::QNNPACK;
use qconfig::quantize::{
    Graph, Lowered, ReferenceModel, Tensor, calibrate, convert, fuse, lower, prepare,
};
use qconfig::{Isa, QConfig, QConfigMapping, default_qconfig_mapping, qconfig_mapping_with};

fn main() -> Result<(), Box<dyn Error>> {
    let save = save_folder()?;
    let digits = data::load()?;
    let float = network::digits_cnn()?;
    let isa = Isa::from_env()?;
    print::header(&float, &digits, isa);

    let truth = evaluate::float(&float, &digits.eval)?;
    let qconfigs = [
        (
            "QNNPACK default: quint8 activations, qint8 weights per tensor",
            default_qconfig_mapping("qnnpack"),
        ),
        (
            "symmetric: qint8 activations, qint8 weights per channel",
            qconfig_mapping_with("qnnpack", QConfig::DEFAULT_PER_CHANNEL_SYMMETRIC_QNNPACK),
        ),
    ];
    let mut results = Vec::new();
    for (at, (title, mapping)) in qconfigs.into_iter().enumerate() {
        let mapping = mapping.ok_or("QNNPACK has a default qconfig mapping")?;
        let (model, lowered) = quantize(&float, &mapping, &digits.calibration)?;
        print::layers(
            title,
            &evaluate::layers(&model, &lowered, &digits.eval, isa)?,
        );
        if let (0, Some(folder)) = (at, &save) {
            std::fs::write(folder.join("digits.plan"), lowered.plan.to_bytes())?;
            std::fs::write(folder.join("samples.bin"), data::samples()?)?;
            println!(
                "digits.plan and samples.bin saved to {}\n",
                folder.display()
            );
        }
        results.push((title, evaluate::plan(&lowered, &digits.eval, &truth, isa)?));
    }
    print::summary(&float, &truth, &results);
    Ok(())
}

/// The flow, pass by pass.
fn quantize(
    float: &Graph,
    mapping: &QConfigMapping,
    samples: &[Tensor],
) -> Result<(ReferenceModel, Lowered), Box<dyn Error>> {
    let fused = fuse(float, &QNNPACK);
    let prepared = prepare(&fused, &QNNPACK, mapping)?;
    let bar = ProgressBar::new(samples.len() as u64).with_message("calibrating");
    bar.set_style(ProgressStyle::with_template(
        "{msg} {bar:40} {pos}/{len} digits, {elapsed}",
    )?);
    let calibrated = calibrate(
        &prepared,
        samples.iter().map(std::slice::from_ref),
        |done| bar.set_position(done as u64),
    )?;
    bar.finish_and_clear();
    let model = convert(&calibrated)?;
    let lowered = lower(&model)?;
    Ok((model, lowered))
}

fn save_folder() -> Result<Option<PathBuf>, Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    match (args.next().as_deref(), args.next(), args.next()) {
        (None, ..) => Ok(None),
        (Some("--save"), Some(path), None) => Ok(Some(path.into())),
        _ => Err("usage: digits [--save FOLDER]".into()),
    }
}
