//! What operators of many types share: functions of whichever numbers an input holds, and floats of any
//! width computed as `f64`.

use half::{bf16, f16};

use super::{Call, Problem, misfit};
use crate::array::{Array, Data, ElementType, elements};

/// Calls an expression with the numbers of an input, whatever their type.
macro_rules! on_numbers {
    ($call:expr, $at:expr, $values:ident => $body:expr) => {{
        let input = $call.input($at)?;
        match input.data() {
            $crate::array::Data::Float32($values) => $body,
            $crate::array::Data::Float64($values) => $body,
            $crate::array::Data::Float16($values) => $body,
            $crate::array::Data::BFloat16($values) => $body,
            $crate::array::Data::Int8($values) => $body,
            $crate::array::Data::Int16($values) => $body,
            $crate::array::Data::Int32($values) => $body,
            $crate::array::Data::Int64($values) => $body,
            $crate::array::Data::UInt8($values) => $body,
            $crate::array::Data::UInt16($values) => $body,
            $crate::array::Data::UInt32($values) => $body,
            $crate::array::Data::UInt64($values) => $body,
            other => Err(Problem::Type($at, other.element_type())),
        }
    }};
}

/// Calls an expression with the floats of an input, of whichever width.
macro_rules! on_floats {
    ($call:expr, $at:expr, $values:ident => $body:expr) => {{
        let input = $call.input($at)?;
        match input.data() {
            $crate::array::Data::Float32($values) => $body,
            $crate::array::Data::Float64($values) => $body,
            $crate::array::Data::Float16($values) => $body,
            $crate::array::Data::BFloat16($values) => $body,
            other => Err(Problem::Type($at, other.element_type())),
        }
    }};
}

/// Most elements that an operator makes: a gigabyte where they are computed as `f64`.
pub(super) const LARGEST: usize = 1 << 27;

/// Most elements that are made from a few numbers alone: more than any mask or table of positions has.
pub(super) const LARGEST_MADE: usize = 1 << 25;

/// The number of elements of an output, if it may be made.
pub(super) fn room(shape: &[usize]) -> Result<usize, Problem> {
    match elements(shape) {
        Some(count) if count <= LARGEST => Ok(count),
        _ => misfit(format!("an output of shape {shape:?} is too large")),
    }
}

impl Call<'_> {
    /// Floats of any width, exactly.
    pub(super) fn floats(&self, at: usize) -> Result<Vec<f64>, Problem> {
        let input = self.input(at)?;
        if input.element_type().is_float() {
            Ok(wide(input))
        } else {
            Err(Problem::Type(at, input.element_type()))
        }
    }

    /// Floats of an input that may be left out.
    pub(super) fn opt_floats(&self, at: usize) -> Result<Option<Vec<f64>>, Problem> {
        match self.optional(at) {
            Some(_) => self.floats(at).map(Some),
            None => Ok(None),
        }
    }

    /// A single float, or what stands for it.
    pub(super) fn float_or(&self, at: usize, default: f64) -> Result<f64, Problem> {
        match self.opt_floats(at)?.as_deref() {
            None => Ok(default),
            Some([one]) => Ok(*one),
            Some(_) => misfit(format!("input {at} must be a single number")),
        }
    }

    /// A single integer, or what stands for it.
    pub(super) fn integer_or(&self, at: usize, default: i64) -> Result<i64, Problem> {
        if self.optional(at).is_none() {
            return Ok(default);
        }
        match self.integers(at)?.as_slice() {
            [one] => Ok(*one),
            _ => misfit(format!("input {at} must be a single number")),
        }
    }

    /// Inputs that are all there.
    pub(super) fn all(&self) -> Result<Vec<&Array>, Problem> {
        (0..self.inputs.len()).map(|at| self.input(at)).collect()
    }

    /// Whether an output is wanted.
    pub(super) fn wants(&self, output: usize) -> bool {
        self.node
            .outputs
            .get(output)
            .is_some_and(|name| !name.is_empty())
    }
}

/// Numbers of any type as floats; integers beyond 53 bits are rounded, strings are zeros.
pub(super) fn wide(array: &Array) -> Vec<f64> {
    match array.data() {
        Data::Float32(values) => values.iter().map(|x| f64::from(*x)).collect(),
        Data::Float64(values) => values.clone(),
        Data::Float16(values) => values.iter().map(|x| x.to_f64()).collect(),
        Data::BFloat16(values) => values.iter().map(|x| x.to_f64()).collect(),
        Data::Int8(values) | Data::Int4(values) => values.iter().map(|x| f64::from(*x)).collect(),
        Data::Int16(values) => values.iter().map(|x| f64::from(*x)).collect(),
        Data::Int32(values) => values.iter().map(|x| f64::from(*x)).collect(),
        Data::Int64(values) => values.iter().map(|x| *x as f64).collect(),
        Data::UInt8(values) | Data::UInt4(values) => values.iter().map(|x| f64::from(*x)).collect(),
        Data::UInt16(values) => values.iter().map(|x| f64::from(*x)).collect(),
        Data::UInt32(values) => values.iter().map(|x| f64::from(*x)).collect(),
        Data::UInt64(values) => values.iter().map(|x| *x as f64).collect(),
        Data::Bool(values) => values.iter().map(|x| f64::from(u8::from(*x))).collect(),
        Data::String(values) => vec![0.0; values.len()],
    }
}

/// A tensor of floats of that width, each rounded once.
pub(super) fn narrow(
    shape: Vec<usize>,
    values: Vec<f64>,
    to: ElementType,
) -> Result<Array, Problem> {
    let data = match to {
        ElementType::Float32 => Data::Float32(values.iter().map(|x| *x as f32).collect()),
        ElementType::Float64 => Data::Float64(values),
        ElementType::Float16 => Data::Float16(values.iter().map(|x| f16::from_f64(*x)).collect()),
        ElementType::BFloat16 => {
            Data::BFloat16(values.iter().map(|x| bf16::from_f64(*x)).collect())
        }
        other => return misfit(format!("an output of type {other:?}")),
    };
    made(shape, data)
}

/// A tensor of integers of that type, each cut to what the type holds.
pub(super) fn clamped(
    shape: Vec<usize>,
    values: Vec<i64>,
    to: ElementType,
) -> Result<Array, Problem> {
    macro_rules! cut {
        ($type:ty, $low:expr, $high:expr) => {
            values
                .iter()
                .map(|x| (*x).clamp($low, $high) as $type)
                .collect()
        };
    }
    let data = match to {
        ElementType::Int8 => Data::Int8(cut!(i8, -128, 127)),
        ElementType::UInt8 => Data::UInt8(cut!(u8, 0, 255)),
        ElementType::Int16 => Data::Int16(cut!(i16, -32768, 32767)),
        ElementType::UInt16 => Data::UInt16(cut!(u16, 0, 65535)),
        ElementType::Int4 => Data::Int4(cut!(i8, -8, 7)),
        ElementType::UInt4 => Data::UInt4(cut!(u8, 0, 15)),
        other => return Err(Problem::Unsupported(format!("quantization to {other:?}"))),
    };
    made(shape, data)
}

/// A tensor; an error where the values do not fill the shape.
pub(super) fn made(shape: Vec<usize>, data: Data) -> Result<Array, Problem> {
    Array::new(shape, data).map_err(|error| Problem::Input(error.to_string()))
}

/// A shape as a loop over one of its dimensions: how often what is before it repeats, its size, and how
/// far its neighbours lie apart.
pub(super) fn lanes(shape: &[usize], axis: usize) -> (usize, usize, usize) {
    let outer = shape[..axis].iter().product();
    let inner = shape[axis + 1..].iter().product();
    (outer, shape[axis], inner)
}

/// Where the elements of a tensor with these sizes and strides lie, row-major.
pub(super) fn offsets(sizes: &[usize], strides: &[usize]) -> Vec<usize> {
    let mut offsets = vec![0];
    for (size, stride) in sizes.iter().zip(strides) {
        let mut next = Vec::with_capacity(offsets.len().saturating_mul(*size));
        for offset in &offsets {
            next.extend((0..*size).map(|at| offset + at * stride));
        }
        offsets = next;
    }
    offsets
}
