//! Images of another size, and images read at positions between their elements.

use super::types::{narrow, room, wide};
use super::{Call, Operator, Problem, axis, misfit};
use crate::array::{Array, cast, elements};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("AffineGrid", affine_grid),
    ("GridSample", grid_sample),
    ("Resize", resize),
    ("Upsample", upsample),
];

/// How a value between elements is made.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Mode {
    Nearest(Nearest),
    Linear,
    Cubic(f64),
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Nearest {
    PreferFloor,
    PreferCeil,
    Floor,
    Ceil,
}

/// How one axis is resized.
struct Axis<'a> {
    input: usize,
    output: usize,
    scale: f64,
    /// Start and end of what is cut out, for `tf_crop_and_resize`.
    roi: (f64, f64),
    coordinates: &'a str,
    exclude_outside: bool,
    antialias: bool,
}

impl Axis<'_> {
    /// The position in the input of position `x` in the output; `None` for modes that are not known.
    fn position(&self, x: f64) -> Option<f64> {
        let input = self.input as f64;
        // the output's size as the scale has it
        let output = self.scale * input;
        Some(match self.coordinates {
            "half_pixel" => (x + 0.5) / self.scale - 0.5,
            "half_pixel_symmetric" => {
                let adjustment = self.output as f64 / output;
                let offset = input / 2.0 * (1.0 - adjustment);
                offset + (x + 0.5) / self.scale - 0.5
            }
            "pytorch_half_pixel" if self.output == 1 => -0.5,
            "pytorch_half_pixel" => (x + 0.5) / self.scale - 0.5,
            "align_corners" if output == 1.0 => 0.0,
            "align_corners" => x * (input - 1.0) / (output - 1.0),
            "asymmetric" => x / self.scale,
            "tf_half_pixel_for_nn" => (x + 0.5) / self.scale,
            "tf_crop_and_resize" => {
                let (start, end) = self.roi;
                let inside = if output == 1.0 {
                    (end - start) * (input - 1.0) / 2.0
                } else {
                    x * (end - start) * (input - 1.0) / (output - 1.0)
                };
                inside + start * (input - 1.0)
            }
            _ => return None,
        })
    }

    /// Which elements a position is made of, and how much of each; their edges repeat.
    fn weights(&self, at: f64, mode: Mode) -> Vec<(usize, f64)> {
        let last = self.input as i64 - 1;
        let base = at.floor();
        let ratio = at - base;
        let base = base as i64;
        let squeeze = if self.antialias {
            self.scale.min(1.0)
        } else {
            1.0
        };
        let taps: Vec<(i64, f64)> = match mode {
            Mode::Nearest(nearest) => {
                let up = match nearest {
                    Nearest::PreferFloor => ratio > 0.5,
                    Nearest::PreferCeil => ratio >= 0.5,
                    Nearest::Floor => false,
                    Nearest::Ceil => ratio > 0.0,
                };
                vec![(base + i64::from(up), 1.0)]
            }
            Mode::Linear => {
                let reach = (1.0 / squeeze).ceil() as i64;
                let weight = |i: i64| (1.0 - ((i as f64 - ratio) * squeeze).abs()).clamp(0.0, 1.0);
                (1 - reach..=reach).map(|i| (base + i, weight(i))).collect()
            }
            Mode::Cubic(a) => {
                let reach = (2.0 / squeeze).ceil() as i64;
                let weight = |i: i64| cubic((i as f64 - ratio) * squeeze, a);
                (1 - reach..=reach).map(|i| (base + i, weight(i))).collect()
            }
        };
        let kept = |at: i64| !self.exclude_outside || (0..=last).contains(&at);
        let total: f64 = taps.iter().filter(|tap| kept(tap.0)).map(|tap| tap.1).sum();
        // without either the weights are one together as they are
        let total = if self.exclude_outside || self.antialias {
            total
        } else {
            1.0
        };
        taps.into_iter()
            .filter(|tap| kept(tap.0) && tap.1 != 0.0)
            .map(|(at, weight)| (at.clamp(0, last.max(0)) as usize, weight / total))
            .collect()
    }
}

/// The cubic convolution's kernel.
fn cubic(x: f64, a: f64) -> f64 {
    let x = x.abs();
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}

fn mode(call: Call<'_>) -> Result<Mode, Problem> {
    let nearest = match call.attributes().string("nearest_mode", "")? {
        // before version 11 there was one way
        "" if call.opset < 11 => Nearest::Floor,
        "" | "round_prefer_floor" => Nearest::PreferFloor,
        "round_prefer_ceil" => Nearest::PreferCeil,
        "floor" => Nearest::Floor,
        "ceil" => Nearest::Ceil,
        _ => return Err(call.attributes().unsupported("nearest_mode").into()),
    };
    Ok(match call.attributes().string("mode", "nearest")? {
        "nearest" => Mode::Nearest(nearest),
        "linear" | "bilinear" => Mode::Linear,
        "cubic" => Mode::Cubic(f64::from(call.attributes().float("cubic_coeff_a", -0.75)?)),
        _ => return Err(call.attributes().unsupported("mode").into()),
    })
}

/// Scales as an input, sizes, or (before version 11) scales alone.
fn resize(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let shape = input.shape();
    let rank = shape.len();
    let (roi_at, scales_at) = if call.opset < 11 {
        (usize::MAX, 1)
    } else {
        (1, 2)
    };
    let named: Vec<usize> = match call.attributes().opt_ints("axes")? {
        Some(list) => {
            super::axes(list, rank)?;
            list.iter()
                .map(|at| axis(*at, rank))
                .collect::<Result<_, _>>()?
        }
        None => (0..rank).collect(),
    };
    let given = call.optional(scales_at).filter(|scales| !scales.is_empty());
    let given_sizes = if call.opset < 11 {
        None
    } else {
        call.optional(3).filter(|sizes| !sizes.is_empty())
    };
    let (mut scales, mut to) = (vec![1.0; rank], shape.to_vec());
    let misfits = || Problem::Input(format!("scales or sizes for axes {named:?} of {shape:?}"));
    match (given, given_sizes) {
        (Some(given), None) => {
            let given = wide(given);
            if given.len() != named.len() {
                return Err(misfits());
            }
            for (d, scale) in named.iter().zip(given) {
                scales[*d] = scale;
                let size = (scale * shape[*d] as f64).floor();
                if !(scale > 0.0 && size <= 1e9) {
                    return Err(misfits());
                }
                to[*d] = size as usize;
            }
        }
        (None, Some(_)) => {
            let sizes = call.integers(3)?;
            if sizes.len() != named.len() {
                return Err(misfits());
            }
            let policy = call
                .attributes()
                .string("keep_aspect_ratio_policy", "stretch")?;
            let ratio = |(d, size): (&usize, &i64)| *size as f64 / shape[*d] as f64;
            let ratios = named.iter().zip(&sizes).map(ratio);
            let common = match policy {
                "stretch" => None,
                "not_larger" => Some(ratios.fold(f64::INFINITY, f64::min)),
                "not_smaller" => Some(ratios.fold(0.0, f64::max)),
                _ => {
                    return Err(call
                        .attributes()
                        .unsupported("keep_aspect_ratio_policy")
                        .into());
                }
            };
            for (d, size) in named.iter().zip(&sizes) {
                let size = usize::try_from(*size).map_err(|_| misfits())?;
                let Some(common) = common else {
                    to[*d] = size;
                    scales[*d] = size as f64 / shape[*d] as f64;
                    continue;
                };
                let size = (common * shape[*d] as f64 + 0.5).floor();
                if size.is_nan() || size > 1e9 {
                    return Err(misfits());
                }
                to[*d] = size as usize;
                scales[*d] = common;
            }
        }
        _ => return misfit("scales or sizes are needed, and not both"),
    }
    let coordinates = call.attributes().string(
        "coordinate_transformation_mode",
        if call.opset < 11 {
            "asymmetric"
        } else {
            "half_pixel"
        },
    )?;
    let roi = match call
        .optional(roi_at)
        .filter(|_| coordinates == "tf_crop_and_resize")
    {
        Some(roi) => wide(roi),
        None => [vec![0.0; named.len()], vec![1.0; named.len()]].concat(),
    };
    if roi.len() != 2 * named.len() {
        return misfit(format!("{} borders of what is cut out", roi.len()));
    }
    let mode = mode(call)?;
    let extrapolation = f64::from(call.attributes().float("extrapolation_value", 0.0)?);
    let axes = (0..rank).map(|d| Axis {
        input: shape[d],
        output: to[d],
        scale: scales[d],
        roi: match named.iter().position(|at| *at == d) {
            Some(at) => (roi[at], roi[named.len() + at]),
            None => (0.0, 1.0),
        },
        coordinates,
        exclude_outside: false,
        antialias: false,
    });
    let exclude_outside = call.attributes().flag("exclude_outside", false)?;
    let antialias = call.attributes().flag("antialias", false)?;
    let axes: Vec<Axis<'_>> = axes
        .map(|axis| Axis {
            exclude_outside,
            antialias: antialias && !matches!(mode, Mode::Nearest(_)),
            ..axis
        })
        .collect();
    room(&to)?;
    if shape.contains(&0) && !to.contains(&0) {
        return Err(misfits());
    }
    let found = resized(call, input, &axes, mode, extrapolation)?;
    let found = Array::new(to, crate::array::Element::data(found))
        .map_err(|error| Problem::Input(error.to_string()))?;
    rounded_like(input, found)
}

/// In the type of the input; integers are rounded towards zero.
fn rounded_like(input: &Array, found: Array) -> Result<Vec<Array>, Problem> {
    match cast(&found, input.element_type()) {
        Some(array) => Ok(vec![array]),
        None => Err(Problem::Type(0, input.element_type())),
    }
}

/// One axis after the other; what lies outside of the input is another value where cut out.
fn resized(
    call: Call<'_>,
    input: &Array,
    axes: &[Axis<'_>],
    mode: Mode,
    extrapolation: f64,
) -> Result<Vec<f64>, Problem> {
    if matches!(
        input.data(),
        crate::array::Data::String(_) | crate::array::Data::Bool(_)
    ) {
        return Err(Problem::Type(0, input.element_type()));
    }
    let mut values = wide(input);
    let mut shape = input.shape().to_vec();
    let mut outside: Vec<Vec<bool>> = Vec::new();
    for (d, axis) in axes.iter().enumerate() {
        let mut plan = Vec::with_capacity(axis.output);
        let mut beyond = Vec::new();
        let untouched = axis.input == axis.output && axis.scale == 1.0 && axis.roi == (0.0, 1.0);
        for o in 0..axis.output {
            let Some(at) = axis.position(o as f64) else {
                return Err(call
                    .attributes()
                    .unsupported("coordinate_transformation_mode")
                    .into());
            };
            if !at.is_finite() {
                return misfit("a position that is no number");
            }
            if untouched {
                plan.push(vec![(o, 1.0)]);
                beyond.push(false);
                continue;
            }
            plan.push(axis.weights(at, mode));
            let cut = axis.coordinates == "tf_crop_and_resize";
            beyond.push(cut && !(0.0..=axis.input as f64 - 1.0).contains(&at));
        }
        if plan.iter().map(Vec::len).sum::<usize>() > 1 << 28 {
            return misfit("too many elements for each position");
        }
        outside.push(beyond);
        if untouched {
            continue;
        }
        let outer: usize = shape[..d].iter().product();
        let inner: usize = shape[d + 1..].iter().product();
        shape[d] = axis.output;
        let mut next = vec![0.0; room(&shape)?];
        for o in 0..outer {
            for (to, taps) in plan.iter().enumerate() {
                let row = &mut next[(o * axis.output + to) * inner..][..inner];
                for (from, weight) in taps {
                    let source = &values[(o * axis.input + from) * inner..][..inner];
                    for (y, x) in row.iter_mut().zip(source) {
                        *y += weight * x;
                    }
                }
            }
        }
        values = next;
    }
    if outside.iter().flatten().any(|beyond| *beyond) {
        for (at, value) in values.iter_mut().enumerate() {
            let mut rest = at;
            for beyond in outside.iter().rev() {
                if beyond[rest % beyond.len()] {
                    *value = extrapolation;
                }
                rest /= beyond.len();
            }
        }
    }
    Ok(values)
}

/// `Resize` as it was before version 10.
fn upsample(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let scales = match call.attributes().opt_floats("scales")? {
        Some(scales) => Array::vector(scales.clone()),
        None => call.input(1)?.clone(),
    };
    resize(Call {
        inputs: &[call.optional(0), Some(&scales)],
        opset: 10,
        ..call
    })
}

/// Positions of a grid under an affine map: `[N, H, W, 2]` or `[N, D, H, W, 3]`.
fn affine_grid(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let theta = call.floats(0)?;
    let size = call.integers(1)?;
    let shape: Option<Vec<usize>> = size.iter().map(|x| usize::try_from(*x).ok()).collect();
    let Some([batch, _, sizes @ ..]) = shape.as_deref() else {
        return misfit(format!("a size of {size:?}"));
    };
    let dims = sizes.len();
    if !(2..=3).contains(&dims) || call.input(0)?.shape() != [*batch, dims, dims + 1] {
        return misfit(format!(
            "maps of shape {:?} for {size:?}",
            call.input(0)?.shape()
        ));
    }
    let align = call.attributes().flag("align_corners", false)?;
    let to = [&[*batch], sizes, &[dims]].concat();
    let count = room(&to)?;
    let centre = |at: usize, size: usize| {
        let (at, size) = (at as f64, size as f64);
        match align {
            true if size == 1.0 => -1.0,
            true => -1.0 + 2.0 * at / (size - 1.0),
            false => -1.0 + (2.0 * at + 1.0) / size,
        }
    };
    let points: usize = sizes.iter().product();
    let mut found = Vec::with_capacity(count);
    for n in 0..*batch {
        for point in 0..points {
            // x is the last dimension
            let (mut rest, mut at) = (point, Vec::new());
            for size in sizes.iter().rev() {
                at.push(centre(rest % size, *size));
                rest /= size;
            }
            at.push(1.0);
            for d in 0..dims {
                let row = &theta[(n * dims + d) * (dims + 1)..][..dims + 1];
                found.push(row.iter().zip(&at).map(|(a, b)| a * b).sum());
            }
        }
    }
    Ok(vec![narrow(to, found, call.input(0)?.element_type())?])
}

/// What is read outside of an image.
#[derive(Clone, Copy, PartialEq)]
enum Border {
    Zeros,
    Edge,
    Reflection,
}

/// Values at the positions of a grid, whose corners are -1 and 1.
fn grid_sample(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let (input, grid) = (call.input(0)?, call.input(1)?);
    let misfits = || {
        Problem::Input(format!(
            "a grid of {:?} on {:?}",
            grid.shape(),
            input.shape()
        ))
    };
    let [batch, channels, sizes @ ..] = input.shape() else {
        return Err(misfits());
    };
    let dims = sizes.len();
    let [grids, points @ .., last] = grid.shape() else {
        return Err(misfits());
    };
    if grids != batch
        || *last != dims
        || points.len() != dims
        || !(1..=3).contains(&dims)
        || sizes.contains(&0)
    {
        return Err(misfits());
    }
    let mode = match call.attributes().string("mode", "linear")? {
        "linear" | "bilinear" => Mode::Linear,
        "cubic" | "bicubic" => Mode::Cubic(-0.75),
        "nearest" => Mode::Nearest(Nearest::PreferFloor),
        _ => return Err(call.attributes().unsupported("mode").into()),
    };
    let border = match call.attributes().string("padding_mode", "zeros")? {
        "zeros" => Border::Zeros,
        "border" => Border::Edge,
        "reflection" => Border::Reflection,
        _ => return Err(call.attributes().unsupported("padding_mode").into()),
    };
    let align = call.attributes().flag("align_corners", false)?;
    let to = [&[*batch, *channels], points].concat();
    let count = room(&to)?;
    let (values, positions) = (call.floats(0)?, call.floats(1)?);
    let (plane, each): (usize, usize) = (sizes.iter().product(), points.iter().product());
    if elements(sizes).is_none() {
        return Err(misfits());
    }
    let mut found = vec![0.0; count];
    for n in 0..*batch {
        for p in 0..each {
            // element offsets and weights of the point, dimension by dimension
            let mut taps = vec![(0, 1.0)];
            for (d, size) in sizes.iter().enumerate() {
                // x stands first and is the last dimension
                let at = positions[(n * each + p) * dims + dims - 1 - d];
                let along = sampled(at, *size, mode, border, align);
                let next = taps.iter().flat_map(|(offset, weight)| {
                    along
                        .iter()
                        .map(move |(at, w)| (offset * size + at, weight * w))
                });
                taps = next.collect();
            }
            for c in 0..*channels {
                let image = &values[(n * channels + c) * plane..][..plane];
                let sum = taps.iter().map(|(at, weight)| image[*at] * weight).sum();
                found[(n * channels + c) * each + p] = sum;
            }
        }
    }
    Ok(vec![narrow(to, found, input.element_type())?])
}

/// Elements and weights for a position between -1 and 1 along an axis.
fn sampled(at: f64, size: usize, mode: Mode, border: Border, align: bool) -> Vec<(usize, f64)> {
    let length = size as f64;
    let (low, high) = if align {
        (0.0, length - 1.0)
    } else {
        (-0.5, length - 0.5)
    };
    let at = if align {
        (at + 1.0) / 2.0 * (length - 1.0)
    } else {
        ((at + 1.0) * length - 1.0) / 2.0
    };
    if at.is_nan() || at.abs() > 1e15 {
        // as far outside as can be, or no number
        return if border == Border::Zeros {
            Vec::new()
        } else {
            vec![(0, 1.0)]
        };
    }
    let mirrored = |at: f64| {
        let range = high - low;
        if range <= 0.0 {
            return 0.0;
        }
        let from = (at - low).abs().rem_euclid(2.0 * range);
        low + if from > range {
            2.0 * range - from
        } else {
            from
        }
    };
    let position = match (mode, border) {
        (Mode::Cubic(_), _) | (_, Border::Zeros) => at,
        (_, Border::Edge) => at.clamp(0.0, length - 1.0),
        (_, Border::Reflection) => mirrored(at).clamp(0.0, length - 1.0),
    };
    let base = position.floor();
    let ratio = position - base;
    let taps: Vec<(f64, f64)> = match mode {
        Mode::Nearest(_) => vec![(libm::rint(position), 1.0)],
        Mode::Linear => vec![(base, 1.0 - ratio), (base + 1.0, ratio)],
        Mode::Cubic(a) => (-1..=2)
            .map(|i| (base + f64::from(i), cubic(f64::from(i) - ratio, a)))
            .collect(),
    };
    let inside = |at: f64| match border {
        Border::Zeros => (0.0..length).contains(&at).then_some(at as usize),
        Border::Edge => Some(at.clamp(0.0, length - 1.0) as usize),
        Border::Reflection => Some(mirrored(at).clamp(0.0, length - 1.0) as usize),
    };
    taps.into_iter()
        .filter_map(|(at, weight)| Some((inside(at)?, weight)))
        .collect()
}
