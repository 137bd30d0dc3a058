//! Operators of two tensors that stretch to each other.

use super::types::{made, narrow, room, wide};
use super::{Call, Operator, Problem, filled, misfit};
use crate::array::{Array, Broadcast, Data, Element, Number, broadcast_shape};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("Add", |call| arithmetic(call, Arithmetic::Add)),
    ("And", |call| logical(call, |a, b| a && b)),
    ("BitShift", bit_shift),
    ("BitwiseAnd", |call| {
        bitwise(call, |a, b| a & b, |a, b| a & b)
    }),
    ("BitwiseOr", |call| {
        bitwise(call, |a, b| a | b, |a, b| a | b)
    }),
    ("BitwiseXor", |call| {
        bitwise(call, |a, b| a ^ b, |a, b| a ^ b)
    }),
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
    ("Max", |call| folded(call, Fold::Max)),
    ("Mean", mean),
    ("Min", |call| folded(call, Fold::Min)),
    ("Mod", modulo),
    ("Mul", |call| arithmetic(call, Arithmetic::Mul)),
    ("Or", |call| logical(call, |a, b| a || b)),
    ("PRelu", p_relu),
    ("Pow", pow),
    ("Sub", |call| arithmetic(call, Arithmetic::Sub)),
    ("Sum", |call| folded(call, Fold::Sum)),
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
    room(&shape)?;
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
    room(&shape)?;
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
    Ok(vec![made(shape, data)?])
}

#[derive(Clone, Copy)]
enum Fold {
    Max,
    Min,
    Sum,
}

/// Any number of inputs, one after the other.
fn folded(call: Call<'_>, op: Fold) -> Result<Vec<Array>, Problem> {
    fn pair<T: Number>(
        (a, a_shape): (&Vec<T>, &[usize]),
        (b, b_shape): (&Vec<T>, &[usize]),
        op: Fold,
    ) -> Result<Array, Problem> {
        let (a, b) = ((a.as_slice(), a_shape), (b.as_slice(), b_shape));
        let nan = |x: T| x.partial_cmp(&x).is_none();
        match op {
            Fold::Max => zipped(a, b, |a, b| if a > b || nan(a) { a } else { b }),
            Fold::Min => zipped(a, b, |a, b| if a < b || nan(a) { a } else { b }),
            Fold::Sum => zipped(a, b, T::plus),
        }
    }
    let mut sum = call.input(0)?.clone();
    for at in 1..call.inputs.len() {
        let next = call.input(at)?;
        let pairwise = Call {
            inputs: &[Some(&sum), Some(next)],
            ..call
        };
        sum = numbers!(pairwise, pair, op)?;
    }
    Ok(vec![sum])
}

fn mean(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let inputs = call.all()?;
    let shapes: Vec<&[usize]> = inputs.iter().map(|input| input.shape()).collect();
    let Some(shape) = broadcast_shape(&shapes) else {
        return misfit(format!("{shapes:?} do not stretch to each other"));
    };
    let mut sums = vec![0.0; room(&shape)?];
    for (at, input) in inputs.iter().enumerate() {
        let map = Broadcast::new(input.shape(), &shape);
        let values = call.floats(at)?;
        for (to, sum) in sums.iter_mut().enumerate() {
            *sum += values[map.from(to)];
        }
    }
    for sum in &mut sums {
        *sum /= inputs.len() as f64;
    }
    Ok(vec![narrow(shape, sums, call.input(0)?.element_type())?])
}

fn modulo(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    fn computed<T: Number>(
        (a, a_shape): (&Vec<T>, &[usize]),
        (b, b_shape): (&Vec<T>, &[usize]),
        as_c: bool,
        integers: bool,
    ) -> Result<Array, Problem> {
        let zero = T::default();
        zipped((a.as_slice(), a_shape), (b.as_slice(), b_shape), |a, b| {
            let rest = if integers {
                // 0 where the divisor is
                a.minus(a.over(b).times(if b == zero { a } else { b }))
            } else {
                T::from_f64(libm::fmod(a.to_f64(), b.to_f64()))
            };
            let rest = if integers && b == zero { zero } else { rest };
            // the sign of the divisor, else that of what is divided
            if as_c || rest == zero || (rest < zero) == (b < zero) {
                rest
            } else {
                rest.plus(b)
            }
        })
    }
    let as_c = call.attributes().flag("fmod", false)?;
    let integers = !call.input(0)?.element_type().is_float();
    Ok(vec![numbers!(call, computed, as_c, integers)?])
}

/// The type is that of the base; the exponent may be of another.
fn pow(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let (x, y) = (call.input(0)?, call.input(1)?);
    let (shapes, to) = ((x.shape(), y.shape()), x.element_type());
    if let (Some(a), Some(b), false) = (x.to_i64(), y.to_i64(), to.is_float()) {
        let raised = zipped((&a, shapes.0), (&b, shapes.1), raised)?;
        return match crate::array::cast(&raised, to) {
            Some(array) => Ok(vec![array]),
            None => Err(Problem::Type(0, to)),
        };
    }
    let number = |array: &Array| array.element_type().is_float() || array.to_i64().is_some();
    if !number(x) || !number(y) {
        return Err(Problem::Type(
            usize::from(number(x)),
            if number(x) { y } else { x }.element_type(),
        ));
    }
    let raised = zipped((&wide(x), shapes.0), (&wide(y), shapes.1), libm::pow)?;
    match crate::array::cast(&raised, to) {
        Some(array) => Ok(vec![array]),
        None => Err(Problem::Type(0, to)),
    }
}

/// A power of integers, which wraps; one with a negative exponent is cut to an integer.
fn raised(base: i64, exponent: i64) -> i64 {
    let Ok(mut exponent) = u64::try_from(exponent) else {
        return match base {
            1 => 1,
            -1 if exponent % 2 == 0 => 1,
            -1 => -1,
            _ => 0,
        };
    };
    let (mut base, mut power) = (base, 1i64);
    while exponent > 0 {
        if exponent & 1 == 1 {
            power = power.wrapping_mul(base);
        }
        base = base.wrapping_mul(base);
        exponent >>= 1;
    }
    power
}

/// One slope stretches to the other input, never the other way round.
fn p_relu(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    fn sloped<T: Number>(
        (a, a_shape): (&Vec<T>, &[usize]),
        (b, b_shape): (&Vec<T>, &[usize]),
    ) -> Result<Array, Problem> {
        zipped(
            (a.as_slice(), a_shape),
            (b.as_slice(), b_shape),
            |x, slope| {
                if x < T::default() { x.times(slope) } else { x }
            },
        )
    }
    let found = numbers!(call, sloped)?;
    if found.shape() != call.input(0)?.shape() {
        return misfit("the slope does not stretch to the input");
    }
    Ok(vec![found])
}

/// Integers of one type, by way of 64 bits without a sign or with one.
fn bitwise(
    call: Call<'_>,
    signed: fn(i64, i64) -> i64,
    unsigned: fn(u64, u64) -> u64,
) -> Result<Vec<Array>, Problem> {
    let (x, y) = (call.input(0)?, call.input(1)?);
    if let (Data::UInt64(a), Data::UInt64(b)) = (x.data(), y.data()) {
        return Ok(vec![zipped((a, x.shape()), (b, y.shape()), unsigned)?]);
    }
    let (a, b) = (call.integers(0)?, call.integers(1)?);
    if x.element_type() != y.element_type() {
        return Err(Problem::Type(1, y.element_type()));
    }
    let found = zipped((&a, x.shape()), (&b, y.shape()), signed)?;
    match crate::array::cast(&found, x.element_type()) {
        Some(array) => Ok(vec![array]),
        None => Err(Problem::Type(0, x.element_type())),
    }
}

fn bit_shift(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let left = match call.attributes().string("direction", "")? {
        "LEFT" => true,
        "RIGHT" => false,
        _ => return Err(call.attributes().unsupported("direction").into()),
    };
    let input = call.input(0)?;
    macro_rules! shifted {
        ($($variant:ident),*) => {
            match (input.data(), call.input(1)?.data()) {
                $((Data::$variant(a), Data::$variant(b)) => {
                    let (a, b) = ((a.as_slice(), input.shape()), (b.as_slice(), call.input(1)?.shape()));
                    zipped(a, b, |a, b| {
                        // bits beyond the type are gone
                        let by = u32::try_from(b).unwrap_or(u32::MAX);
                        let found = if left { a.checked_shl(by) } else { a.checked_shr(by) };
                        found.unwrap_or_default()
                    })?
                })*
                (other, _) => return Err(Problem::Type(0, other.element_type())),
            }
        };
    }
    Ok(vec![shifted!(UInt8, UInt16, UInt32, UInt64)])
}
