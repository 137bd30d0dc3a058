//! Convolutions, as products of matrices.

use super::product::{Real, product};
use super::types::{narrow, room, wide};
use super::window::{AutoPad, PADDING, Window, attributes, auto_pad};
use super::{Call, Operator, Problem, filled, misfit};
use crate::array::{Array, Data};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("CausalConvWithState", causal),
    ("Col2Im", col2im),
    ("Conv", conv),
    ("ConvInteger", conv_integer),
    ("ConvTranspose", conv_transpose),
];

/// Elements of the matrix that a part of an image becomes.
const CHUNK: usize = 1 << 21;

/// Sizes of a convolution: batch, channels in and out of a group, groups.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    batch: usize,
    input: usize,
    output: usize,
    groups: usize,
}

/// Sizes and window of a convolution of `x` with weights `w`: `[N, C, ...]`, `[M, C / groups, ...]`.
fn sizes(call: Call<'_>, x: &[usize], w: &[usize]) -> Result<(Sizes, Window), Problem> {
    let misfits = || Problem::Input(format!("weights of shape {w:?} on an input of shape {x:?}"));
    if x.len() < 3 || w.len() != x.len() {
        return Err(misfits());
    }
    let groups = usize::try_from(call.attributes().int("group", 1)?).unwrap_or(0);
    if groups == 0
        || !x[1].is_multiple_of(groups)
        || !w[0].is_multiple_of(groups)
        || w[1] != x[1] / groups
    {
        return Err(misfits());
    }
    let kernel = call.attributes().sizes("kernel_shape", &w[2..])?;
    if kernel != w[2..] {
        return Err(misfits());
    }
    let window = Window::new(call, &x[2..], &kernel)?;
    let sizes = Sizes {
        batch: x[0],
        input: w[1],
        output: w[0] / groups,
        groups,
    };
    room(&[x[0], w[0], window.positions()])?;
    Ok((sizes, window))
}

/// `[N, M, ...]`, without a bias.
fn convolved<T: Real>(x: &[T], w: &[T], sizes: Sizes, window: &Window) -> Vec<T> {
    let (positions, kernel, plane) = (window.positions(), window.size(), window.plane());
    let Sizes {
        batch,
        input,
        output,
        groups,
    } = sizes;
    let depth = input * kernel;
    let mut y = vec![T::zero(); batch * groups * output * positions];
    if y.is_empty() || depth == 0 {
        return y;
    }
    // a window of one element that moves by one reads the image as it is
    let as_is =
        kernel == 1 && window.output == window.input && window.front.iter().all(|x| *x == 0);
    let taps = window.taps();
    let chunk = (CHUNK / depth).clamp(1, positions);
    let mut columns = Vec::new();
    for n in 0..batch {
        for g in 0..groups {
            let image = &x[(n * groups + g) * input * plane..][..input * plane];
            let weights = &w[g * output * depth..][..output * depth];
            let out = &mut y[(n * groups + g) * output * positions..][..output * positions];
            if input == 1 && output == 1 {
                for (tap, weight) in taps.chunks(positions).zip(weights) {
                    for (y, at) in out.iter_mut().zip(tap) {
                        if *at != PADDING {
                            *y = *y + *weight * image[*at as usize];
                        }
                    }
                }
                continue;
            }
            if as_is {
                out.copy_from_slice(&product(weights, image, (output, depth, positions)));
                continue;
            }
            for start in (0..positions).step_by(chunk) {
                let end = (start + chunk).min(positions);
                columns.clear();
                for channel in image.chunks(plane) {
                    for tap in taps.chunks(positions) {
                        columns.extend(tap[start..end].iter().map(|at| match *at {
                            PADDING => T::zero(),
                            at => channel[at as usize],
                        }));
                    }
                }
                let part = product(weights, &columns, (output, depth, end - start));
                for (row, part) in out.chunks_mut(positions).zip(part.chunks(end - start)) {
                    row[start..end].copy_from_slice(part);
                }
            }
        }
    }
    y
}

/// Adds a bias to each channel.
fn add_bias<T: Real>(y: &mut [T], bias: &[T], plane: usize) {
    if bias.is_empty() || plane == 0 {
        return;
    }
    for (at, channel) in y.chunks_mut(plane).enumerate() {
        let bias = bias[at % bias.len()];
        for y in channel {
            *y = *y + bias;
        }
    }
}

fn conv(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let (x, w) = (call.input(0)?, call.input(1)?);
    let (sizes, window) = sizes(call, x.shape(), w.shape())?;
    let channels = w.shape()[0];
    if let Some(bias) = call.optional(2)
        && (bias.len() != channels || bias.element_type() != x.element_type())
    {
        return misfit(format!(
            "a bias of shape {:?} for {channels} channels",
            bias.shape()
        ));
    }
    let shape = [&[sizes.batch, channels], window.output.as_slice()].concat();
    if let (Data::Float32(x), Data::Float32(w)) = (x.data(), w.data()) {
        let mut y = convolved(x, w, sizes, &window);
        if call.optional(2).is_some() {
            add_bias(&mut y, call.values::<f32>(2)?, window.positions());
        }
        return Ok(vec![filled(shape, y)?]);
    }
    if x.element_type() != w.element_type() {
        return Err(Problem::Type(1, w.element_type()));
    }
    let mut y = convolved(&call.floats(0)?, &call.floats(1)?, sizes, &window);
    let bias = call.opt_floats(2)?.unwrap_or_default();
    add_bias(&mut y, &bias, window.positions());
    Ok(vec![narrow(shape, y, x.element_type())?])
}

/// Sums of products of 8-bit numbers without their zero points: exact, as whole numbers in `f64`. The
/// zero point of weights may be one a channel.
pub(super) fn conv_sums(
    call: Call<'_>,
    (x, x_zero): (&Array, Option<&Array>),
    (w, w_zero): (&Array, Option<&Array>),
) -> Result<(Vec<usize>, Vec<f64>), Problem> {
    let (sizes, window) = sizes(call, x.shape(), w.shape())?;
    let channels = w.shape()[0];
    let zero = |array: Option<&Array>| array.map_or_else(|| vec![0.0], wide);
    let (x_zero, w_zero) = (zero(x_zero), zero(w_zero));
    if x_zero.len() != 1 || (w_zero.len() != 1 && w_zero.len() != channels) {
        return misfit("a zero point a channel is only for weights");
    }
    let x: Vec<f64> = wide(x).iter().map(|x| x - x_zero[0]).collect();
    let each = (w.len() / channels.max(1)).max(1);
    let w = wide(w).into_iter().enumerate();
    let w: Vec<f64> = w
        .map(|(at, w)| w - w_zero[at / each % w_zero.len()])
        .collect();
    let y = convolved(&x, &w, sizes, &window);
    Ok((
        [&[sizes.batch, channels], window.output.as_slice()].concat(),
        y,
    ))
}

fn conv_integer(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    super::quantized::eight_bits(call, 0)?;
    super::quantized::eight_bits(call, 1)?;
    let (shape, sums) = conv_sums(
        call,
        (call.input(0)?, call.optional(2)),
        (call.input(1)?, call.optional(3)),
    )?;
    Ok(vec![filled(shape, super::quantized::wrapped(&sums))?])
}

/// Weights are `[C, M / groups, ...]`.
fn conv_transpose(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let (x, w) = (call.input(0)?, call.input(1)?);
    let (xs, ws) = (x.shape(), w.shape());
    let misfits = || {
        Problem::Input(format!(
            "weights of shape {ws:?} on an input of shape {xs:?}"
        ))
    };
    let groups = usize::try_from(call.attributes().int("group", 1)?).unwrap_or(0);
    if xs.len() < 3
        || ws.len() != xs.len()
        || groups == 0
        || !xs[1].is_multiple_of(groups)
        || ws[0] != xs[1]
    {
        return Err(misfits());
    }
    let dims = xs.len() - 2;
    let kernel = &ws[2..];
    let (strides, dilations, mut front, back) = attributes(call, dims)?;
    let extra = call.attributes().sizes("output_padding", &vec![0; dims])?;
    let asked = call.attributes().opt_ints("output_shape")?;
    let small = |list: &[usize]| list.iter().all(|x| *x <= 1 << 24);
    if call.attributes().sizes("kernel_shape", kernel)? != kernel
        || extra.len() < dims
        || kernel.contains(&0)
        || xs.contains(&0)
        || !small(kernel)
        || !small(xs)
        || !small(&extra)
    {
        return Err(misfits());
    }
    let auto = auto_pad(call)?;
    let mut output = Vec::new();
    for d in 0..dims {
        let whole = strides[d] * (xs[2 + d] - 1) + extra[d] + (kernel[d] - 1) * dilations[d] + 1;
        let wanted = match asked {
            // the batch and the channels may stand in front
            Some(asked) if asked.len() >= dims => asked
                .get(asked.len() - dims + d)
                .and_then(|size| usize::try_from(*size).ok()),
            Some(_) => return Err(call.attributes().unsupported("output_shape").into()),
            None if matches!(auto, AutoPad::Upper | AutoPad::Lower) => Some(xs[2 + d] * strides[d]),
            None => whole.checked_sub(if auto == AutoPad::No {
                front[d] + back[d]
            } else {
                0
            }),
        };
        let size = wanted.ok_or_else(misfits)?;
        if asked.is_some() || matches!(auto, AutoPad::Upper | AutoPad::Lower) {
            let total = whole.saturating_sub(size);
            front[d] = match auto {
                AutoPad::Upper => total / 2,
                _ => total - total / 2,
            };
        } else if auto == AutoPad::Valid {
            front[d] = 0;
        }
        output.push(size);
    }
    let (inputs, outputs) = (xs[1] / groups, ws[1]);
    let shape = [&[xs[0], outputs * groups], output.as_slice()].concat();
    room(&shape)?;
    // the transpose of the convolution whose window slides over the output
    let window = Window {
        input: output,
        kernel: kernel.to_vec(),
        strides,
        dilations,
        front,
        back,
        output: xs[2..].to_vec(),
    };
    let (taps, kernel) = (room(&[window.positions(), window.size()])?, window.size());
    let work = room(&[outputs, kernel])?.checked_mul(window.positions());
    if taps > 1 << 27 || work.is_none_or(|work| work > 1 << 30) {
        return misfit("the convolution is too large");
    }
    if x.element_type() != w.element_type() {
        return Err(Problem::Type(1, w.element_type()));
    }
    let bias = call.opt_floats(2)?.unwrap_or_default();
    if call.optional(2).is_some() && bias.len() != outputs * groups {
        return misfit(format!(
            "{} biases for {} channels",
            bias.len(),
            outputs * groups
        ));
    }
    let (values, weights) = (call.floats(0)?, call.floats(1)?);
    let taps = window.taps();
    let (positions, plane) = (window.positions(), window.plane());
    let mut y = vec![0.0; shape.iter().product()];
    // weights of a group as [M * kernel, C]
    let depth = outputs * kernel;
    for g in 0..groups {
        let part = &weights[g * inputs * depth..][..inputs * depth];
        let mut turned = vec![0.0; part.len()];
        for c in 0..inputs {
            for m in 0..depth {
                turned[m * inputs + c] = part[c * depth + m];
            }
        }
        for n in 0..xs[0] {
            let image = &values[(n * groups + g) * inputs * positions..][..inputs * positions];
            let columns = product(&turned, image, (depth, inputs, positions));
            let to = &mut y[(n * groups + g) * outputs * plane..][..outputs * plane];
            gather_columns(to, &columns, &taps, plane, kernel * positions);
        }
    }
    add_bias(&mut y, &bias, plane);
    Ok(vec![narrow(shape, y, x.element_type())?])
}

/// Adds columns to where they were taken from.
fn gather_columns(to: &mut [f64], columns: &[f64], taps: &[u32], plane: usize, each: usize) {
    if plane == 0 || each == 0 {
        return;
    }
    for (plane, columns) in to.chunks_mut(plane).zip(columns.chunks(each)) {
        for (value, at) in columns.iter().zip(taps) {
            if *at != PADDING {
                plane[*at as usize] += value;
            }
        }
    }
}

/// `[N, C * block, L]` to `[N, C, image]`.
fn col2im(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let sizes = |at: usize| -> Result<Vec<usize>, Problem> {
        let sizes = call.integers(at)?;
        let sizes = sizes.iter().map(|size| usize::try_from(*size).ok());
        sizes
            .collect::<Option<_>>()
            .ok_or_else(|| Problem::Input(format!("input {at} has a negative size")))
    };
    let window = Window::new(call, &sizes(1)?, &sizes(2)?)?;
    let (kernel, positions, plane) = (window.size(), window.positions(), window.plane());
    let [batch, rows, length] = *input.shape() else {
        return misfit("the input must have three dimensions");
    };
    if !rows.is_multiple_of(kernel) || length != positions {
        return misfit(format!(
            "{:?} is not of windows {:?}",
            input.shape(),
            window.kernel
        ));
    }
    let shape = [&[batch, rows / kernel], window.input.as_slice()].concat();
    let mut y = vec![0.0; room(&shape)?];
    gather_columns(
        &mut y,
        &call.floats(0)?,
        &window.taps(),
        plane,
        kernel * positions,
    );
    Ok(vec![narrow(shape, y, input.element_type())?])
}

/// A depthwise convolution over what came before and the input, and the end of it to go on with.
fn causal(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let (x, w) = (call.input(0)?, call.input(1)?);
    let ([batch, channels, length], [rows, 1, k]) = (
        <[usize; 3]>::try_from(x.shape()).unwrap_or_default(),
        <[usize; 3]>::try_from(w.shape()).unwrap_or_default(),
    ) else {
        return misfit("weights [channels, 1, k] are needed");
    };
    if rows != channels || k == 0 || length == 0 {
        return misfit(format!(
            "weights of shape {:?} on {:?}",
            w.shape(),
            x.shape()
        ));
    }
    let swish = match call.attributes().string("activation", "none")? {
        "none" => false,
        "silu" | "swish" => true,
        _ => return Err(call.attributes().unsupported("activation").into()),
    };
    let (values, weights) = (call.floats(0)?, call.floats(1)?);
    let bias = call.opt_floats(2)?.unwrap_or_else(|| vec![0.0; channels]);
    let past = match call.optional(3) {
        Some(past) if past.shape() != [batch, channels, k - 1] => {
            return misfit(format!("a state of shape {:?}", past.shape()));
        }
        Some(_) => call.floats(3)?,
        None => vec![0.0; room(&[batch, channels, k - 1])?],
    };
    if bias.len() != channels {
        return misfit(format!("{} biases for {channels} channels", bias.len()));
    }
    let (mut y, mut state) = (Vec::new(), Vec::new());
    for row in 0..batch * channels {
        let c = row % channels;
        let all = [
            &past[row * (k - 1)..][..k - 1],
            &values[row * length..][..length],
        ]
        .concat();
        for window in all.windows(k) {
            let taps = window.iter().zip(&weights[c * k..][..k]);
            let sum = taps.map(|(x, w)| x * w).sum::<f64>() + bias[c];
            y.push(if swish {
                sum * super::unary::sigmoid(sum)
            } else {
                sum
            });
        }
        state.extend_from_slice(&all[length..]);
    }
    let to = x.element_type();
    Ok(vec![
        narrow(x.shape().to_vec(), y, to)?,
        narrow(vec![batch, channels, k - 1], state, to)?,
    ])
}
