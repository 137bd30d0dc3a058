//! `qconfig quantize`: a float model, samples to calibrate with, and out comes a plan. A model that is
//! quantized already keeps its own scales, and needs no samples.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use qconfig::onnx::{Imported, export, write};
use qconfig::quantize::{
    Decision, Graph, Prepared, ReferenceModel, WeightOnly, adopt, calibrate, convert, correct_bias,
    equalize, fuse, lower, prepare, weight_only,
};
use qconfig::{
    BackendConfig, DType, ObserverKind, ObserverSpec, QConfig, QConfigMapping, QScheme,
    qconfig_mapping_with,
};
use regex_lite::Regex;
use serde_json::{Value, json};

use crate::model::{self, ModelArgs};
use crate::samples::{Preprocess, Samples, Source, has_extension};
use crate::{find, named_qconfig, progress};

/// The backend where none is named.
const DEFAULT_BACKEND: &str = "qnnpack";

/// What is quantized, and how.
#[derive(Args, Clone, Debug)]
pub(crate) struct SchemeArgs {
    /// The backend whose patterns decide what is quantized.
    #[arg(long, default_value = DEFAULT_BACKEND)]
    pub(crate) backend: String,
    /// The kind of quantization.
    #[arg(long, value_enum, default_value_t = Mode::Static)]
    pub(crate) mode: Mode,
    /// Values of a row that share a scale, for the modes `weight8` and `weight4`: 16, 32, 64, 128 or 256; otherwise
    /// the whole row in 8 bits, 32 in 4 bits.
    #[arg(long, value_name = "N", value_parser = block)]
    pub(crate) block: Option<usize>,
    /// Gives each of those a zero point too.
    #[arg(long)]
    pub(crate) zero_points: bool,
    /// A qconfig by PyTorch's name, instead of the mode's.
    #[arg(long)]
    pub(crate) qconfig: Option<String>,
    /// How ranges of activations are found: `min-max`, `moving-average`, `histogram` or `percentile=99.99`, instead of
    /// what the qconfig says.
    #[arg(long, value_name = "OBSERVER", value_parser = observer)]
    pub(crate) observer: Option<ObserverKind>,
    /// Rounds weights of static and dynamic layers to 7 bits, as ONNX Runtime's option of this name: a CPU with AVX2
    /// and without VNNI multiplies them faster.
    #[arg(long)]
    pub(crate) reduce_range: bool,
    /// Shares out the ranges of weights between layers that follow each other, with a ReLU between them at most.
    #[arg(long)]
    pub(crate) equalize: bool,
    /// Leaves nodes float whose names match the regular expression.
    #[arg(long = "float", value_name = "REGEX", value_parser = regex)]
    pub(crate) float: Vec<String>,
    /// Gives nodes weights in half precision whose names match the regular expression.
    #[arg(long = "fp16", value_name = "REGEX", value_parser = regex)]
    pub(crate) fp16: Vec<String>,
}

/// A kind of quantization.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Mode {
    /// Weights and activations in 8 bits, ranges from calibration.
    Static,
    /// Weights in 8 bits, activations quantized as they come.
    Dynamic,
    /// Weights in half precision.
    Fp16,
    /// Weights of linear layers in 8 bits, a scale for each output; all else stays float.
    Weight8,
    /// Weights of linear layers in 4 bits, a scale for each block of a row; all else stays float.
    Weight4,
}

/// What a backend's kernels take: PyTorch's default for its engine, where that has one; QNNPACK's symmetric kernels
/// lose least.
pub(crate) fn default_qconfig(backend: &str) -> QConfig {
    match backend {
        "qnnpack" | "executorch" => QConfig::DEFAULT_PER_CHANNEL_SYMMETRIC_QNNPACK,
        "x86" | "fbgemm" => QConfig::X86,
        _ => QConfig::ONEDNN,
    }
}

fn block(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(block @ (16 | 32 | 64 | 128 | 256)) => Ok(block),
        _ => Err("blocks are of 16, 32, 64, 128 or 256 values".into()),
    }
}

fn observer(text: &str) -> Result<ObserverKind, String> {
    // the dtype and the scheme are the qconfig's
    let (dtype, qscheme) = (DType::quint8, QScheme::PerTensorAffine);
    match text.split_once('=') {
        None if text == "min-max" => Ok(ObserverKind::MinMax),
        None if text == "moving-average" => Ok(ObserverSpec::moving_average(dtype, qscheme).kind),
        None if text == "histogram" => Ok(ObserverSpec::histogram(dtype).kind),
        Some(("percentile", share)) => match share.parse::<f64>() {
            Ok(percentile) if percentile > 0.0 && percentile <= 100.0 => {
                Ok(ObserverSpec::percentile(dtype, percentile).kind)
            }
            _ => Err(format!("`{share}` is no percentage above 0 and up to 100")),
        },
        _ => {
            Err("observers are `min-max`, `moving-average`, `histogram`, `percentile=99.99`".into())
        }
    }
}

fn regex(text: &str) -> Result<String, String> {
    Regex::new(text)
        .map(|_| text.into())
        .map_err(|error| error.to_string())
}

impl SchemeArgs {
    pub(crate) fn backend(&self) -> anyhow::Result<&'static BackendConfig> {
        find(&self.backend)
    }

    pub(crate) fn mapping(&self) -> anyhow::Result<QConfigMapping> {
        let qconfig = match &self.qconfig {
            Some(name) => named_qconfig(name)?,
            None => match self.mode {
                Mode::Static => default_qconfig(&self.backend),
                Mode::Dynamic => QConfig::PER_CHANNEL_DYNAMIC,
                Mode::Fp16 => QConfig::FLOAT16_DYNAMIC,
                Mode::Weight8 | Mode::Weight4 => {
                    bail!("modes weight8 and weight4 round weights alone; no qconfig says so")
                }
            },
        };
        let qconfig = QConfig {
            activation: match self.observer {
                Some(kind) if qconfig.activation.computes() => ObserverSpec {
                    kind,
                    ..qconfig.activation
                },
                _ => qconfig.activation,
            },
            weight: ObserverSpec {
                reduce_range: self.reduce_range || qconfig.weight.reduce_range,
                ..qconfig.weight
            },
        };
        let mut mapping = match self.mode {
            Mode::Static => qconfig_mapping_with(&self.backend, qconfig)
                .unwrap_or_else(|| QConfigMapping::new().global(Some(qconfig))),
            _ => QConfigMapping::new().global(Some(qconfig)),
        };
        // of two that match, the first decides
        let float = self.float.iter().map(|regex| (regex, None));
        let fp16 = self.fp16.iter();
        let fp16 = fp16.map(|regex| (regex, Some(QConfig::FLOAT16_DYNAMIC)));
        for (regex, qconfig) in float.chain(fp16) {
            mapping = mapping.module_name_regex(&format!(".*(?:{regex})"), qconfig);
        }
        Ok(mapping)
    }

    /// A model whose weights alone are rounded, if that is the mode.
    pub(crate) fn weight_only(&self, graph: &Graph) -> anyhow::Result<Option<ReferenceModel>> {
        let how = match self.mode {
            Mode::Weight8 => WeightOnly::EIGHT_BITS,
            Mode::Weight4 => WeightOnly::FOUR_BITS,
            _ if self.block.is_some() || self.zero_points => {
                bail!("--block and --zero-points go with --mode weight8 or weight4")
            }
            _ => return Ok(None),
        };
        if self.qconfig.is_some()
            || self.observer.is_some()
            || !self.fp16.is_empty()
            || self.equalize
            || self.reduce_range
        {
            bail!(
                "--qconfig, --observer, --fp16, --equalize and --reduce-range do not go with a mode that rounds weights alone"
            );
        }
        let how = WeightOnly {
            block: self.block.or(how.block),
            zero_points: self.zero_points,
            ..how
        };
        self.match_nodes(graph)?;
        let regexes = self.float.iter().map(|regex| Regex::new(regex));
        let regexes = regexes.collect::<Result<Vec<_>, _>>()?;
        let float = |name: &str| regexes.iter().any(|regex| regex.is_match(name));
        Ok(Some(weight_only(graph, self.backend()?, how, float)))
    }

    /// Refuses a regular expression that no node's name matches: it would change nothing, without a word.
    fn match_nodes(&self, graph: &Graph) -> anyhow::Result<()> {
        for regex in self.float.iter().chain(&self.fp16) {
            let found = Regex::new(regex)?;
            if !graph.nodes().iter().any(|node| found.is_match(&node.name)) {
                bail!("no node's name matches `{regex}`; `qconfig check` shows the names");
            }
        }
        Ok(())
    }

    /// Fuses and decides.
    pub(crate) fn prepare(&self, graph: &Graph) -> anyhow::Result<Prepared> {
        let backend = self.backend()?;
        let mut fused = fuse(graph, backend);
        if self.equalize {
            (fused, _) = equalize(&fused);
        }
        self.match_nodes(&fused)?;
        let prepared = prepare(&fused, backend, &self.mapping()?)?;
        Ok(prepared.observe_behind_clamps())
    }
}

/// The command's arguments.
#[derive(Args, Clone, Debug)]
pub(crate) struct QuantizeArgs {
    /// The model.
    model: PathBuf,
    /// Samples to calibrate with: a .npy or .npz file, or a folder of photos; `INPUT=FILE` where the
    /// model has several inputs.
    #[arg(long, value_name = "FILE")]
    data: Vec<Source>,
    /// How photos become inputs, step by step.
    #[arg(long, value_name = "STEPS", default_value = "")]
    preprocess: Preprocess,
    /// At most so many samples.
    #[arg(long, value_name = "N")]
    samples: Option<usize>,
    /// Leaves biases as they are; otherwise each layer's takes back what rounding shifts its outputs by on
    /// average over the first 16 samples.
    #[arg(long)]
    no_bias_correction: bool,
    /// Where the plan goes; to a file that ends in .onnx a model goes that other runtimes run, with
    /// QuantizeLinear and DequantizeLinear around each quantized operator.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    scheme: SchemeArgs,
    #[command(flatten)]
    open: ModelArgs,
}

/// A calibrated model.
pub(crate) fn calibrated(
    prepared: &Prepared,
    samples: Option<&Samples>,
    limit: usize,
) -> anyhow::Result<ReferenceModel> {
    let count = samples.map_or(0, Samples::len).min(limit);
    let mut failed = None;
    let bar = progress::bar("calibrating", count);
    let tensors = (0..count).map_while(|at| match samples?.get(at) {
        Ok(tensors) => Some(tensors),
        Err(error) => {
            failed = Some(error);
            None
        }
    });
    let calibrated = calibrate(prepared, tensors, |done| bar.set_position(done as u64));
    bar.finish_and_clear();
    if let Some(error) = failed {
        return Err(error);
    }
    Ok(convert(&calibrated?)?)
}

/// Most samples that bias correction looks at: it keeps all of them in memory.
const CORRECTED_WITH: usize = 16;

/// Corrects biases with samples from everywhere in the data.
pub(crate) fn correct(
    model: &mut ReferenceModel,
    samples: &Samples,
    limit: usize,
) -> anyhow::Result<()> {
    let count = samples.len().min(limit);
    let used = count.min(CORRECTED_WITH);
    let chosen = (0..used)
        .map(|at| samples.get(at * count / used))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let bar = progress::bar("correcting biases", model.graph().nodes().len());
    correct_bias(model, &chosen, |done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    Ok(())
}

/// Whether any observer must see samples.
pub(crate) fn needs_samples(prepared: &Prepared) -> bool {
    prepared.decisions().iter().any(|decision| match decision {
        Decision::Quantized(quantized) => quantized.is_static(),
        Decision::WeightOnly(_) | Decision::Float(_) => false,
    })
}

/// Refuses a file that could not be written, or that no command would read again, before work is done for it.
fn check_output(path: &Path) -> anyhow::Result<()> {
    if !has_extension(path, "plan") && !has_extension(path, "onnx") {
        bail!(
            "{}: what is written is a .plan or an .onnx file",
            path.display()
        );
    }
    match path.parent() {
        Some(folder) if folder != Path::new("") && !folder.is_dir() => {
            bail!(
                "{}: there is no folder {}",
                path.display(),
                folder.display()
            )
        }
        _ => Ok(()),
    }
}

/// `1 node`, `2 nodes`.
fn counted(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}

pub(crate) fn run(args: &QuantizeArgs) -> anyhow::Result<String> {
    check_output(&args.output)?;
    let imported = model::load(&args.model, &args.open)?;
    let model = match imported.is_quantized() {
        true => adopt(&imported.graph, args.scheme.backend()?, &imported.given),
        false => quantized(args, &imported)?,
    };
    let mut summary = Summary {
        nodes: model.graph().nodes().len(),
        float: model
            .decisions()
            .iter()
            .filter(|decision| matches!(decision, Decision::Float(_)))
            .count(),
        folded: imported.folded,
        weights: imported.graph.weight_bytes(),
        is_given: imported.is_quantized(),
        bytes: 0,
        plan: None,
    };
    let bytes = if has_extension(&args.output, "onnx") {
        write(&export(&model, &imported.outputs)?)?
    } else {
        let plan = lower(&model)?.plan;
        summary.plan = Some((plan.steps().len(), plan.arena_bytes()));
        plan.to_bytes()
    };
    summary.bytes = bytes.len();
    std::fs::write(&args.output, &bytes).with_context(|| args.output.display().to_string())?;
    Ok(match args.json {
        true => serde_json::to_string_pretty(&summary.json(args))?,
        false => summary.text(args),
    })
}

/// A float model, calibrated and converted.
fn quantized(args: &QuantizeArgs, imported: &Imported) -> anyhow::Result<ReferenceModel> {
    if let Some(model) = args.scheme.weight_only(&imported.graph)? {
        return Ok(model);
    }
    let prepared = args.scheme.prepare(&imported.graph)?;
    let wanted = model::wanted(&imported.graph);
    let samples = match (&args.data[..], needs_samples(&prepared)) {
        ([], false) => None,
        ([], true) => bail!(
            "static quantization needs samples to calibrate with: --data FILE.npy or a folder of photos; --mode dynamic needs none"
        ),
        (data, _) => Some(Samples::open(data, &wanted, &args.preprocess)?),
    };
    let limit = args.samples.unwrap_or(usize::MAX);
    let mut model = calibrated(&prepared, samples.as_ref(), limit)?;
    if let (Some(samples), false) = (&samples, args.no_bias_correction) {
        correct(&mut model, samples, limit)?;
    }
    Ok(model)
}

struct Summary {
    nodes: usize,
    float: usize,
    folded: usize,
    weights: usize,
    /// Whether the model brought its quantization along.
    is_given: bool,
    /// Of the file.
    bytes: usize,
    /// Steps and arena of a plan.
    plan: Option<(usize, usize)>,
}

impl Summary {
    fn json(&self, args: &QuantizeArgs) -> Value {
        json!({
            "model": args.model.display().to_string(),
            "output": args.output.display().to_string(),
            "quantization": if self.is_given { "the model's own" } else { "calibrated" },
            "nodes": self.nodes,
            "float_nodes": self.float,
            "folded_nodes": self.folded,
            "float_weight_bytes": self.weights,
            "output_bytes": self.bytes,
            "steps": self.plan.map(|(steps, _)| steps),
            "arena_bytes": self.plan.map(|(_, arena)| arena),
        })
    }

    /// What `check` must be told to decide as this did.
    fn options(&self, args: &QuantizeArgs) -> String {
        let mut text = String::new();
        if args.scheme.backend != DEFAULT_BACKEND {
            text += &format!(" --backend {}", args.scheme.backend);
        }
        let mode = args.scheme.mode;
        if let (true, Some(mode)) = (mode != Mode::Static, mode.to_possible_value()) {
            text += &format!(" --mode {}", mode.get_name());
        }
        if let Some(qconfig) = &args.scheme.qconfig {
            text += &format!(" --qconfig {qconfig}");
        }
        text
    }

    fn text(&self, args: &QuantizeArgs) -> String {
        let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
        let mut text = format!(
            "{}: {} quantized{}, {} float, {} constant ones folded\n",
            args.model.display(),
            counted(self.nodes - self.float, "node"),
            if self.is_given {
                " as the model says"
            } else {
                ""
            },
            self.float,
            self.folded
        );
        let (path, file, weights) = (args.output.display(), mib(self.bytes), mib(self.weights));
        text += &match self.plan {
            Some((steps, arena)) => format!(
                "{path}: {}, {file:.2} MiB (float weights {weights:.2} MiB), {:.2} MiB to run in\n",
                counted(steps, "step"),
                mib(arena)
            ),
            None => format!("{path}: {file:.2} MiB (float weights {weights:.2} MiB)\n"),
        };
        if self.float > 0 {
            text += &format!(
                "why nodes stay float: qconfig check {}{}\n",
                args.model.display(),
                self.options(args)
            );
        }
        text
    }
}
