//! `qconfig run`: samples through a model, outputs as .npy.

use std::path::PathBuf;

use clap::Args;

use crate::model::{ModelArgs, Runner};
use crate::progress;
use crate::samples::{DataArgs, save};

/// The command's arguments.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunArgs {
    /// The model: .onnx, run in float, or .plan.
    model: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// At most so many samples.
    #[arg(long, value_name = "N")]
    samples: Option<usize>,
    /// Where the outputs go: one .npy, or for a model with several outputs one each, their names in
    /// front of the extension.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Prints the so many largest values of the first output of each sample.
    #[arg(long, value_name = "K", default_value_t = 5)]
    top: usize,
    /// Names of classes, one a line, for the printed values.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Threads that compute a plan.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=qconfig::runtime::MAX_THREADS as i64))]
    threads: u16,
    #[command(flatten)]
    open: ModelArgs,
}

pub(crate) fn run(args: &RunArgs) -> anyhow::Result<String> {
    let mut runner = Runner::open(&args.model, &args.open, usize::from(args.threads))?;
    let samples = args.data.open(&runner.wanted())?;
    let labels: Vec<String> = match &args.labels {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?
            .lines()
            .map(str::to_owned)
            .collect(),
        None => Vec::new(),
    };
    let count = samples.len().min(args.samples.unwrap_or(usize::MAX));
    let names = runner.outputs();
    let mut shapes = vec![Vec::new(); names.len()];
    let mut all = vec![Vec::new(); names.len()];
    let mut text = String::new();
    let bar = progress::bar("running", count);
    for at in 0..count {
        let outputs = runner.run(&samples.get(at)?)?;
        for ((shape, values), output) in shapes.iter_mut().zip(&mut all).zip(&outputs) {
            *shape = output.shape().to_vec();
            values.extend_from_slice(output.data());
        }
        if args.output.is_none()
            && let Some(first) = outputs.first()
        {
            text += &top(at, first.data(), args.top, &labels);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let Some(path) = &args.output else {
        return Ok(text);
    };
    for ((name, shape), values) in names.iter().zip(&shapes).zip(&all) {
        let to = match names.len() {
            1 => path.clone(),
            _ => path.with_extension(format!("{}.npy", name.replace('/', "_"))),
        };
        // samples behind each other along the batch
        let mut shape = shape.clone();
        match shape.first_mut() {
            Some(batch) => *batch *= count,
            None => shape = vec![count],
        }
        save(&to, &shape, values)?;
        text += &format!("{}: {name} {shape:?}\n", to.display());
    }
    Ok(text)
}

/// The largest values of a sample, a line each.
fn top(sample: usize, values: &[f32], k: usize, labels: &[String]) -> String {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
    let mut text = format!("sample {sample}\n");
    for at in order.into_iter().take(k) {
        let label = labels.get(at).map_or("", String::as_str);
        text += &format!("  {:>10.4}  {at:>5}  {label}\n", values[at]);
    }
    text
}
