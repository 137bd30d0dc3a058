//! Reductions over dimensions, and functions normalized along one.

use super::types::{lanes, made, narrow, offsets, wide};
use super::{Call, Operator, Problem, axes, axis, filled};
use crate::array::{Array, Data, Number, cast, row_major};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("ArgMax", |call| arg(call, true)),
    ("ArgMin", |call| arg(call, false)),
    ("Hardmax", |call| normalized(call, hardmax)),
    ("LogSoftmax", |call| normalized(call, log_softmax)),
    ("ReduceL1", |call| reduce(call, Kind::L1)),
    ("ReduceL2", |call| reduce(call, Kind::L2)),
    ("ReduceLogSum", |call| reduce(call, Kind::LogSum)),
    ("ReduceLogSumExp", |call| reduce(call, Kind::LogSumExp)),
    ("ReduceMax", |call| reduce(call, Kind::Max)),
    ("ReduceMean", |call| reduce(call, Kind::Mean)),
    ("ReduceMin", |call| reduce(call, Kind::Min)),
    ("ReduceProd", |call| reduce(call, Kind::Prod)),
    ("ReduceSum", |call| reduce(call, Kind::Sum)),
    ("ReduceSumSquare", |call| reduce(call, Kind::SumSquare)),
    ("Softmax", |call| normalized(call, softmax)),
];

#[derive(Clone, Copy)]
enum Kind {
    L1,
    L2,
    LogSum,
    LogSumExp,
    Max,
    Mean,
    Min,
    Prod,
    Sum,
    SumSquare,
}

impl Kind {
    fn floats(self, values: impl Iterator<Item = f64> + Clone) -> f64 {
        let largest = |a: f64, b: f64| if b > a || b.is_nan() { b } else { a };
        let smallest = |a: f64, b: f64| if b < a || b.is_nan() { b } else { a };
        match self {
            Kind::L1 => values.map(f64::abs).sum(),
            Kind::L2 => values.map(|x| x * x).sum::<f64>().sqrt(),
            Kind::LogSum => libm::log(values.sum()),
            Kind::LogSumExp => {
                let most = values.clone().fold(f64::NEG_INFINITY, largest);
                if !most.is_finite() {
                    return most;
                }
                most + libm::log(values.map(|x| libm::exp(x - most)).sum())
            }
            Kind::Max => values.fold(f64::NEG_INFINITY, largest),
            Kind::Min => values.fold(f64::INFINITY, smallest),
            Kind::Mean => {
                let count = values.clone().count();
                values.sum::<f64>() / count as f64
            }
            Kind::Prod => values.product(),
            Kind::Sum => values.sum(),
            Kind::SumSquare => values.map(|x| x * x).sum(),
        }
    }

    /// `None` for what integers have no function of their own.
    fn integers(self, values: impl Iterator<Item = i64> + Clone) -> Option<i64> {
        let sum = |a: i64, b: i64| a.wrapping_add(b);
        Some(match self {
            Kind::L1 => values.fold(0, |s, x| sum(s, x.wrapping_abs())),
            Kind::Max => values.max()?,
            Kind::Min => values.min()?,
            Kind::Mean => {
                let count = values.clone().count() as i64;
                values.fold(0, sum).checked_div(count)?
            }
            Kind::Prod => values.fold(1, i64::wrapping_mul),
            Kind::Sum => values.fold(0, sum),
            Kind::SumSquare => values.fold(0, |s, x| sum(s, x.wrapping_mul(x))),
            Kind::L2 | Kind::LogSum | Kind::LogSumExp => return None,
        })
    }
}

/// The axes are an input since version 18, that of `ReduceSum` since 13, and an attribute before.
fn reduce(call: Call<'_>, kind: Kind) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let rank = input.shape().len();
    let named = call.integers_or(1, "axes")?.unwrap_or_default();
    if named.is_empty() && call.attributes().flag("noop_with_empty_axes", false)? {
        // each element is the only one of its group
        return match kind {
            Kind::Max | Kind::Min | Kind::Mean | Kind::Prod | Kind::Sum => Ok(vec![input.clone()]),
            _ => groups(call, kind, &[]),
        };
    }
    let gone = if named.is_empty() {
        (0..rank).collect()
    } else {
        axes(&named, rank)?
    };
    groups(call, kind, &gone)
}

fn groups(call: Call<'_>, kind: Kind, gone: &[usize]) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let shape = input.shape();
    let keep = call.attributes().flag("keepdims", true)?;
    let strides = row_major(shape);
    let part = |inside: bool| {
        let dims = (0..shape.len()).filter(|d| gone.contains(d) == inside);
        let (sizes, steps): (Vec<usize>, Vec<usize>) = dims.map(|d| (shape[d], strides[d])).unzip();
        offsets(&sizes, &steps)
    };
    let (kept, reduced) = (part(false), part(true));
    let to = (0..shape.len())
        .filter(|d| keep || !gone.contains(d))
        .map(|d| if gone.contains(&d) { 1 } else { shape[d] })
        .collect::<Vec<_>>();
    let found = match input.data() {
        Data::Bool(values) => {
            let group = |from: &usize| {
                let mut group = reduced.iter().map(|r| values[from + r]);
                match kind {
                    Kind::Max => Some(group.any(|x| x)),
                    Kind::Min => Some(group.all(|x| x)),
                    _ => None,
                }
            };
            let found: Option<Vec<bool>> = kept.iter().map(group).collect();
            filled(to, found.ok_or(Problem::Type(0, input.element_type()))?)?
        }
        Data::String(_) => return Err(Problem::Type(0, input.element_type())),
        _ if input.element_type().is_float() => {
            let values = wide(input);
            let group = |from: &usize| kind.floats(reduced.iter().map(|r| values[from + r]));
            narrow(to, kept.iter().map(group).collect(), input.element_type())?
        }
        _ => {
            let values = call.integers(0)?;
            let group = |from: &usize| {
                let group = reduced.iter().map(|r| values[from + r]);
                match kind.integers(group.clone()) {
                    Some(found) => found,
                    // what a type cannot hold is cut to it
                    None => kind.floats(group.map(|x| x as f64)) as i64,
                }
            };
            let found = filled(to, kept.iter().map(group).collect())?;
            cast(&found, input.element_type()).ok_or(Problem::Type(0, input.element_type()))?
        }
    };
    Ok(vec![found])
}

fn arg(call: Call<'_>, largest: bool) -> Result<Vec<Array>, Problem> {
    fn found<T: Number>(
        values: &[T],
        (outer, size, inner): (usize, usize, usize),
        better: impl Fn(T, T) -> bool,
    ) -> Option<Vec<i64>> {
        let mut found = Vec::new();
        for o in 0..outer {
            for i in 0..inner {
                let value = |at: usize| values.get((o * size + at) * inner + i).copied();
                let mut best = (0, value(0)?);
                for at in 1..size {
                    let x = value(at)?;
                    if better(x, best.1) {
                        best = (at, x);
                    }
                }
                found.push(best.0 as i64);
            }
        }
        Some(found)
    }
    let input = call.input(0)?;
    let at = axis(call.attributes().int("axis", 0)?, input.shape().len())?;
    let last = call.attributes().flag("select_last_index", false)?;
    let lanes = lanes(input.shape(), at);
    let mut shape = input.shape().to_vec();
    if call.attributes().flag("keepdims", true)? {
        shape[at] = 1;
    } else {
        shape.remove(at);
    }
    let found = on_numbers!(call, 0, values => found(values, lanes, |a, b| {
        let (a, b) = if largest { (a, b) } else { (b, a) };
        a > b || (last && a == b)
    })
    .ok_or_else(|| Problem::Input("the axis is empty".into())))?;
    Ok(vec![filled(shape, found)?])
}

/// `e^x` over their sum.
pub(super) fn softmax(lane: &mut [f64]) {
    let most = lane.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for x in &mut *lane {
        *x = libm::exp(*x - most);
        sum += *x;
    }
    for x in lane {
        *x /= sum;
    }
}

fn log_softmax(lane: &mut [f64]) {
    let most = lane.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = lane.iter().map(|x| libm::exp(*x - most)).sum();
    let log = libm::log(sum);
    for x in lane {
        *x = *x - most - log;
    }
}

fn hardmax(lane: &mut [f64]) {
    let mut best = 0;
    for (at, x) in lane.iter().enumerate() {
        if *x > lane[best] {
            best = at;
        }
    }
    for (at, x) in lane.iter_mut().enumerate() {
        *x = f64::from(u8::from(at == best));
    }
}

/// Along one axis since version 13, before over all from an axis on.
fn normalized(call: Call<'_>, f: fn(&mut [f64])) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let shape = input.shape();
    let mut values = call.floats(0)?;
    let (outer, size, inner) = if call.opset >= 13 {
        lanes(
            shape,
            axis(call.attributes().int("axis", -1)?, shape.len())?,
        )
    } else {
        let at = axis(call.attributes().int("axis", 1)?, shape.len().max(2))?;
        let at = at.min(shape.len());
        (
            shape[..at].iter().product(),
            shape[at..].iter().product(),
            1,
        )
    };
    along(&mut values, (outer, size, inner), f);
    Ok(vec![made(
        shape.to_vec(),
        narrow(shape.to_vec(), values, input.element_type())?
            .into_parts()
            .1,
    )?])
}

/// Does something with each row along an axis.
pub(super) fn along(
    values: &mut [f64],
    (outer, size, inner): (usize, usize, usize),
    mut f: impl FnMut(&mut [f64]),
) {
    if size == 0 {
        return;
    }
    let mut lane = vec![0.0; size];
    for o in 0..outer {
        for i in 0..inner {
            let at = |n: usize| (o * size + n) * inner + i;
            for (n, x) in lane.iter_mut().enumerate() {
                *x = values[at(n)];
            }
            f(&mut lane);
            for (n, x) in lane.iter().enumerate() {
                values[at(n)] = *x;
            }
        }
    }
}
