//! Elements named by indices.

use super::movement::{indices, picked};
use super::types::{lanes, made, room};
use super::{Call, Operator, Problem, axis, filled, misfit};
use crate::array::{Array, Data, Element, Number, elements, row_major};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("Compress", compress),
    ("GatherElements", gather_elements),
    ("GatherND", gather_nd),
    ("NonZero", non_zero),
    ("OneHot", one_hot),
    ("Scatter", scatter_elements),
    ("ScatterElements", scatter_elements),
    ("ScatterND", scatter_nd),
    ("TensorScatter", tensor_scatter),
    ("Trilu", trilu),
];

/// Where the element at `at` of a tensor shaped as the indices lies in a tensor shaped as the data, with
/// another position along an axis.
fn elsewhere(at: usize, from: &[usize], strides: &[usize], axis: usize, index: usize) -> usize {
    let (mut rest, mut position) = (at, 0);
    for (d, (size, stride)) in from.iter().zip(strides).enumerate().rev() {
        position += if d == axis { index } else { rest % size } * stride;
        rest /= size;
    }
    position
}

fn fit_beside(indices: &[usize], data: &[usize], axis: usize) -> Result<(), Problem> {
    let fits =
        indices.len() == data.len() && (0..data.len()).all(|d| d == axis || indices[d] <= data[d]);
    if fits {
        Ok(())
    } else {
        misfit(format!("indices of shape {indices:?} into {data:?}"))
    }
}

fn gather_elements(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let from = call.input(1)?.shape();
    let at = axis(call.attributes().int("axis", 0)?, input.shape().len())?;
    fit_beside(from, input.shape(), at)?;
    let list = indices(&call.integers(1)?, input.shape()[at])?;
    let strides = row_major(input.shape());
    picked(input, from.to_vec(), |to| {
        elsewhere(to, from, &strides, at, list[to])
    })
}

/// Rows of indices into the first dimensions after the batch: how many dimensions a row names, and where
/// each leads, in elements.
fn rows(call: Call<'_>, data: &[usize], batch: usize) -> Result<(usize, Vec<usize>), Problem> {
    let shape = call.input(1)?.shape();
    let Some((width, outer)) = shape.split_last() else {
        return misfit("the indices have no dimensions");
    };
    let width = *width;
    if batch > outer.len() || batch + width > data.len() || outer[..batch] != data[..batch] {
        return misfit(format!("indices of shape {shape:?} into {data:?}"));
    }
    if width == 0 && elements(outer).is_none_or(|count| count > 1 << 28) {
        return misfit("too many indices");
    }
    let strides = row_major(data);
    let list = call.integers(1)?;
    let count: usize = outer.iter().product();
    let within: usize = outer[batch..].iter().product();
    let block: usize = data[batch..].iter().product();
    let mut found = Vec::with_capacity(count.min(1 << 20));
    for row in 0..count {
        let mut position = row.checked_div(within).unwrap_or(0) * block;
        for d in 0..width {
            let index = axis(list[row * width + d], data[batch + d])?;
            position += index * strides[batch + d];
        }
        found.push(position);
    }
    Ok((width, found))
}

fn gather_nd(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let batch = usize::try_from(call.attributes().int("batch_dims", 0)?).unwrap_or(usize::MAX);
    if batch > input.shape().len() {
        return misfit(format!("{batch} batch dimensions in {:?}", input.shape()));
    }
    let (width, rows) = rows(call, input.shape(), batch)?;
    let rest = &input.shape()[batch + width..];
    let inner: usize = rest.iter().product();
    let outer = call.input(1)?.shape();
    let shape = [&outer[..outer.len() - 1], rest].concat();
    picked(input, shape, |to| rows[to / inner] + to % inner)
}

/// What becomes of a value that another is written to.
#[derive(Clone, Copy)]
enum Meeting {
    Replace,
    Add,
    Mul,
    Max,
    Min,
}

impl Meeting {
    fn of(call: Call<'_>) -> Result<Self, Problem> {
        Ok(match call.attributes().string("reduction", "none")? {
            "none" => Self::Replace,
            "add" => Self::Add,
            "mul" => Self::Mul,
            "max" => Self::Max,
            "min" => Self::Min,
            _ => return Err(call.attributes().unsupported("reduction").into()),
        })
    }

    fn numbers<T: Number>(self, old: T, new: T) -> T {
        match self {
            Self::Replace => new,
            Self::Add => old.plus(new),
            Self::Mul => old.times(new),
            Self::Max => {
                if new > old {
                    new
                } else {
                    old
                }
            }
            Self::Min => {
                if new < old {
                    new
                } else {
                    old
                }
            }
        }
    }
}

/// Writes updates to the positions that are named, in order.
fn written(
    call: Call<'_>,
    meeting: Meeting,
    positions: impl Iterator<Item = usize>,
) -> Result<Vec<Array>, Problem> {
    fn replaced<T: Element>(
        mut to: Vec<T>,
        updates: &[T],
        positions: impl Iterator<Item = usize>,
        meet: impl Fn(T, T) -> T,
    ) -> Option<Vec<T>> {
        for (at, new) in positions.zip(updates) {
            let place = to.get_mut(at)?;
            *place = meet(std::mem::take(place), new.clone());
        }
        Some(to)
    }
    let (input, updates) = (call.input(0)?, call.input(2)?);
    macro_rules! written {
        ($($variant:ident),*; $($other:ident),*) => {
            match (input.data(), updates.data()) {
                $((Data::$variant(a), Data::$variant(b)) => {
                    replaced(a.clone(), b, positions, |a, b| meeting.numbers(a, b)).map(Data::$variant)
                })*
                $((Data::$other(a), Data::$other(b)) if matches!(meeting, Meeting::Replace) => {
                    replaced(a.clone(), b, positions, |_, b| b).map(Data::$other)
                })*
                (_, other) => return Err(Problem::Type(2, other.element_type())),
            }
        };
    }
    let data = written!(
        Float32, Float64, Float16, BFloat16, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32,
        UInt64; Bool, String
    );
    let data = data.ok_or_else(|| Problem::Input("an element outside the input".into()))?;
    Ok(vec![made(input.shape().to_vec(), data)?])
}

fn scatter_elements(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let from = call.input(1)?.shape();
    let at = axis(call.attributes().int("axis", 0)?, input.shape().len())?;
    fit_beside(from, input.shape(), at)?;
    if call.input(2)?.shape() != from {
        return misfit("the updates are not shaped as the indices");
    }
    let list = indices(&call.integers(1)?, input.shape()[at])?;
    let strides = row_major(input.shape());
    let positions = (0..list.len()).map(|to| elsewhere(to, from, &strides, at, list[to]));
    written(call, Meeting::of(call)?, positions)
}

fn scatter_nd(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let shape = call.input(0)?.shape();
    let (width, rows) = rows(call, shape, 0)?;
    let rest = &shape[width..];
    let inner: usize = rest.iter().product();
    let outer = call.input(1)?.shape();
    if call.input(2)?.shape() != [&outer[..outer.len() - 1], rest].concat() {
        return misfit("the updates are not shaped as what they replace");
    }
    let positions = rows.iter().flat_map(|row| (0..inner).map(move |i| row + i));
    written(call, Meeting::of(call)?, positions)
}

/// Writes along a sequence, from an index per batch on.
fn tensor_scatter(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let (input, update) = (call.input(0)?, call.input(1)?);
    let shape = input.shape();
    let at = axis(call.attributes().int("axis", -2)?, shape.len())?;
    let circular = match call.attributes().string("mode", "linear")? {
        "linear" => false,
        "circular" => true,
        _ => return Err(call.attributes().unsupported("mode").into()),
    };
    let fits = at > 0
        && update.shape().len() == shape.len()
        && (0..shape.len()).all(|d| d == at || shape[d] == update.shape()[d])
        && update.shape()[at] <= shape[at];
    if !fits {
        return misfit(format!("{:?} does not go into {shape:?}", update.shape()));
    }
    let starts = match call.optional(2) {
        Some(_) => call.integers(2)?,
        None => vec![0; shape[0]],
    };
    if starts.len() != shape[0] {
        return misfit("one start a batch is needed");
    }
    let (outer, size, inner) = lanes(shape, at);
    let (count, per_batch) = (update.shape()[at], shape[1..at].iter().product::<usize>());
    let mut positions = Vec::with_capacity(update.len());
    for o in 0..outer {
        let start = usize::try_from(starts[o / per_batch.max(1)]).unwrap_or(usize::MAX);
        for n in 0..count {
            let to = match start.checked_add(n) {
                Some(to) if circular => to % size,
                Some(to) if to < size => to,
                _ => return misfit("the update goes beyond the end"),
            };
            positions.extend((0..inner).map(|i| (o * size + to) * inner + i));
        }
    }
    let scatter = Call {
        inputs: &[Some(input), None, Some(update)],
        ..call
    };
    written(scatter, Meeting::Replace, positions.into_iter())
}

/// The indices of what is not zero, a column each.
fn non_zero(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    if matches!(input.data(), Data::String(_)) {
        return Err(Problem::Type(0, input.element_type()));
    }
    let values = super::types::wide(input);
    let places: Vec<usize> = (0..values.len()).filter(|at| values[*at] != 0.0).collect();
    let strides = row_major(input.shape());
    let mut found = Vec::with_capacity(places.len() * strides.len());
    for (stride, size) in strides.iter().zip(input.shape()) {
        found.extend(places.iter().map(|at| (at / stride % size) as i64));
    }
    Ok(vec![filled(vec![strides.len(), places.len()], found)?])
}

fn one_hot(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let list: Vec<f64> = super::types::wide(input);
    let depth = super::types::wide(call.input(1)?);
    let depth = match depth.as_slice() {
        [one] if *one >= 1.0 && *one <= 1e9 => *one as usize,
        other => return misfit(format!("a depth of {other:?}")),
    };
    let values = call.input(2)?;
    if values.len() != 2 {
        return misfit("the values must be two: off and on");
    }
    let rank = input.shape().len();
    let at = axis(call.attributes().int("axis", -1)?, rank + 1)?;
    let mut shape = input.shape().to_vec();
    shape.insert(at, depth);
    room(&shape)?;
    let inner: usize = input.shape()[at..].iter().product();
    picked(values, shape, |to| {
        let (o, n, i) = (to / inner / depth, to / inner % depth, to % inner);
        let index = list[o * inner + i];
        let index = if index < 0.0 {
            index + depth as f64
        } else {
            index
        };
        usize::from(index.trunc() == n as f64)
    })
}

fn compress(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let condition = call.values::<bool>(1)?;
    let (at, from) = match call.attributes().opt_int("axis")? {
        Some(at) => (axis(*at, input.shape().len())?, input.shape().to_vec()),
        None => (0, vec![input.len()]),
    };
    let kept: Vec<usize> = (0..condition.len()).filter(|n| condition[*n]).collect();
    let (_, size, inner) = lanes(&from, at);
    if kept.last().is_some_and(|last| *last >= size) {
        return misfit("the condition is longer than the axis");
    }
    let mut shape = from;
    shape[at] = kept.len();
    picked(input, shape, |to| {
        let (o, n, i) = (to / inner / kept.len(), to / inner % kept.len(), to % inner);
        (o * size + kept[n]) * inner + i
    })
}

/// The triangle on one side of a diagonal, zeros elsewhere.
fn trilu(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let [.., rows, columns] = *input.shape() else {
        return misfit("a matrix is needed");
    };
    let upper = call.attributes().flag("upper", true)?;
    let k = call.integer_or(1, 0)?;
    let kept = |at: usize| {
        let (row, column) = ((at / columns % rows) as i64, (at % columns) as i64);
        let distance = column - row;
        if upper { distance >= k } else { distance <= k }
    };
    let data = crate::map_data!(input.data(), values => {
        let mut values = values.clone();
        for (at, x) in values.iter_mut().enumerate() {
            if !kept(at) {
                *x = Default::default();
            }
        }
        values
    });
    Ok(vec![made(input.shape().to_vec(), data)?])
}
