//! Accuracy, agreement and latency.

use std::error::Error;
use std::slice;
use std::time::{Duration, Instant};

use qconfig::Isa;
use qconfig::quantize::{Graph, LayerReport, Lowered, ReferenceModel, report};
use qconfig::runtime::{Session, SessionOptions};

use crate::data::Labelled;

/// How a model does on the evaluation digits.
pub(crate) struct Score {
    /// Right answers.
    pub(crate) right: usize,
    /// All answers.
    pub(crate) of: usize,
    /// Same answer as the float model.
    pub(crate) agree: usize,
    /// The answers.
    pub(crate) classes: Vec<usize>,
    /// Median time of one digit.
    pub(crate) median: Duration,
    /// Bytes of weights as the model holds them.
    pub(crate) weight_bytes: usize,
}

/// Digits over which layers are compared with float.
const COMPARED: usize = 64;

fn argmax(logits: &[f32]) -> usize {
    logits
        .iter()
        .enumerate()
        .max_by(|a, b| a.1.total_cmp(b.1))
        .map_or(0, |(class, _)| class)
}

fn score(
    eval: &Labelled,
    weight_bytes: usize,
    mut classify: impl FnMut(&[f32]) -> Result<usize, Box<dyn Error>>,
) -> Result<Score, Box<dyn Error>> {
    let (mut classes, mut times) = (Vec::new(), Vec::new());
    for image in &eval.images {
        let start = Instant::now();
        classes.push(classify(image.data())?);
        times.push(start.elapsed());
    }
    times.sort();
    let right = classes
        .iter()
        .zip(&eval.labels)
        .filter(|(class, label)| **class == usize::from(**label))
        .count();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    Ok(Score {
        right,
        of: classes.len(),
        agree: classes.len(),
        classes,
        median,
        weight_bytes,
    })
}

/// Runs the float graph.
pub(crate) fn float(graph: &Graph, eval: &Labelled) -> Result<Score, Box<dyn Error>> {
    let mut images = eval.images.iter();
    score(eval, graph.weight_bytes(), |_| {
        let image = images.next().ok_or("as many images as answers")?;
        let outputs = graph.run(slice::from_ref(image))?;
        Ok(argmax(outputs.first().ok_or("one output")?.data()))
    })
}

/// Runs the plan on one thread.
pub(crate) fn plan(
    lowered: &Lowered,
    eval: &Labelled,
    float: &Score,
    isa: Isa,
) -> Result<Score, Box<dyn Error>> {
    let mut session = Session::new(&lowered.plan, SessionOptions::with_isa(isa))?;
    let mut logits = [0.0; 10];
    let mut score = score(eval, lowered.plan.blob_bytes(), |image| {
        session.set_input_f32(0, image)?;
        session.run()?;
        session.output_f32(0, &mut logits)?;
        Ok(argmax(&logits))
    })?;
    score.agree = score
        .classes
        .iter()
        .zip(&float.classes)
        .filter(|(a, b)| a == b)
        .count();
    Ok(score)
}

/// Compares every layer with float.
pub(crate) fn layers(
    model: &ReferenceModel,
    lowered: &Lowered,
    eval: &Labelled,
    isa: Isa,
) -> Result<Vec<LayerReport>, Box<dyn Error>> {
    let options = SessionOptions {
        keep_all: true,
        ..SessionOptions::with_isa(isa)
    };
    let mut session = Session::new(&lowered.plan, options)?;
    let samples = eval.images.iter().take(COMPARED).map(slice::from_ref);
    Ok(report(model, lowered, &mut session, samples)?)
}
