//! Operators that make tensors from attributes, shapes and numbers.

use super::types::{LARGEST_MADE, made, room};
use super::{Call, Operator, Problem, filled, misfit};
use crate::array::{Array, Data, ElementType, Number, cast, elements};
use crate::attributes::Attribute;
use crate::map_data;

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("BitCast", bit_cast),
    ("BlackmanWindow", |call| window(call, [0.42, 0.5, 0.08])),
    ("Cast", cast_to),
    ("CastLike", cast_like),
    ("Constant", constant),
    ("ConstantOfShape", constant_of_shape),
    ("EyeLike", eye_like),
    ("HammingWindow", |call| {
        window(call, [25.0 / 46.0, 21.0 / 46.0, 0.0])
    }),
    ("HannWindow", |call| window(call, [0.5, 0.5, 0.0])),
    ("Identity", identity),
    ("Range", range),
    ("Shape", shape),
    ("Size", size),
];

fn identity(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    Ok(vec![call.input(0)?.clone()])
}

fn constant(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    if let Some((name, value)) = call.attributes().iter().next() {
        return Ok(vec![match (name, value) {
            ("value", Attribute::Tensor(array)) => array.clone(),
            ("value_float", Attribute::Float(x)) => Array::scalar(*x),
            ("value_floats", Attribute::Floats(x)) => Array::vector(x.clone()),
            ("value_int", Attribute::Int(x)) => Array::scalar(*x),
            ("value_ints", Attribute::Ints(x)) => Array::vector(x.clone()),
            ("value_string", Attribute::String(x)) => Array::scalar(x.clone()),
            ("value_strings", Attribute::Strings(x)) => Array::vector(x.clone()),
            _ => return Err(call.attributes().unsupported(name).into()),
        }]);
    }
    misfit("a constant without a value")
}

/// The output of `Shape` for a tensor of that shape.
pub(crate) fn shape_of(call: Call<'_>, shape: &[usize]) -> Result<Array, Problem> {
    let rank = shape.len() as i64;
    let inside = |at: i64| (if at < 0 { at + rank } else { at }).clamp(0, rank) as usize;
    let attributes = call.attributes();
    let start = inside(attributes.int("start", 0)?);
    let end = inside(attributes.int("end", rank)?);
    let sizes = shape.get(start..end.max(start)).unwrap_or_default();
    Ok(Array::vector(
        sizes.iter().map(|size| *size as i64).collect(),
    ))
}

fn shape(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    Ok(vec![shape_of(call, call.input(0)?.shape())?])
}

fn size(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    Ok(vec![Array::scalar(call.input(0)?.len() as i64)])
}

fn to_type(array: &Array, to: ElementType) -> Result<Vec<Array>, Problem> {
    match cast(array, to) {
        Some(array) => Ok(vec![array]),
        None => misfit(format!("{:?} does not become {to:?}", array.element_type())),
    }
}

fn cast_to(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let number = call.attributes().int("to", 0)?;
    let to = ElementType::from_number(number).ok_or_else(|| call.attributes().unsupported("to"))?;
    to_type(call.input(0)?, to)
}

fn cast_like(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    to_type(call.input(0)?, call.input(1)?.element_type())
}

fn constant_of_shape(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let sizes = call.integers(0)?;
    let shape: Option<Vec<usize>> = sizes.iter().map(|x| usize::try_from(*x).ok()).collect();
    let Some((shape, count)) = shape
        .and_then(|shape| Some((elements(&shape)?, shape)))
        .map(|(count, shape)| (shape, count))
        .filter(|(_, count)| *count <= LARGEST_MADE)
    else {
        return misfit(format!("the shape {sizes:?} is impossible"));
    };
    let zero = Array::vector(vec![0f32]);
    let value = call.attributes().opt_tensor("value")?.unwrap_or(&zero);
    if value.len() != 1 {
        return misfit("the value must be a single one");
    }
    let data =
        map_data!(value.data(), values => values.iter().cycle().take(count).cloned().collect());
    Ok(vec![made(shape, data)?])
}

/// A matrix with ones on a diagonal.
fn eye_like(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let [rows, columns] = *input.shape() else {
        return misfit("the input must have two dimensions");
    };
    let k = call.attributes().int("k", 0)?;
    let to = match call.attributes().opt_int("dtype")? {
        Some(number) => ElementType::from_number(*number)
            .ok_or_else(|| call.attributes().unsupported("dtype"))?,
        None => input.element_type(),
    };
    let mut ones = vec![0f32; room(&[rows, columns])?];
    for row in 0..rows {
        let column = (row as i64)
            .checked_add(k)
            .and_then(|at| usize::try_from(at).ok());
        if let Some(column) = column.filter(|column| *column < columns) {
            ones[row * columns + column] = 1.0;
        }
    }
    to_type(&filled(vec![rows, columns], ones)?, to)
}

/// The same bits as another type of the same size.
fn bit_cast(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let number = call.attributes().int("to", 0)?;
    let to = ElementType::from_number(number).ok_or_else(|| call.attributes().unsupported("to"))?;
    let input = call.input(0)?;
    let bytes = match crate::array::to_raw(input.data()) {
        Some(bytes) if to != ElementType::Bool => bytes,
        _ => {
            return Err(Problem::Unsupported(format!(
                "{:?} as {to:?}",
                input.element_type()
            )));
        }
    };
    match crate::array::from_raw(&bytes, input.len(), to) {
        Some(data) => Ok(vec![made(input.shape().to_vec(), data)?]),
        None => misfit(format!(
            "{:?} and {to:?} differ in size",
            input.element_type()
        )),
    }
}

/// A window of a signal: `a - b cos(2 pi n / N) + c cos(4 pi n / N)`.
fn window(call: Call<'_>, [a, b, c]: [f64; 3]) -> Result<Vec<Array>, Problem> {
    let [size] = call.integers(0)?[..] else {
        return misfit("the size must be a single number");
    };
    let Some(size) = usize::try_from(size)
        .ok()
        .filter(|size| *size <= LARGEST_MADE)
    else {
        return misfit(format!("a window of {size} numbers"));
    };
    let number = call.attributes().int("output_datatype", 1)?;
    let to = ElementType::from_number(number)
        .ok_or_else(|| call.attributes().unsupported("output_datatype"))?;
    let periodic = call.attributes().flag("periodic", true)?;
    let period = if periodic {
        size as f64
    } else {
        size as f64 - 1.0
    };
    let at = |n: usize| {
        let angle = 2.0 * std::f64::consts::PI * n as f64 / period;
        a - b * libm::cos(angle) + c * libm::cos(2.0 * angle)
    };
    to_type(&Array::vector((0..size).map(at).collect::<Vec<f64>>()), to)
}

fn range(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    fn ranged<T: Number>(call: Call<'_>) -> Result<Vec<Array>, Problem> {
        let number = |at| match call.values::<T>(at)? {
            [one] => Ok(*one),
            _ => misfit(format!("input {at} must be a single number")),
        };
        let (start, limit, delta) = (number(0)?, number(1)?, number(2)?);
        let count = ((limit.to_f64() - start.to_f64()) / delta.to_f64()).ceil();
        if count.is_nan() || count > LARGEST_MADE as f64 {
            return misfit(format!("a range of {count} numbers"));
        }
        let mut values = Vec::new();
        for at in 0..count.max(0.0) as usize {
            values.push(start.plus(T::from_f64(at as f64).times(delta)));
        }
        Ok(vec![filled(vec![values.len()], values)?])
    }
    match call.input(0)?.data() {
        Data::Float32(_) => ranged::<f32>(call),
        Data::Float64(_) => ranged::<f64>(call),
        Data::Float16(_) => ranged::<half::f16>(call),
        Data::BFloat16(_) => ranged::<half::bf16>(call),
        Data::Int16(_) => ranged::<i16>(call),
        Data::Int32(_) => ranged::<i32>(call),
        Data::Int64(_) => ranged::<i64>(call),
        other => Err(Problem::Type(0, other.element_type())),
    }
}
