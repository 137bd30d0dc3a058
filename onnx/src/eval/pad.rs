//! Borders added and cut off.

use super::types::room;
use super::{Call, Operator, Problem, axis, misfit};
use crate::array::{Array, elements, row_major};
use crate::map_data;

pub(super) const OPERATORS: &[(&str, Operator)] =
    &[("CenterCropPad", center_crop_pad), ("Pad", pad)];

/// What stands where the input has nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Constant,
    Edge,
    Reflect,
    Wrap,
}

/// Where position `at` of an axis of `size` elements lies, counted from before the input.
fn source(at: i64, size: i64, mode: Mode) -> Option<i64> {
    match mode {
        _ if size == 0 => None,
        Mode::Constant => (0..size).contains(&at).then_some(at),
        Mode::Edge => Some(at.clamp(0, size - 1)),
        Mode::Wrap => Some(at.rem_euclid(size)),
        Mode::Reflect if size == 1 => Some(0),
        Mode::Reflect => {
            let period = 2 * (size - 1);
            let at = at.rem_euclid(period);
            Some(at.min(period - at))
        }
    }
}

/// A tensor with other borders: how much each axis begins before the input, and its size.
fn bordered(
    input: &Array,
    starts: &[i64],
    shape: Vec<usize>,
    mode: Mode,
    value: Option<&Array>,
) -> Result<Array, Problem> {
    let count = room(&shape)?;
    let strides = row_major(input.shape());
    let along: Vec<Vec<Option<usize>>> = (0..shape.len())
        .map(|d| {
            let size = input.shape()[d] as i64;
            let at = |o: usize| source(o as i64 - starts[d], size, mode).map(|at| at as usize);
            (0..shape[d]).map(at).collect()
        })
        .collect();
    let from = |at: usize| {
        let (mut rest, mut position) = (at, 0);
        for (along, stride) in along.iter().zip(&strides).rev() {
            position += along[rest % along.len()]? * stride;
            rest /= along.len();
        }
        Some(position)
    };
    if mode != Mode::Constant && input.is_empty() && count > 0 {
        return misfit("nothing to fill a border with");
    }
    let one = match value {
        None => None,
        Some(value) if value.len() == 1 && value.element_type() == input.element_type() => {
            Some(value)
        }
        Some(value) => {
            return misfit(format!(
                "{:?} is no single value of the input's type",
                value.shape()
            ));
        }
    };
    // the value behind the last element
    let beyond = input.len();
    let extended = match one {
        Some(one) => super::movement::joined(&[input, one]),
        None => {
            let zero = map_data!(input.data(), values => {
                let mut values = values.clone();
                values.push(Default::default());
                values
            });
            Array::new(vec![beyond + 1], zero).ok()
        }
    };
    let found = extended.and_then(|all| all.gathered(shape, |at| from(at).unwrap_or(beyond)));
    found.ok_or_else(|| Problem::Input("a value of another type than the input".into()))
}

fn pad(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let rank = input.shape().len();
    let mode = match call.attributes().string("mode", "constant")? {
        "constant" => Mode::Constant,
        "edge" => Mode::Edge,
        "reflect" => Mode::Reflect,
        "wrap" => Mode::Wrap,
        _ => return Err(call.attributes().unsupported("mode").into()),
    };
    let Some(pads) = call.integers_or(1, "pads")? else {
        return Err(Problem::Missing(1));
    };
    let named = match call.optional(3) {
        Some(_) => call.integers(3)?,
        None => (0..rank as i64).collect(),
    };
    let misfits = || Problem::Input(format!("pads {pads:?} of {:?}", input.shape()));
    if pads.len() != 2 * named.len() || pads.iter().any(|pad| pad.unsigned_abs() > 1 << 40) {
        return Err(misfits());
    }
    super::axes(&named, rank)?;
    let (mut starts, mut shape) = (vec![0; rank], input.shape().to_vec());
    for (at, name) in named.iter().enumerate() {
        let d = axis(*name, rank)?;
        starts[d] = pads[at];
        let size = shape[d] as i64 + pads[at] + pads[named.len() + at];
        shape[d] = usize::try_from(size).map_err(|_| misfits())?;
    }
    let older = match call.attributes().opt_float("value")? {
        Some(value) if call.opset < 11 => Some(
            crate::array::cast(&Array::scalar(*value), input.element_type()).ok_or_else(misfits)?,
        ),
        _ => None,
    };
    let value = if call.opset < 11 {
        older.as_ref()
    } else {
        call.optional(2)
    };
    Ok(vec![bordered(input, &starts, shape, mode, value)?])
}

fn center_crop_pad(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let rank = input.shape().len();
    let sizes = call.integers(1)?;
    let all: Vec<i64> = (0..rank as i64).collect();
    let named = call.attributes().opt_ints("axes")?.unwrap_or(&all);
    super::axes(named, rank)?;
    if named.len() != sizes.len() {
        return misfit(format!("sizes {sizes:?} of axes {named:?}"));
    }
    let (mut starts, mut shape) = (vec![0; rank], input.shape().to_vec());
    for (name, size) in named.iter().zip(&sizes) {
        let d = axis(*name, rank)?;
        let Some(to) = usize::try_from(*size)
            .ok()
            .filter(|to| elements(&[*to]).is_some())
        else {
            return misfit(format!("a size of {size}"));
        };
        let from = shape[d];
        starts[d] = if to < from {
            -(((from - to) / 2) as i64)
        } else {
            ((to - from) / 2) as i64
        };
        shape[d] = to;
    }
    let cropped = bordered(input, &starts, shape, Mode::Constant, None)?;
    Ok(vec![cropped])
}
