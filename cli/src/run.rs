//! `qconfig run`: samples through a model, outputs as .npy or .npz.

use std::path::PathBuf;

use clap::Args;

use crate::model::{ModelArgs, Runner};
use crate::progress;
use crate::samples::{DataArgs, Saved, save, save_archive};

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
    /// Where the outputs go: a .npz with all of them by name, or one .npy, or for a model with several outputs one
    /// each, their names in front of the extension.
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
    let mut arrays = Vec::new();
    for ((name, mut shape), values) in names.iter().zip(shapes).zip(&all) {
        // samples behind each other along the batch
        match shape.first_mut() {
            Some(batch) => *batch *= count,
            None => shape = vec![count],
        }
        arrays.push(Saved {
            name,
            shape,
            values,
        });
    }
    let is_archive = path
        .extension()
        .is_some_and(|found| found.eq_ignore_ascii_case("npz"));
    if is_archive {
        save_archive(path, &arrays)?;
    }
    for array in &arrays {
        let to = match arrays.len() {
            1 => path.clone(),
            _ if is_archive => path.clone(),
            _ => path.with_extension(format!("{}.npy", file_name(array.name))),
        };
        if !is_archive {
            save(&to, array)?;
        }
        text += &format!("{}: {} {:?}\n", to.display(), array.name, array.shape);
    }
    Ok(text)
}

/// A name as a file may be called on any system.
fn file_name(name: &str) -> String {
    let plain = |c: char| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' => c,
        _ => '_',
    };
    name.chars().map(plain).collect()
}

/// The largest values of a sample, a line each.
fn top(sample: usize, values: &[f32], k: usize, labels: &[String]) -> String {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
    let mut text = format!("sample {sample}\n");
    for at in order.into_iter().take(k) {
        let label = labels.get(at).map_or("", String::as_str);
        let line = format!("  {:>10.4}  {at:>5}  {label}", values[at]);
        text += line.trim_end();
        text += "\n";
    }
    text
}
