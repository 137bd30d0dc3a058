//! Operators of two tensors that stretch to each other.

use super::{Call, Operator, Problem, filled, misfit};
use crate::array::{Array, Broadcast, Data, Element, Number, broadcast_shape};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("Add", |call| arithmetic(call, Arithmetic::Add)),
    ("And", |call| logical(call, |a, b| a && b)),
    ("Div", |call| arithmetic(call, Arithmetic::Div)),
    ("Equal", equal),
    ("Greater", |call| compared(call, |a, b| a > b, |a, b| a > b)),
    ("GreaterOrEqual", |call| {
        compared(call, |a, b| a >= b, |a, b| a >= b)
    }),
    ("Less", |call| compared(call, |a, b| a < b, |a, b| a < b)),
    ("LessOrEqual", |call| {
        compared(call, |a, b| a <= b, |a, b| a <= b)
    }),
    ("Mul", |call| arithmetic(call, Arithmetic::Mul)),
    ("Or", |call| logical(call, |a, b| a || b)),
    ("Sub", |call| arithmetic(call, Arithmetic::Sub)),
    ("Where", choose),
    ("Xor", |call| logical(call, |a, b| a != b)),
];

/// Applies a function to pairs of elements.
pub(super) fn zipped<A: Copy, B: Copy, T: Element>(
    (a, a_shape): (&[A], &[usize]),
    (b, b_shape): (&[B], &[usize]),
    f: impl Fn(A, B) -> T,
) -> Result<Array, Problem> {
    let Some(shape) = broadcast_shape(&[a_shape, b_shape]) else {
        return misfit(format!(
            "{a_shape:?} and {b_shape:?} do not stretch to each other"
        ));
    };
    if a_shape == b_shape {
        let values = a.iter().zip(b).map(|(a, b)| f(*a, *b)).collect();
        return filled(shape, values);
    }
    let (from_a, from_b) = (
        Broadcast::new(a_shape, &shape),
        Broadcast::new(b_shape, &shape),
    );
    let count = shape.iter().product();
    let values = (0..count).map(|at| f(a[from_a.from(at)], b[from_b.from(at)]));
    filled(shape, values.collect())
}

/// A generic function of two slices of numbers of one type.
macro_rules! numbers {
    ($call:expr, $f:ident $(, $more:expr)*) => {
        numbers!(@ $call, $f ($($more),*): Float32, Float64, Float16, BFloat16, Int8, Int16, Int32, Int64, UInt8,
            UInt16, UInt32, UInt64)
    };
    (@ $call:expr, $f:ident $more:tt: $($variant:ident),*) => {{
        let (x, y) = ($call.input(0)?, $call.input(1)?);
        match (x.data(), y.data()) {
            $((Data::$variant(a), Data::$variant(b)) => numbers!(= $f, (a, x.shape()), (b, y.shape()), $more),)*
            (_, other) => Err(Problem::Type(1, other.element_type())),
        }
    }};
    (= $f:ident, $a:expr, $b:expr, ($($more:expr),*)) => { $f($a, $b $(, $more)*) };
}

#[derive(Clone, Copy)]
enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
}

fn arithmetic(call: Call<'_>, op: Arithmetic) -> Result<Vec<Array>, Problem> {
    fn computed<T: Number>(
        (a, a_shape): (&Vec<T>, &[usize]),
        (b, b_shape): (&Vec<T>, &[usize]),
        op: Arithmetic,
    ) -> Result<Array, Problem> {
        let (a, b) = ((a.as_slice(), a_shape), (b.as_slice(), b_shape));
        match op {
            Arithmetic::Add => zipped(a, b, T::plus),
            Arithmetic::Sub => zipped(a, b, T::minus),
            Arithmetic::Mul => zipped(a, b, T::times),
            Arithmetic::Div => zipped(a, b, T::over),
        }
    }
    Ok(vec![numbers!(call, computed, op)?])
}

fn compared(
    call: Call<'_>,
    floats: fn(f64, f64) -> bool,
    integers: fn(i64, i64) -> bool,
) -> Result<Vec<Array>, Problem> {
    let (x, y) = (call.input(0)?, call.input(1)?);
    // integers of 64 bits are not all floats
    if let (Some(a), Some(b)) = (x.to_i64(), y.to_i64()) {
        return Ok(vec![zipped((&a, x.shape()), (&b, y.shape()), integers)?]);
    }
    fn wide<T: Number>(
        (a, a_shape): (&Vec<T>, &[usize]),
        (b, b_shape): (&Vec<T>, &[usize]),
        f: fn(f64, f64) -> bool,
    ) -> Result<Array, Problem> {
        zipped((a.as_slice(), a_shape), (b.as_slice(), b_shape), |a, b| {
            f(a.to_f64(), b.to_f64())
        })
    }
    Ok(vec![numbers!(call, wide, floats)?])
}

fn equal(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let (x, y) = (call.input(0)?, call.input(1)?);
    let found = match (x.data(), y.data()) {
        (Data::Bool(a), Data::Bool(b)) => zipped((a, x.shape()), (b, y.shape()), |a, b| a == b)?,
        (Data::String(a), Data::String(b)) => {
            let a: Vec<&str> = a.iter().map(String::as_str).collect();
            let b: Vec<&str> = b.iter().map(String::as_str).collect();
            zipped((&a, x.shape()), (&b, y.shape()), |a, b| a == b)?
        }
        _ => return compared(call, |a, b| a == b, |a, b| a == b),
    };
    Ok(vec![found])
}

fn logical(call: Call<'_>, f: fn(bool, bool) -> bool) -> Result<Vec<Array>, Problem> {
    let (a, b) = (call.values::<bool>(0)?, call.values::<bool>(1)?);
    let shapes = (call.input(0)?.shape(), call.input(1)?.shape());
    Ok(vec![zipped((a, shapes.0), (b, shapes.1), f)?])
}

fn choose(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let condition = call.values::<bool>(0)?;
    let (x, y) = (call.input(1)?, call.input(2)?);
    let shapes = [call.input(0)?.shape(), x.shape(), y.shape()];
    let Some(shape) = broadcast_shape(&shapes) else {
        return misfit(format!("{shapes:?} do not stretch to each other"));
    };
    let [from_c, from_x, from_y] = shapes.map(|from| Broadcast::new(from, &shape));
    macro_rules! chosen {
        ($($variant:ident),*) => {
            match (x.data(), y.data()) {
                $((Data::$variant(a), Data::$variant(b)) => Data::$variant(
                    (0..shape.iter().product())
                        .map(|at| match condition[from_c.from(at)] {
                            true => a[from_x.from(at)].clone(),
                            false => b[from_y.from(at)].clone(),
                        })
                        .collect(),
                ),)*
                (_, other) => return Err(Problem::Type(2, other.element_type())),
            }
        };
    }
    let data = chosen!(
        Float32, Float64, Float16, BFloat16, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32,
        UInt64, Bool, String
    );
    let array = Array::new(shape, data).map_err(|error| Problem::Input(error.to_string()))?;
    Ok(vec![array])
}
