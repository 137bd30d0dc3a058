//! Normalizations.

use super::reduce::along;
use super::types::{lanes, narrow, offsets, wide};
use super::unary::like;
use super::{Call, Operator, Problem, axes, axis, misfit};
use crate::array::{Array, Broadcast, broadcast_shape, row_major};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("BatchNormalization", batch),
    ("GroupNormalization", group),
    ("InstanceNormalization", instance),
    ("LRN", local_response),
    ("LayerNormalization", layer),
    ("LpNormalization", lp),
    ("MeanVarianceNormalization", mean_variance),
    ("RMSNormalization", root_mean_square),
    // ONNX Runtime writes it without a domain
    ("SimplifiedLayerNormalization", root_mean_square),
];

/// Parameters of which there is one a channel.
fn per_channel(call: Call<'_>, at: usize, channels: usize) -> Result<Vec<f64>, Problem> {
    let found = call.floats(at)?;
    if found.len() == channels {
        Ok(found)
    } else {
        misfit(format!(
            "input {at} has {} values for {channels} channels",
            found.len()
        ))
    }
}

/// Channels, and elements of one.
fn channels(shape: &[usize]) -> Result<(usize, usize), Problem> {
    match shape {
        [_, channels, rest @ ..] => Ok((*channels, rest.iter().product())),
        _ => misfit(format!("an input of shape {shape:?} has no channels")),
    }
}

/// As at inference.
fn batch(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    if call.attributes().flag("training_mode", false)? {
        return Err(Problem::Unsupported("training".into()));
    }
    if !call.attributes().flag("spatial", true)? {
        return Err(call.attributes().unsupported("spatial").into());
    }
    let input = call.input(0)?;
    let (channels, plane) = match input.shape() {
        [n] => (1, *n),
        shape => channels(shape)?,
    };
    let [scale, bias, mean, variance] = [1, 2, 3, 4].map(|at| per_channel(call, at, channels));
    let (scale, bias, mean, variance) = (scale?, bias?, mean?, variance?);
    let epsilon = f64::from(call.attributes().float("epsilon", 1e-5)?);
    let mut values = call.floats(0)?;
    if plane > 0 {
        for (at, plane) in values.chunks_mut(plane).enumerate() {
            let c = at % channels;
            let factor = scale[c] / (variance[c] + epsilon).sqrt();
            for x in plane {
                *x = (*x - mean[c]) * factor + bias[c];
            }
        }
    }
    Ok(vec![like(input, values)?])
}

/// Subtracts the mean and divides by the deviation; returns the mean and one over the deviation.
fn standardize(values: &mut [f64], epsilon: f64) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
    let inverse = 1.0 / (variance + epsilon).sqrt();
    for x in values {
        *x = (*x - mean) * inverse;
    }
    (mean, inverse)
}

fn instance(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let (channels, plane) = channels(input.shape())?;
    let (scale, bias) = (
        per_channel(call, 1, channels)?,
        per_channel(call, 2, channels)?,
    );
    let epsilon = f64::from(call.attributes().float("epsilon", 1e-5)?);
    let mut values = call.floats(0)?;
    if plane > 0 {
        for (at, plane) in values.chunks_mut(plane).enumerate() {
            standardize(plane, epsilon);
            for x in plane {
                *x = *x * scale[at % channels] + bias[at % channels];
            }
        }
    }
    Ok(vec![like(input, values)?])
}

/// Scale and bias are one a channel since version 21, one a group before.
fn group(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let (channels, plane) = channels(input.shape())?;
    let groups = usize::try_from(call.attributes().int("num_groups", 0)?).unwrap_or(0);
    if groups == 0 || !channels.is_multiple_of(groups) {
        return misfit(format!("{channels} channels in {groups} groups"));
    }
    let each = channels / groups;
    let parameters = if call.opset >= 21 { channels } else { groups };
    let (scale, bias) = (
        per_channel(call, 1, parameters)?,
        per_channel(call, 2, parameters)?,
    );
    let epsilon = f64::from(call.attributes().float("epsilon", 1e-5)?);
    let mut values = call.floats(0)?;
    if !values.is_empty() {
        for part in values.chunks_mut(each * plane) {
            standardize(part, epsilon);
        }
        for (at, plane) in values.chunks_mut(plane).enumerate() {
            let c = at % channels * parameters / channels;
            for x in plane {
                *x = *x * scale[c] + bias[c];
            }
        }
    }
    Ok(vec![like(input, values)?])
}

/// How a parameter stretches to a tensor.
fn stretched(parameter: &Array, shape: &[usize]) -> Result<Broadcast, Problem> {
    if broadcast_shape(&[parameter.shape(), shape]).as_deref() == Some(shape) {
        Ok(Broadcast::new(parameter.shape(), shape))
    } else {
        misfit(format!(
            "{:?} does not stretch to {shape:?}",
            parameter.shape()
        ))
    }
}

fn layer(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let shape = input.shape();
    let at = axis(call.attributes().int("axis", -1)?, shape.len())?;
    let epsilon = f64::from(call.attributes().float("epsilon", 1e-5)?);
    let mut values = call.floats(0)?;
    let (mut means, mut inverses) = (Vec::new(), Vec::new());
    let size: usize = shape[at..].iter().product();
    if size > 0 {
        for row in values.chunks_mut(size) {
            let (mean, inverse) = standardize(row, epsilon);
            means.push(mean);
            inverses.push(inverse);
        }
    }
    scale_and_shift(call, &mut values, shape)?;
    let mut outputs = vec![like(input, values)?];
    if call.wants(1) || call.wants(2) {
        let statistics: Vec<usize> = (0..shape.len())
            .map(|d| if d < at { shape[d] } else { 1 })
            .collect();
        let stash = call.attributes().int("stash_type", 1)?;
        let to = crate::array::ElementType::from_number(stash)
            .ok_or_else(|| call.attributes().unsupported("stash_type"))?;
        outputs.push(narrow(statistics.clone(), means, to)?);
        outputs.push(narrow(statistics, inverses, to)?);
    }
    Ok(outputs)
}

/// Times input 1, plus input 2 where it is there.
fn scale_and_shift(call: Call<'_>, values: &mut [f64], shape: &[usize]) -> Result<(), Problem> {
    let map = stretched(call.input(1)?, shape)?;
    let scale = call.floats(1)?;
    for (at, x) in values.iter_mut().enumerate() {
        *x *= scale[map.from(at)];
    }
    if let Some(bias) = call.optional(2) {
        let map = stretched(bias, shape)?;
        let bias = call.floats(2)?;
        for (at, x) in values.iter_mut().enumerate() {
            *x += bias[map.from(at)];
        }
    }
    Ok(())
}

fn root_mean_square(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let shape = input.shape();
    let at = axis(call.attributes().int("axis", -1)?, shape.len())?;
    let epsilon = f64::from(call.attributes().float("epsilon", 1e-5)?);
    let mut values = call.floats(0)?;
    let size: usize = shape[at..].iter().product();
    if size > 0 {
        for row in values.chunks_mut(size) {
            let mean = row.iter().map(|x| x * x).sum::<f64>() / size as f64;
            let inverse = 1.0 / (mean + epsilon).sqrt();
            for x in row {
                *x *= inverse;
            }
        }
    }
    scale_and_shift(call, &mut values, shape)?;
    Ok(vec![like(input, values)?])
}

fn lp(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let at = axis(call.attributes().int("axis", -1)?, input.shape().len())?;
    let p = call.attributes().int("p", 2)?;
    let norm = |lane: &[f64]| match p {
        1 => lane.iter().map(|x| x.abs()).sum::<f64>(),
        _ => lane.iter().map(|x| x * x).sum::<f64>().sqrt(),
    };
    if p != 1 && p != 2 {
        return Err(call.attributes().unsupported("p").into());
    }
    let mut values = call.floats(0)?;
    along(&mut values, lanes(input.shape(), at), |lane| {
        let norm = norm(lane);
        for x in lane {
            *x = if norm == 0.0 { 0.0 } else { *x / norm };
        }
    });
    Ok(vec![like(input, values)?])
}

fn mean_variance(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let shape = input.shape();
    let named = call.attributes().opt_ints("axes")?;
    let gone = axes(named.map_or(&[0, 2, 3], Vec::as_slice), shape.len())?;
    let strides = row_major(shape);
    let part = |inside: bool| {
        let dims = (0..shape.len()).filter(|d| gone.contains(d) == inside);
        let (sizes, steps): (Vec<usize>, Vec<usize>) = dims.map(|d| (shape[d], strides[d])).unzip();
        offsets(&sizes, &steps)
    };
    let (kept, reduced) = (part(false), part(true));
    let mut values = wide(input);
    let count = reduced.len() as f64;
    for from in kept {
        let mean = reduced.iter().map(|r| values[from + r]).sum::<f64>() / count;
        let squares = reduced.iter().map(|r| values[from + r] * values[from + r]);
        let deviation = (squares.sum::<f64>() / count - mean * mean).max(0.0).sqrt();
        for r in &reduced {
            values[from + r] = (values[from + r] - mean) / (deviation + 1e-9);
        }
    }
    Ok(vec![like(input, values)?])
}

/// Over neighbouring channels.
fn local_response(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let (channels, plane) = channels(input.shape())?;
    let size = match call.attributes().int("size", 0)? {
        size @ 1..=1_000_000 => size as usize,
        _ => return Err(call.attributes().unsupported("size").into()),
    };
    let alpha = f64::from(call.attributes().float("alpha", 1e-4)?);
    let beta = f64::from(call.attributes().float("beta", 0.75)?);
    let bias = f64::from(call.attributes().float("bias", 1.0)?);
    let values = call.floats(0)?;
    let mut found = values.clone();
    for (at, y) in found.iter_mut().enumerate() {
        let (n, c, i) = (at / plane / channels, at / plane % channels, at % plane);
        let first = c.saturating_sub((size - 1) / 2);
        let last = (c + size / 2).min(channels - 1);
        let near = (first..=last).map(|c| values[(n * channels + c) * plane + i]);
        let sum: f64 = near.map(|x| x * x).sum();
        *y /= libm::pow(bias + alpha / size as f64 * sum, beta);
    }
    Ok(vec![like(input, found)?])
}
