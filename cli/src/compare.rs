//! `qconfig compare`: two models on the same samples.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use qconfig::quantize::{Energy, Tensor};
use serde_json::{Value, json};

use crate::model::{ModelArgs, Runner};
use crate::samples::{DataArgs, labels};
use crate::{progress, show};

/// The command's arguments.
#[derive(Args, Clone, Debug)]
pub(crate) struct CompareArgs {
    /// The model that the other is held against: .onnx, run in float, or .plan.
    a: PathBuf,
    /// The other.
    b: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// The right class of each sample, as a .npy of integers; negative where it is not known.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Counts the values of the first output that lie on the same side of this, as decisions of a detector.
    #[arg(long, value_name = "T")]
    threshold: Option<f32>,
    /// At most so many samples.
    #[arg(long, value_name = "N")]
    samples: Option<usize>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    open: ModelArgs,
}

/// What two models have in common.
#[derive(Default)]
struct Found {
    samples: usize,
    /// Samples whose largest output is the same.
    agree: usize,
    /// Samples with a label, and those that each model has right.
    labelled: usize,
    right: [usize; 2],
    /// Values of first outputs held against the threshold, and those on its same side.
    decided: usize,
    same_side: usize,
    energy: Energy,
    /// Of each sample, in decibels.
    sqnr: Vec<f64>,
    largest: f64,
    times: [Vec<Duration>; 2],
}

pub(crate) fn run(args: &CompareArgs) -> anyhow::Result<String> {
    let mut models = [
        Runner::open(&args.a, &args.open, 1)?,
        Runner::open(&args.b, &args.open, 1)?,
    ];
    let wanted = models[0].wanted();
    let shapes = |wanted: &[crate::samples::Wanted]| -> Vec<Vec<usize>> {
        wanted.iter().map(|input| input.shape.clone()).collect()
    };
    if shapes(&wanted) != shapes(&models[1].wanted()) {
        bail!(
            "{} takes {:?}, {} takes {:?}",
            args.a.display(),
            shapes(&wanted),
            args.b.display(),
            shapes(&models[1].wanted())
        );
    }
    let samples = args.data.open(&wanted)?;
    let classes = match &args.labels {
        Some(path) => labels(path).with_context(|| path.display().to_string())?,
        None => Vec::new(),
    };
    let count = samples.len().min(args.samples.unwrap_or(usize::MAX));
    if args.labels.is_some() && classes.len() < count {
        bail!("there are {count} samples and {} labels", classes.len());
    }
    let mut found = Found::default();
    let bar = progress::bar("comparing", count);
    for at in 0..count {
        let inputs = samples.get(at)?;
        // in turn, so that both see the same machine
        let mut outputs = Vec::new();
        for (model, times) in models.iter_mut().zip(&mut found.times) {
            let start = Instant::now();
            outputs.push(model.run(&inputs)?);
            times.push(start.elapsed());
        }
        let [a, b] = outputs.as_slice() else {
            continue;
        };
        found.add(a, b, classes.get(at).copied())?;
        if let (Some(threshold), [x, ..], [y, ..]) = (args.threshold, &a[..], &b[..]) {
            found.decide(threshold, x, y);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(match args.json {
        true => serde_json::to_string_pretty(&found.json(args))? + "\n",
        false => found.table(args),
    })
}

/// The position of the largest value.
fn best(values: &[f32]) -> Option<usize> {
    let largest = |(at, x): (usize, &f32)| (*x, at);
    let pairs = values.iter().enumerate().map(largest);
    pairs
        .reduce(|a, b| if b.0 > a.0 { b } else { a })
        .map(|(_, at)| at)
}

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

impl Found {
    fn add(&mut self, a: &[Tensor], b: &[Tensor], label: Option<i64>) -> anyhow::Result<()> {
        if a.len() != b.len() {
            bail!("one model has {} outputs, the other {}", a.len(), b.len());
        }
        let mut energy = Energy::default();
        for (x, y) in a.iter().zip(b) {
            if x.shape() != y.shape() {
                bail!("outputs of shapes {:?} and {:?}", x.shape(), y.shape());
            }
            energy.add(x, y);
            for (x, y) in x.data().iter().zip(y.data()) {
                self.largest = self.largest.max((f64::from(*x) - f64::from(*y)).abs());
            }
        }
        self.samples += 1;
        self.energy.signal += energy.signal;
        self.energy.noise += energy.noise;
        self.sqnr.push(energy.db());
        let tops = [a, b].map(|outputs| outputs.first().and_then(|first| best(first.data())));
        self.agree += usize::from(tops[0] == tops[1]);
        if let Some(label) = label.and_then(|label| usize::try_from(label).ok()) {
            self.labelled += 1;
            for (right, top) in self.right.iter_mut().zip(tops) {
                *right += usize::from(top == Some(label));
            }
        }
        Ok(())
    }

    fn decide(&mut self, threshold: f32, a: &Tensor, b: &Tensor) {
        self.decided += a.data().len();
        let pairs = a.data().iter().zip(b.data());
        self.same_side += pairs
            .filter(|(x, y)| (**x > threshold) == (**y > threshold))
            .count();
    }

    fn mean_sqnr(&self) -> f64 {
        self.sqnr.iter().sum::<f64>() / self.sqnr.len().max(1) as f64
    }

    fn share(&self, part: usize, whole: usize) -> f64 {
        part as f64 / whole.max(1) as f64
    }

    fn json(&self, args: &CompareArgs) -> Value {
        let [a, b] =
            [&self.times[0], &self.times[1]].map(|times| median(times).as_secs_f64() * 1e3);
        let accuracy = |right: usize| match self.labelled {
            0 => Value::Null,
            _ => self.share(right, self.labelled).into(),
        };
        json!({
            "a": args.a.display().to_string(),
            "b": args.b.display().to_string(),
            "samples": self.samples,
            "agreement": self.share(self.agree, self.samples),
            "sqnr_db": self.energy.db(),
            "mean_sqnr_db": self.mean_sqnr(),
            "largest_difference": self.largest,
            "labelled": self.labelled,
            "decisions": self.decided,
            "same_decisions": self.same_side,
            "accuracy": [accuracy(self.right[0]), accuracy(self.right[1])],
            "median_ms": [a, b],
        })
    }

    fn table(&self, args: &CompareArgs) -> String {
        let mut table = show::new(&[
            "",
            &args.a.display().to_string(),
            &args.b.display().to_string(),
        ]);
        let percent = |part, whole| format!("{:.2} %", 100.0 * self.share(part, whole));
        table.add_row([
            "same top-1".into(),
            String::new(),
            format!("{} of {}", percent(self.agree, self.samples), self.samples),
        ]);
        table.add_row([
            "signal to noise, all samples".into(),
            String::new(),
            format!("{:.2} dB", self.energy.db()),
        ]);
        table.add_row([
            "signal to noise, mean of samples".into(),
            String::new(),
            format!("{:.2} dB", self.mean_sqnr()),
        ]);
        table.add_row([
            "largest difference".into(),
            String::new(),
            format!("{:.6}", self.largest),
        ]);
        if let Some(threshold) = args.threshold {
            table.add_row([
                format!("same side of {threshold}"),
                String::new(),
                format!("{} of {}", self.same_side, self.decided),
            ]);
        }
        if self.labelled > 0 {
            table.add_row([
                format!("accuracy on {} with a label", self.labelled),
                percent(self.right[0], self.labelled),
                percent(self.right[1], self.labelled),
            ]);
        }
        let [a, b] = [&self.times[0], &self.times[1]]
            .map(|times| format!("{:.3} ms", median(times).as_secs_f64() * 1e3));
        table.add_row(["time of a sample, median".into(), a, b]);
        format!("{table}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_values_is_the_best() {
        assert_eq!(best(&[1.0, 3.0, 3.0, 2.0]), Some(1));
        assert_eq!(best(&[]), None);
    }
}
