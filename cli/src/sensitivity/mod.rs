//! `qconfig sensitivity`: what each layer alone costs, and which ones to leave float.

mod html;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use qconfig::quantize::{
    Decision, Energy, Graph, Histogram, Op, ReferenceModel, Sensitivity, Tensor, costly, lower,
    sensitivity,
};
use serde_json::{Value, json};

use crate::model::{self, ModelArgs};
use crate::quantize::{Mode, SchemeArgs, calibrated, correct, needs_samples};
use crate::samples::DataArgs;
use crate::{progress, show};

/// The command's arguments.
#[derive(Args, Clone, Debug)]
pub(crate) struct SensitivityArgs {
    /// The model.
    model: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// At most so many samples to calibrate with.
    #[arg(long, value_name = "N")]
    samples: Option<usize>,
    /// So many samples to measure with: each runs once for every layer.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    measure: u16,
    /// Suggests layers to give half precision or to leave float, until the outputs' signal to noise is this many
    /// decibels.
    #[arg(long, value_name = "DB")]
    target_sqnr: Option<f64>,
    /// Writes a page with plots.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    scheme: SchemeArgs,
    #[command(flatten)]
    open: ModelArgs,
}

/// All that is known of a layer.
struct Layer {
    found: Sensitivity,
    /// What runs it, and how long.
    kernel: String,
    microseconds: Option<f64>,
    weights: Option<Histogram>,
    activations: Histogram,
}

/// The model as a whole.
struct Whole {
    /// Of the outputs, everything quantized, in decibels.
    sqnr_db: f64,
    /// Layers to leave float.
    float: Vec<String>,
    /// Layers whose weights to keep in half precision.
    half: Vec<String>,
    /// Of the outputs with the suggestion followed, measured.
    mixed_db: Option<f64>,
}

pub(crate) fn run(args: &SensitivityArgs) -> anyhow::Result<String> {
    let imported = model::load(&args.model, &args.open)?;
    let samples = args.data.open(&model::wanted(&imported.graph))?;
    let limit = args.samples.unwrap_or(usize::MAX);
    let converted = |scheme: &SchemeArgs| -> anyhow::Result<ReferenceModel> {
        if let Some(model) = scheme.weight_only(&imported.graph)? {
            return Ok(model);
        }
        let prepared = scheme.prepare(&imported.graph)?;
        let mut model = calibrated(&prepared, Some(&samples), limit)?;
        if needs_samples(&prepared) {
            correct(&mut model, &samples, limit)?;
        }
        Ok(model)
    };
    let model = converted(&args.scheme)?;
    // spread over the data
    let count = usize::from(args.measure).min(samples.len());
    let measured = (0..count)
        .map(|at| samples.get(at * samples.len() / count))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let bar = progress::bar("measuring", count);
    let found = sensitivity(&model, &measured, |done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    let mut whole = Whole {
        sqnr_db: outputs_db(&model, &measured)?,
        float: Vec::new(),
        half: Vec::new(),
        mixed_db: None,
    };
    if let Some(target) = args.target_sqnr {
        if !target.is_finite() {
            bail!("the target must be a number of decibels");
        }
        let half = in_half(&args.scheme, &imported.graph)?;
        suggest(
            args, &found, &half, &mut whole, target, &measured, converted,
        )?;
    }
    let layers = layers(&model, found, &measured)?;
    if let Some(path) = &args.html {
        let page = html::page(&args.model.display().to_string(), &layers, &whole);
        std::fs::write(path, page).with_context(|| path.display().to_string())?;
    }
    Ok(match args.json {
        true => serde_json::to_string_pretty(&to_json(args, &layers, &whole))? + "\n",
        false => table(args, &layers, &whole),
    })
}

/// Signal to noise of the outputs, everything quantized.
fn outputs_db(model: &ReferenceModel, samples: &[Vec<Tensor>]) -> anyhow::Result<f64> {
    let mut energy = Energy::default();
    for inputs in samples {
        let (float, found) = (model.graph().run(inputs)?, model.run(inputs)?);
        for (x, y) in float.iter().zip(&found) {
            energy.add(x, y);
        }
    }
    Ok(energy.db())
}

/// Nodes that the backend computes with weights in half precision.
fn in_half(scheme: &SchemeArgs, graph: &Graph) -> anyhow::Result<Vec<String>> {
    if matches!(scheme.mode, Mode::Fp16 | Mode::Weight8 | Mode::Weight4) {
        return Ok(Vec::new());
    }
    let all = SchemeArgs {
        mode: Mode::Fp16,
        qconfig: None,
        fp16: Vec::new(),
        ..scheme.clone()
    };
    let (prepared, backend) = (all.prepare(graph)?, all.backend()?);
    let nodes = prepared.graph().nodes().iter().zip(prepared.decisions());
    let taken = nodes.filter(|(_, decision)| match decision {
        Decision::Quantized(found) => {
            let kernel = backend.kernel(found.config, found.dtype_config);
            kernel.is_some()
        }
        Decision::WeightOnly(_) | Decision::Float(_) => false,
    });
    Ok(taken.map(|(node, _)| node.name.clone()).collect())
}

/// Gives costly layers half precision, where the backend has it, and leaves the others float, until the measured
/// outputs are good enough: the noises of layers are not quite independent, so what they promise together is only
/// where the search begins. Where half precision is not enough, they all stay float.
fn suggest(
    args: &SensitivityArgs,
    found: &[Sensitivity],
    half: &[String],
    whole: &mut Whole,
    target: f64,
    samples: &[Vec<Tensor>],
    converted: impl Fn(&SchemeArgs) -> anyhow::Result<ReferenceModel>,
) -> anyhow::Result<()> {
    if whole.sqnr_db >= target {
        return Ok(());
    }
    for half in [half, &[]] {
        let mut aim = target;
        for _ in 0..4 {
            let names = costly(found, aim).into_iter().map(|layer| &layer.node);
            (whole.half, whole.float) = names.cloned().partition(|name| half.contains(name));
            let mut scheme = args.scheme.clone();
            let exact = |names: &[String]| names.iter().map(|name| exactly(name)).collect();
            let [float, fp16]: [Vec<String>; 2] = [exact(&whole.float), exact(&whole.half)];
            scheme.float.extend(float);
            scheme.fp16.extend(fp16);
            let reached = outputs_db(&converted(&scheme)?, samples)?;
            whole.mixed_db = Some(reached);
            if reached >= target {
                return Ok(());
            }
            if whole.float.len() + whole.half.len() == found.len() {
                break;
            }
            aim += (target - reached).max(0.5);
        }
        if whole.half.is_empty() {
            break;
        }
    }
    Ok(())
}

/// A regular expression that matches that name alone.
fn exactly(name: &str) -> String {
    let mut regex = String::from("^");
    for c in name.chars() {
        if !c.is_alphanumeric() && c != '_' && c != '/' && c != ':' {
            regex.push('\\');
        }
        regex.push(c);
    }
    regex + "$"
}

fn weight(op: &Op) -> Option<&Tensor> {
    match op {
        Op::Conv(conv) => Some(&conv.weight),
        Op::ConvTranspose(conv) => Some(&conv.weight),
        Op::Linear(linear) => Some(&linear.weight),
        Op::Embedding(table) => Some(&table.weight),
        _ => None,
    }
}

/// Shares of a histogram.
const SHARES: usize = 48;

fn layers(
    model: &ReferenceModel,
    found: Vec<Sensitivity>,
    samples: &[Vec<Tensor>],
) -> anyhow::Result<Vec<Layer>> {
    let graph: &Graph = model.graph();
    let times = times(model)?;
    let mut activations: BTreeMap<&str, Vec<f32>> = BTreeMap::new();
    if let Some(inputs) = samples.first() {
        let values = graph.run_all(inputs)?;
        for node in graph.nodes() {
            activations.insert(&node.name, values.get(node.output).data().to_vec());
        }
    }
    let nodes: BTreeMap<&str, &Op> = graph
        .nodes()
        .iter()
        .map(|node| (node.name.as_str(), &node.op))
        .collect();
    let none = (String::new(), None);
    let mut layers: Vec<Layer> = found
        .into_iter()
        .map(|found| {
            let name = found.node.as_str();
            let (kernel, microseconds) = times.get(name).unwrap_or(&none).clone();
            let weight = nodes.get(name).and_then(|op| weight(op));
            let values = activations.get(name).map_or(&[][..], Vec::as_slice);
            Layer {
                kernel,
                microseconds,
                weights: weight.map(|weight| Histogram::of(weight.data(), SHARES)),
                activations: Histogram::of(values, SHARES),
                found,
            }
        })
        .collect();
    layers.sort_by(|a, b| b.found.noise.total_cmp(&a.found.noise));
    Ok(layers)
}

/// Kernel and median time of each step of the plan, where the model lowers.
fn times(model: &ReferenceModel) -> anyhow::Result<BTreeMap<String, (String, Option<f64>)>> {
    let Ok(lowered) = lower(model) else {
        return Ok(BTreeMap::new());
    };
    let mut session = model::session(lowered.plan, 1)?;
    let profile = session.profile(11)?;
    let steps = profile.steps().iter().map(|step| {
        let micros = step.time.as_secs_f64() * 1e6;
        let kernel = format!("{} {}", step.kernel, step.variant);
        (step.name.clone(), (kernel, Some(micros)))
    });
    Ok(steps.collect())
}

fn to_json(args: &SensitivityArgs, layers: &[Layer], whole: &Whole) -> Value {
    let layers: Vec<Value> = layers
        .iter()
        .map(|layer| {
            json!({
                "node": layer.found.node,
                "pattern": layer.found.pattern,
                "output_sqnr_db": finite(layer.found.output_db),
                "layer_sqnr_db": finite(layer.found.layer_db),
                "kernel": layer.kernel,
                "median_us": layer.microseconds,
            })
        })
        .collect();
    json!({
        "model": args.model.display().to_string(),
        "backend": args.scheme.backend,
        "sqnr_db": finite(whole.sqnr_db),
        "target_sqnr_db": args.target_sqnr,
        "leave_float": whole.float,
        "leave_fp16": whole.half,
        "mixed_sqnr_db": whole.mixed_db.map(finite),
        "layers": layers,
    })
}

/// JSON has no infinity.
fn finite(db: f64) -> Value {
    if db.is_finite() {
        db.into()
    } else {
        Value::Null
    }
}

fn decibels(db: f64) -> String {
    if db.is_finite() {
        format!("{db:.1}")
    } else {
        "exact".into()
    }
}

/// How many layers the suggestion does not quantize to integers.
fn left(whole: &Whole) -> String {
    let kinds = [
        (whole.half.len(), "in half precision"),
        (whole.float.len(), "float"),
    ];
    let parts = kinds.iter().filter(|(count, _)| *count > 0);
    let parts: Vec<String> = parts.map(|(count, how)| format!("{count} {how}")).collect();
    parts.join(" and ")
}

/// How near outputs are.
fn outputs(db: f64) -> String {
    if db.is_finite() {
        format!("{db:.1} dB")
    } else {
        "the float outputs".into()
    }
}

fn table(args: &SensitivityArgs, layers: &[Layer], whole: &Whole) -> String {
    let header = [
        "node",
        "pattern",
        "outputs, dB",
        "layer, dB",
        "kernel",
        "us",
    ];
    let mut table = show::new(&header);
    for layer in layers {
        table.add_row([
            layer.found.node.clone(),
            layer.found.pattern.clone(),
            decibels(layer.found.output_db),
            decibels(layer.found.layer_db),
            layer.kernel.clone(),
            layer
                .microseconds
                .map_or(String::new(), |us| format!("{us:.1}")),
        ]);
    }
    let mut text = format!(
        "{table}\neverything quantized: {} at the outputs\n",
        outputs(whole.sqnr_db)
    );
    match (args.target_sqnr, whole.mixed_db) {
        (Some(target), None) => text += &format!("the target of {target} dB is met as it is\n"),
        (Some(target), Some(reached)) => {
            text += &format!(
                "for {target} dB leave {} of {} layers, which gives {}:\n",
                left(whole),
                layers.len(),
                outputs(reached)
            );
            for name in &whole.half {
                text += &format!("  --fp16 '{}'\n", exactly(name));
            }
            for name in &whole.float {
                text += &format!("  --float '{}'\n", exactly(name));
            }
        }
        (None, _) => {}
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_matched_as_it_is() {
        assert_eq!(exactly("/a.b/Conv"), "^/a\\.b/Conv$");
        assert_eq!(exactly("x+y_1"), "^x\\+y_1$");
    }
}
