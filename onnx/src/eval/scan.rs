//! Running sums, orders and what is found by them.

use std::cmp::Ordering;

use super::types::{lanes, room};
use super::{Call, Operator, Problem, axis, filled, misfit};
use crate::array::{Array, Number};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("CumProd", |call| cumulated(call, true)),
    ("CumSum", |call| cumulated(call, false)),
    ("ReverseSequence", reverse_sequence),
    ("TopK", top_k),
    ("Unique", unique),
];

fn cumulated(call: Call<'_>, product: bool) -> Result<Vec<Array>, Problem> {
    fn computed<T: Number>(
        values: &[T],
        (outer, size, inner): (usize, usize, usize),
        (product, exclusive, reverse): (bool, bool, bool),
    ) -> Vec<T> {
        let start = if product {
            T::from_f64(1.0)
        } else {
            T::default()
        };
        let mut found = values.to_vec();
        for o in 0..outer {
            for i in 0..inner {
                let mut sum = start;
                for step in 0..size {
                    let n = if reverse { size - 1 - step } else { step };
                    let at = (o * size + n) * inner + i;
                    let x = values[at];
                    let next = if product { sum.times(x) } else { sum.plus(x) };
                    found[at] = if exclusive { sum } else { next };
                    sum = next;
                }
            }
        }
        found
    }
    let shape = call.input(0)?.shape();
    let at = axis(call.integer_or(1, 0)?, shape.len())?;
    let how = (
        product,
        call.attributes().flag("exclusive", false)?,
        call.attributes().flag("reverse", false)?,
    );
    Ok(vec![on_numbers!(call, 0, values => {
        filled(shape.to_vec(), computed(values, lanes(shape, at), how))
    })?])
}

/// Numbers in order; a NaN is beyond all.
fn order<T: PartialOrd>(a: &T, b: &T) -> Ordering {
    let nan = |x: &T| x.partial_cmp(x).is_none();
    a.partial_cmp(b).unwrap_or_else(|| nan(a).cmp(&nan(b)))
}

/// Equal values keep the order in which they stand.
fn top_k(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    fn found<T: Number>(
        values: &[T],
        (outer, size, inner): (usize, usize, usize),
        k: usize,
        largest: bool,
    ) -> (Vec<T>, Vec<i64>) {
        let mut best = vec![T::default(); outer * k * inner];
        let mut places = vec![0; outer * k * inner];
        for o in 0..outer {
            for i in 0..inner {
                let value = |n: &usize| values[(o * size + n) * inner + i];
                let mut sorted: Vec<usize> = (0..size).collect();
                sorted.sort_by(|a, b| {
                    let order = order(&value(a), &value(b));
                    if largest { order.reverse() } else { order }
                });
                for (at, n) in sorted.iter().take(k).enumerate() {
                    best[(o * k + at) * inner + i] = value(n);
                    places[(o * k + at) * inner + i] = *n as i64;
                }
            }
        }
        (best, places)
    }
    let shape = call.input(0)?.shape();
    let at = axis(call.attributes().int("axis", -1)?, shape.len())?;
    let asked = match call.optional(1) {
        Some(_) => call.integer_or(1, 0)?,
        None => call.attributes().int("k", -1)?,
    };
    let largest = call.attributes().flag("largest", true)?;
    let Some(k) = usize::try_from(asked).ok().filter(|k| *k <= shape[at]) else {
        return misfit(format!("{asked} of {} elements", shape[at]));
    };
    let mut to = shape.to_vec();
    to[at] = k;
    room(&to)?;
    on_numbers!(call, 0, values => {
        let (best, places) = found(values, lanes(shape, at), k, largest);
        Ok(vec![filled(to.clone(), best)?, filled(to, places)?])
    })
}

fn reverse_sequence(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let shape = input.shape();
    let batch = axis(call.attributes().int("batch_axis", 1)?, shape.len())?;
    let time = axis(call.attributes().int("time_axis", 0)?, shape.len())?;
    let lengths = call.integers(1)?;
    let fits = |length: &i64| (0..=shape[time] as i64).contains(length);
    if batch == time || lengths.len() != shape[batch] || !lengths.iter().all(fits) {
        return misfit(format!("sequences of lengths {lengths:?} in {shape:?}"));
    }
    let strides = crate::array::row_major(shape);
    super::movement::picked(input, shape.to_vec(), |at| {
        let n = at / strides[time] % shape[time];
        let length = lengths[at / strides[batch] % shape[batch]] as usize;
        if n < length {
            at - n * strides[time] + (length - 1 - n) * strides[time]
        } else {
            at
        }
    })
}

/// Each value once, or each slice along an axis: sorted, or as they first appear.
fn unique(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    fn slices<T: Number>(values: &[T], (outer, size, inner): (usize, usize, usize)) -> Vec<Vec<T>> {
        let slice = |n: usize| {
            let inside =
                (0..outer).flat_map(|o| (0..inner).map(move |i| (o * size + n) * inner + i));
            inside.map(|at| values[at]).collect()
        };
        (0..size).map(slice).collect()
    }
    let input = call.input(0)?;
    let sorted = call.attributes().flag("sorted", true)?;
    let at = match call.attributes().opt_int("axis")? {
        Some(at) => Some(axis(*at, input.shape().len())?),
        None => None,
    };
    let shape = match at {
        Some(_) => input.shape().to_vec(),
        None => vec![input.len()],
    };
    let along = lanes(&shape, at.unwrap_or(0));
    let size = along.1;
    // a slice's rank among all, so that equal ones have the same
    let (rank, first) = on_numbers!(call, 0, values => {
        let slices = slices(values, along);
        let compare = |a: &usize, b: &usize| {
            let pairs = slices[*a].iter().zip(&slices[*b]);
            pairs.map(|(a, b)| order(a, b)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
        };
        let mut by_value: Vec<usize> = (0..size).collect();
        by_value.sort_by(compare);
        let mut rank = vec![0; size];
        let mut first: Vec<usize> = Vec::new();
        for n in by_value {
            if first.last().is_none_or(|last| compare(last, &n).is_ne()) {
                first.push(n);
            }
            rank[n] = first.len() - 1;
        }
        Ok((rank, first))
    })?;
    let mut order: Vec<usize> = (0..first.len()).collect();
    if !sorted {
        order.sort_by_key(|r| first[*r]);
    }
    let mut place = vec![0i64; first.len()];
    for (at, r) in order.iter().enumerate() {
        place[*r] = at as i64;
    }
    let mut counts = vec![0i64; first.len()];
    for r in &rank {
        counts[*r] += 1;
    }
    let found: Vec<usize> = order.iter().map(|r| first[*r]).collect();
    let mut to = shape.clone();
    to[at.unwrap_or(0)] = found.len();
    let (_, size, inner) = along;
    let kept = found.len();
    let values = super::movement::picked(input, to, |at| {
        let (o, n, i) = (
            at / inner / kept.max(1),
            at / inner % kept.max(1),
            at % inner,
        );
        (o * size + found[n]) * inner + i
    })?;
    let mut outputs = values;
    outputs.push(Array::vector(
        found.iter().map(|n| *n as i64).collect::<Vec<_>>(),
    ));
    outputs.push(Array::vector(
        rank.iter().map(|r| place[*r]).collect::<Vec<_>>(),
    ));
    outputs.push(Array::vector(
        order.iter().map(|r| counts[*r]).collect::<Vec<_>>(),
    ));
    Ok(outputs)
}
