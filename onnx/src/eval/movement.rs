//! Operators that only move elements.

use super::types::{lanes, offsets, room};
use super::{Call, Operator, Problem, axes, axis, misfit};
use crate::array::{Array, Broadcast, broadcast_shape, elements, row_major};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("Concat", concat),
    ("DepthToSpace", depth_to_space),
    ("Expand", expand),
    ("Flatten", flatten),
    ("Gather", gather),
    ("Reshape", reshape),
    ("Slice", slice),
    ("SpaceToDepth", space_to_depth),
    ("Split", split),
    ("Squeeze", squeeze),
    ("Tile", tile),
    ("Transpose", transpose),
    ("Unsqueeze", unsqueeze),
];

fn same(array: &Array, shape: Vec<usize>) -> Result<Vec<Array>, Problem> {
    let reshaped = array.clone().reshaped(shape);
    Ok(vec![
        reshaped.map_err(|error| Problem::Input(error.to_string()))?,
    ])
}

pub(super) fn picked(
    array: &Array,
    shape: Vec<usize>,
    from: impl Fn(usize) -> usize,
) -> Result<Vec<Array>, Problem> {
    room(&shape)?;
    match array.gathered(shape, from) {
        Some(array) => Ok(vec![array]),
        None => misfit("an element outside the input"),
    }
}

/// The shape that `Reshape` asks for, of a tensor of another one.
pub(crate) fn reshaped(
    from: &[usize],
    to: &[i64],
    allow_zero: bool,
) -> Result<Vec<usize>, Problem> {
    let impossible = || Problem::Input(format!("{from:?} does not become {to:?}"));
    let mut shape = Vec::new();
    let mut open = None;
    for (at, size) in to.iter().enumerate() {
        shape.push(match *size {
            0 if !allow_zero => *from.get(at).ok_or_else(impossible)?,
            -1 if open.is_none() => {
                open = Some(at);
                1
            }
            size => usize::try_from(size).map_err(|_| impossible())?,
        });
    }
    let count = elements(from).ok_or_else(impossible)?;
    let known = elements(&shape).ok_or_else(impossible)?;
    if let Some(open) = open {
        if known == 0 || !count.is_multiple_of(known) {
            return Err(impossible());
        }
        shape[open] = count / known;
    } else if known != count {
        return Err(impossible());
    }
    Ok(shape)
}

fn reshape(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let Some(to) = call.integers_or(1, "shape")? else {
        return Err(Problem::Missing(1));
    };
    let shape = reshaped(
        input.shape(),
        &to,
        call.attributes().flag("allowzero", false)?,
    )?;
    same(input, shape)
}

/// The shape that `Flatten` gives: what is in front of an axis, and the rest.
pub(crate) fn flattened(shape: &[usize], at: i64) -> Result<Vec<usize>, Problem> {
    let rank = shape.len();
    let at = if at == rank as i64 {
        rank
    } else {
        axis(at, rank)?
    };
    let (front, back) = shape.split_at(at);
    Ok(vec![front.iter().product(), back.iter().product()])
}

fn flatten(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    same(
        input,
        flattened(input.shape(), call.attributes().int("axis", 1)?)?,
    )
}

/// The shape without dimensions of size 1.
pub(crate) fn squeezed(shape: &[usize], list: Option<&[i64]>) -> Result<Vec<usize>, Problem> {
    let gone = match list {
        Some(list) => axes(list, shape.len())?,
        None => (0..shape.len()).filter(|at| shape[*at] == 1).collect(),
    };
    if let Some(at) = gone.iter().find(|at| shape[**at] != 1) {
        return misfit(format!("axis {at} of {shape:?} is not of size 1"));
    }
    let kept = shape
        .iter()
        .enumerate()
        .filter(|(at, _)| !gone.contains(at));
    Ok(kept.map(|(_, size)| *size).collect())
}

/// The shape with dimensions of size 1 more.
pub(crate) fn unsqueezed(shape: &[usize], list: &[i64]) -> Result<Vec<usize>, Problem> {
    let rank = shape.len() + list.len();
    let new = axes(list, rank)?;
    let mut old = shape.iter();
    Ok((0..rank)
        .map(|at| {
            if new.contains(&at) {
                1
            } else {
                old.next().copied().unwrap_or(1)
            }
        })
        .collect())
}

fn squeeze(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let list = call.integers_or(1, "axes")?;
    same(input, squeezed(input.shape(), list.as_deref())?)
}

fn unsqueeze(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let Some(list) = call.integers_or(1, "axes")? else {
        return Err(Problem::Missing(1));
    };
    same(input, unsqueezed(input.shape(), &list)?)
}

/// The order of dimensions that `Transpose` asks for.
pub(crate) fn order(call: Call<'_>, rank: usize) -> Result<Vec<usize>, Problem> {
    let Some(order) = call.attributes().opt_ints("perm")? else {
        return Ok((0..rank).rev().collect());
    };
    if order.len() != rank {
        return misfit(format!("{order:?} does not order {rank} dimensions"));
    }
    axes(order, rank)?;
    order.iter().map(|at| axis(*at, rank)).collect()
}

fn transpose(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let order = order(call, input.shape().len())?;
    Ok(vec![transposed(input, &order)?])
}

/// The dimensions in another order, which names each once.
pub(super) fn transposed(input: &Array, order: &[usize]) -> Result<Array, Problem> {
    let strides = row_major(input.shape());
    let shape: Vec<usize> = order.iter().map(|at| input.shape()[*at]).collect();
    let steps: Vec<usize> = order.iter().map(|at| strides[*at]).collect();
    let offsets = offsets(&shape, &steps);
    match input.gathered(shape, |at| offsets[at]) {
        Some(array) => Ok(array),
        None => misfit("an element outside the input"),
    }
}

pub(super) fn concat(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let first = call.input(0)?;
    let at = axis(call.attributes().int("axis", 0)?, first.shape().len())?;
    let mut inputs = Vec::new();
    for i in 0..call.inputs.len() {
        let input = call.input(i)?;
        let fits = input.shape().len() == first.shape().len()
            && (0..first.shape().len()).all(|d| d == at || input.shape()[d] == first.shape()[d]);
        if !fits || input.element_type() != first.element_type() {
            return misfit(format!("input {i} does not fit behind the first"));
        }
        inputs.push(input);
    }
    let mut shape = first.shape().to_vec();
    shape[at] = inputs.iter().map(|input| input.shape()[at]).sum();
    let outer: usize = shape[..at].iter().product();
    let rows: Vec<usize> = inputs
        .iter()
        .map(|input| input.shape()[at..].iter().product())
        .collect();
    // positions in all inputs behind each other
    let starts: Vec<usize> = rows
        .iter()
        .scan(0, |start, row| {
            let at = *start;
            *start += row * outer;
            Some(at)
        })
        .collect();
    let mut positions = Vec::new();
    for o in 0..outer {
        for (row, start) in rows.iter().zip(&starts) {
            positions.extend((0..*row).map(|i| start + o * row + i));
        }
    }
    let all = joined(&inputs);
    match all.and_then(|all| all.gathered(shape, |at| positions[at])) {
        Some(array) => Ok(vec![array]),
        None => misfit("inputs of different types"),
    }
}

/// All values behind each other.
pub(super) fn joined(arrays: &[&Array]) -> Option<Array> {
    use crate::array::Data;
    let (first, rest) = arrays.split_first()?;
    let mut data = first.data().clone();
    for array in rest {
        macro_rules! append {
            ($($variant:ident),*) => {
                match (&mut data, array.data()) {
                    $((Data::$variant(to), Data::$variant(from)) => to.extend_from_slice(from),)*
                    _ => return None,
                }
            };
        }
        append!(
            Float32, Float64, Float16, BFloat16, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32,
            UInt64, Bool, Int4, UInt4, String
        );
    }
    let shape = vec![data.len()];
    Array::new(shape, data).ok()
}

/// Rows named by indices, which may count from the end.
pub(super) fn indices(list: &[i64], size: usize) -> Result<Vec<usize>, Problem> {
    list.iter().map(|at| axis(*at, size)).collect()
}

fn gather(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let at = axis(call.attributes().int("axis", 0)?, input.shape().len())?;
    let size = input.shape()[at];
    let rows = indices(&call.integers(1)?, size)?;
    let (front, back) = (&input.shape()[..at], &input.shape()[at + 1..]);
    let inner: usize = back.iter().product();
    let shape = [front, call.input(1)?.shape(), back].concat();
    let count = rows.len().max(1);
    picked(input, shape, |to| {
        let (rest, i) = (to / inner, to % inner);
        (rest / count * size + rows[rest % count]) * inner + i
    })
}

/// Where a slice begins, how it steps and how many it takes, along each dimension.
pub(crate) fn slices(call: Call<'_>, shape: &[usize]) -> Result<Vec<(usize, i64, usize)>, Problem> {
    let Some(starts) = call.integers_or(1, "starts")? else {
        return Err(Problem::Missing(1));
    };
    let Some(ends) = call.integers_or(2, "ends")? else {
        return Err(Problem::Missing(2));
    };
    let named = call.integers_or(3, "axes")?;
    let named = named.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = match call.optional(4) {
        Some(_) => call.integers(4)?,
        None => vec![1; starts.len()],
    };
    if [ends.len(), named.len(), steps.len()] != [starts.len(); 3] {
        return misfit("starts, ends, axes and steps are not equally many");
    }
    let mut slices: Vec<_> = shape.iter().map(|size| (0, 1, *size)).collect();
    axes(&named, shape.len())?;
    for ((start, end), (at, step)) in starts.iter().zip(&ends).zip(named.iter().zip(&steps)) {
        let at = axis(*at, shape.len())?;
        let size = shape[at] as i64;
        let inside = |x: i64, low: i64, high: i64| {
            (if x < 0 { x.saturating_add(size) } else { x }).clamp(low, high)
        };
        let (start, count) = match *step {
            0 => return misfit("a step of 0"),
            // nothing to begin with
            _ if size == 0 => (0, 0),
            step if step > 0 => {
                let (start, end) = (inside(*start, 0, size), inside(*end, 0, size));
                (
                    start,
                    (end - start)
                        .max(0)
                        .unsigned_abs()
                        .div_ceil(step.unsigned_abs()),
                )
            }
            step => {
                let (start, end) = (inside(*start, 0, size - 1), inside(*end, -1, size - 1));
                (
                    start,
                    (start - end)
                        .max(0)
                        .unsigned_abs()
                        .div_ceil(step.unsigned_abs()),
                )
            }
        };
        slices[at] = (start.max(0) as usize, *step, count as usize);
    }
    Ok(slices)
}

fn slice(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let slices = slices(call, input.shape())?;
    let strides = row_major(input.shape());
    let shape: Vec<usize> = slices.iter().map(|slice| slice.2).collect();
    picked(input, shape, |to| {
        let (mut rest, mut from) = (to, 0i64);
        for ((start, step, count), stride) in slices.iter().zip(&strides).rev() {
            from += (*start as i64 + (rest % count) as i64 * step) * *stride as i64;
            rest /= count;
        }
        from as usize
    })
}

fn expand(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let sizes = call.integers(1)?;
    let to: Option<Vec<usize>> = sizes.iter().map(|x| usize::try_from(*x).ok()).collect();
    let shape = to.and_then(|to| broadcast_shape(&[input.shape(), &to]));
    let Some(shape) = shape else {
        return misfit(format!("{:?} does not stretch to {sizes:?}", input.shape()));
    };
    let map = Broadcast::new(input.shape(), &shape);
    picked(input, shape, |at| map.from(at))
}

/// Sizes that are given, or equal parts; the last part may be smaller since version 18.
fn split(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let at = axis(call.attributes().int("axis", 0)?, input.shape().len())?;
    let (outer, size, inner) = lanes(input.shape(), at);
    let sizes: Vec<usize> = match call.integers_or(1, "split")? {
        Some(sizes) => {
            let sizes = sizes.iter().map(|size| usize::try_from(*size).ok());
            sizes
                .collect::<Option<_>>()
                .ok_or_else(|| Problem::Input("a part of negative size".into()))?
        }
        None => {
            let parts = call
                .attributes()
                .int("num_outputs", call.node.outputs.len() as i64)?;
            let parts = usize::try_from(parts).unwrap_or(0);
            if parts == 0 || parts > size.max(1) || parts > call.node.outputs.len() {
                return misfit(format!("{size} elements in {parts} parts"));
            }
            let part = size.div_ceil(parts);
            let sizes = (0..parts).map(|i| part.min(size.saturating_sub(i * part)));
            sizes.collect()
        }
    };
    let total = sizes
        .iter()
        .try_fold(0usize, |sum, part| sum.checked_add(*part));
    if total != Some(size) {
        return misfit(format!("parts {sizes:?} of {size} elements"));
    }
    let mut start = 0;
    let mut parts = Vec::new();
    for part in sizes {
        let mut shape = input.shape().to_vec();
        shape[at] = part;
        let row = part * inner;
        let positions: Vec<usize> = (0..outer)
            .flat_map(|o| (0..row).map(move |i| (o * size + start) * inner + i))
            .collect();
        parts.extend(picked(input, shape, |to| positions[to])?);
        start += part;
    }
    Ok(parts)
}

fn tile(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let repeats = call.integers(1)?;
    if repeats.len() != input.shape().len() {
        return misfit(format!("{repeats:?} repeats of {:?}", input.shape()));
    }
    let sizes = input.shape().iter().zip(&repeats);
    let shape: Option<Vec<usize>> = sizes
        .map(|(size, repeat)| usize::try_from(*repeat).ok()?.checked_mul(*size))
        .collect();
    let Some(shape) = shape else {
        return misfit(format!("{repeats:?} repeats of {:?}", input.shape()));
    };
    let strides = row_major(input.shape());
    let to = shape.clone();
    picked(input, shape, |at| {
        let (mut rest, mut from) = (at, 0);
        for ((to, size), stride) in to.iter().zip(input.shape()).zip(&strides).rev() {
            from += rest % to % size * stride;
            rest /= to;
        }
        from
    })
}

/// Size of a block, batch, channels and the two sizes of an image.
fn blocks(call: Call<'_>) -> Result<(usize, [usize; 4]), Problem> {
    let block = usize::try_from(call.attributes().int("blocksize", 0)?).unwrap_or(0);
    let shape = call.input(0)?.shape();
    match <[usize; 4]>::try_from(shape) {
        Ok(shape) if (1..=1 << 15).contains(&block) => Ok((block, shape)),
        _ => misfit(format!("blocks of {block} in {shape:?}")),
    }
}

/// A tensor seen with more dimensions, reordered, and seen with fewer.
fn regrouped(
    input: &Array,
    seen: Vec<usize>,
    order: &[usize],
    to: Vec<usize>,
) -> Result<Vec<Array>, Problem> {
    let seen = same(input, seen)?;
    same(&transposed(&seen[0], order)?, to)
}

fn depth_to_space(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let (b, [n, c, h, w]) = blocks(call)?;
    if !c.is_multiple_of(b * b) {
        return misfit(format!("{c} channels in blocks of {b}"));
    }
    let depth = c / (b * b);
    let to = vec![n, depth, h * b, w * b];
    let input = call.input(0)?;
    match call.attributes().string("mode", "DCR")? {
        "DCR" => regrouped(input, vec![n, b, b, depth, h, w], &[0, 3, 4, 1, 5, 2], to),
        "CRD" => regrouped(input, vec![n, depth, b, b, h, w], &[0, 1, 4, 2, 5, 3], to),
        _ => Err(call.attributes().unsupported("mode").into()),
    }
}

fn space_to_depth(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let (b, [n, c, h, w]) = blocks(call)?;
    if !h.is_multiple_of(b) || !w.is_multiple_of(b) {
        return misfit(format!("{h} x {w} in blocks of {b}"));
    }
    let seen = vec![n, c, h / b, b, w / b, b];
    let to = vec![n, c * b * b, h / b, w / b];
    regrouped(call.input(0)?, seen, &[0, 3, 5, 1, 2, 4], to)
}
