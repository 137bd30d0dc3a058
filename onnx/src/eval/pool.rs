//! Pools.

use super::types::{narrow, room};
use super::window::{PADDING, Window};
use super::{Call, Operator, Problem, filled, misfit};
use crate::array::{Array, Number};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("AveragePool", average_pool),
    ("GlobalAveragePool", |call| {
        global(call, |plane| plane.iter().sum::<f64>() / plane.len() as f64)
    }),
    ("GlobalLpPool", global_lp_pool),
    ("GlobalMaxPool", |call| {
        global(call, |plane| {
            plane.iter().copied().fold(f64::NEG_INFINITY, f64::max)
        })
    }),
    ("LpPool", lp_pool),
    ("MaxPool", max_pool),
    ("MaxUnpool", max_unpool),
];

/// The window of a node, and the shape of its output.
fn window(call: Call<'_>, shape: &[usize]) -> Result<(Window, Vec<usize>), Problem> {
    let [batch, channels, input @ ..] = shape else {
        return misfit(format!("an input of shape {shape:?} has no channels"));
    };
    let kernel = call.attributes().sizes("kernel_shape", &[])?;
    let window = Window::new(call, input, &kernel)?;
    let to = [&[*batch, *channels], window.output.as_slice()].concat();
    room(&to)?;
    Ok((window, to))
}

/// Positions of the output, each with the elements of the plane that it sees.
fn seen(window: &Window) -> Vec<Vec<u32>> {
    let (taps, positions) = (window.taps(), window.positions());
    let at = |p: usize| {
        let taps = taps.iter().skip(p).step_by(positions).copied();
        taps.filter(|at| *at != PADDING).collect()
    };
    (0..positions).map(at).collect()
}

/// Averages over what is in the input, or in the padding too.
pub(super) fn averages(
    call: Call<'_>,
    shape: &[usize],
    values: &[f64],
) -> Result<(Vec<usize>, Vec<f64>), Problem> {
    let (window, to) = window(call, shape)?;
    let counts = match call.attributes().flag("count_include_pad", false)? {
        true => Some(window.padded_taps()),
        false => None,
    };
    let (seen, plane) = (seen(&window), window.plane());
    let mut found = Vec::with_capacity(to.iter().product());
    for plane in values.chunks(plane) {
        for (p, taps) in seen.iter().enumerate() {
            let sum: f64 = taps.iter().map(|at| plane[*at as usize]).sum();
            let count = counts.as_ref().map_or(taps.len(), |counts| counts[p]);
            found.push(sum / count as f64);
        }
    }
    Ok((to, found))
}

fn average_pool(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let (to, found) = averages(call, input.shape(), &call.floats(0)?)?;
    Ok(vec![narrow(to, found, input.element_type())?])
}

fn lp_pool(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let p = power(call)?;
    let values: Vec<f64> = call
        .floats(0)?
        .iter()
        .map(|x| libm::pow(x.abs(), p))
        .collect();
    let (window, to) = window(call, input.shape())?;
    let (seen, plane) = (seen(&window), window.plane());
    let mut found = Vec::with_capacity(to.iter().product());
    for plane in values.chunks(plane) {
        for taps in &seen {
            let sum: f64 = taps.iter().map(|at| plane[*at as usize]).sum();
            found.push(libm::pow(sum, 1.0 / p));
        }
    }
    Ok(vec![narrow(to, found, input.element_type())?])
}

fn power(call: Call<'_>) -> Result<f64, Problem> {
    match call.attributes().int("p", 2)? {
        p @ 1..=1000 => Ok(p as f64),
        _ => Err(call.attributes().unsupported("p").into()),
    }
}

/// The first of the largest, and where it stands.
fn max_pool(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    fn found<T: Number>(
        values: &[T],
        plane: usize,
        seen: &[Vec<u32>],
        lowest: T,
    ) -> (Vec<T>, Vec<i64>) {
        let (mut best, mut places) = (Vec::new(), Vec::new());
        for (n, part) in values.chunks(plane).enumerate() {
            for taps in seen {
                let mut top = (lowest, 0);
                for (i, at) in taps.iter().enumerate() {
                    let x = part[*at as usize];
                    if i == 0 || x > top.0 {
                        top = (x, *at);
                    }
                }
                best.push(top.0);
                places.push((n * plane + top.1 as usize) as i64);
            }
        }
        (best, places)
    }
    let shape = call.input(0)?.shape();
    let (window, to) = window(call, shape)?;
    let (seen, plane) = (seen(&window), window.plane());
    let columns = call.attributes().flag("storage_order", false)?;
    let (best, mut places) = on_numbers!(call, 0, values => {
        let (best, places) = found(values, plane, &seen, Number::from_f64(f64::NEG_INFINITY));
        Ok((filled(to.clone(), best)?, places))
    })?;
    if columns {
        // counted with the first dimension of the plane fastest
        for place in &mut places {
            let (n, mut rest) = (*place as usize / plane, *place as usize % plane);
            let mut position = 0;
            let mut sizes = window.input.clone();
            while let Some(size) = sizes.pop() {
                let step: usize = sizes.iter().product();
                position += rest % size * step;
                rest /= size;
            }
            *place = (n * plane + position) as i64;
        }
    }
    Ok(vec![best, filled(to, places)?])
}

fn max_unpool(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let places = call.integers(1)?;
    let [batch, channels, sizes @ ..] = input.shape() else {
        return misfit("the input has no channels");
    };
    let to = match call.optional(2) {
        Some(_) => {
            let sizes = call.integers(2)?;
            let sizes = sizes.iter().map(|size| usize::try_from(*size).ok());
            let sizes: Option<Vec<usize>> = sizes.collect();
            sizes.ok_or_else(|| Problem::Input("a negative size".into()))?
        }
        None => {
            let (strides, _, front, back) = super::window::attributes(call, sizes.len())?;
            let kernel = call.attributes().sizes("kernel_shape", &[])?;
            if kernel.len() != sizes.len()
                || !sizes
                    .iter()
                    .chain(&kernel)
                    .all(|x| (1..=1 << 24).contains(x))
            {
                return misfit(format!("windows {kernel:?} over {sizes:?}"));
            }
            let mut to = vec![*batch, *channels];
            for d in 0..sizes.len() {
                let size = (sizes[d] - 1) * strides[d] + kernel[d];
                let Some(size) = size.checked_sub(front[d] + back[d]) else {
                    return misfit("more padding than elements");
                };
                to.push(size);
            }
            to
        }
    };
    let mut found = vec![0.0; room(&to)?];
    // places count inside the tensor without what `output_shape` adds
    let plain = match call.optional(2) {
        None => to.clone(),
        Some(_) => {
            let one = Call {
                inputs: &call.inputs[..2],
                ..call
            };
            max_unpool(one)?[0].shape().to_vec()
        }
    };
    if plain.len() != to.len() || places.len() != input.len() {
        return misfit("the places do not fit the input");
    }
    let strides = crate::array::row_major(&to);
    for (x, place) in call.floats(0)?.iter().zip(&places) {
        let mut rest = usize::try_from(*place).unwrap_or(usize::MAX);
        let mut position = 0;
        for (size, stride) in plain.iter().zip(&strides).rev() {
            position += rest % size.max(&1) * stride;
            rest /= size.max(&1);
        }
        match found.get_mut(position) {
            Some(to) if rest == 0 => *to = *x,
            _ => return misfit(format!("there is no element {place} in {plain:?}")),
        }
    }
    Ok(vec![narrow(to, found, input.element_type())?])
}

/// One value a channel.
fn global(call: Call<'_>, f: impl Fn(&[f64]) -> f64) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let [batch, channels, rest @ ..] = input.shape() else {
        return misfit("the input has no channels");
    };
    let plane: usize = rest.iter().product();
    if plane == 0 {
        return misfit("a plane without elements");
    }
    let mut to = vec![1; input.shape().len()];
    (to[0], to[1]) = (*batch, *channels);
    let found = call.floats(0)?.chunks(plane).map(f).collect();
    Ok(vec![narrow(to, found, input.element_type())?])
}

fn global_lp_pool(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let p = power(call)?;
    global(call, |plane| {
        let sum: f64 = plane.iter().map(|x| libm::pow(x.abs(), p)).sum();
        libm::pow(sum, 1.0 / p)
    })
}
