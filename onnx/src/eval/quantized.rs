//! Quantization and what computes in 8 bits, as the standard has them.

use half::{bf16, f16};

use super::product::{along, sums};
use super::types::{clamped, lanes, narrow, wide};
use super::{Call, Operator, Problem, axis, filled, misfit};
use crate::array::{Array, Data, ElementType};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("DequantizeLinear", dequantize_linear),
    ("DynamicQuantizeLinear", dynamic_quantize_linear),
    ("QLinearConv", q_linear_conv),
    ("QLinearMatMul", q_linear_mat_mul),
    ("QuantizeLinear", quantize_linear),
];

/// Which parameter of quantization stands at an element.
enum Parameters {
    /// One for all.
    Single,
    /// One for each position along an axis: elements between positions, positions.
    Axis(usize, usize),
    /// One for each block along an axis: elements between positions, positions, a block's positions,
    /// blocks.
    Blocks(usize, usize, usize, usize),
}

impl Parameters {
    fn new(call: Call<'_>, shape: &[usize], scale: &Array) -> Result<Self, Problem> {
        let misfits =
            || Problem::Input(format!("scales of shape {:?} for {shape:?}", scale.shape()));
        let block = call.attributes().int("block_size", 0)?;
        if block == 0 {
            if scale.len() == 1 && scale.shape().len() <= 1 {
                return Ok(Self::Single);
            }
            let at = axis(call.attributes().int("axis", 1)?, shape.len())?;
            let (_, size, inner) = lanes(shape, at);
            return match scale.shape() {
                [count] if *count == size => Ok(Self::Axis(inner, size)),
                _ => Err(misfits()),
            };
        }
        let block = usize::try_from(block).map_err(|_| misfits())?;
        let at = axis(call.attributes().int("axis", 1)?, shape.len())?;
        let (_, size, inner) = lanes(shape, at);
        let mut blocks = shape.to_vec();
        blocks[at] = size.div_ceil(block);
        if scale.shape() == blocks {
            Ok(Self::Blocks(inner, size, block, blocks[at]))
        } else {
            Err(misfits())
        }
    }

    fn at(&self, at: usize) -> usize {
        match *self {
            Self::Single => 0,
            Self::Axis(inner, size) => at / inner % size,
            Self::Blocks(inner, size, block, blocks) => {
                let (outer, n, i) = (at / inner / size, at / inner % size, at % inner);
                (outer * blocks + n / block) * inner + i
            }
        }
    }
}

/// A value rounded to a float type.
fn rounded(x: f64, to: ElementType) -> f64 {
    match to {
        ElementType::Float32 => f64::from(x as f32),
        ElementType::Float16 => f16::from_f64(x).to_f64(),
        ElementType::BFloat16 => bf16::from_f64(x).to_f64(),
        _ => x,
    }
}

fn quantized_type(of: ElementType) -> bool {
    matches!(
        of,
        ElementType::Int8
            | ElementType::UInt8
            | ElementType::Int16
            | ElementType::UInt16
            | ElementType::Int4
            | ElementType::UInt4
    )
}

/// `round(x / scale) + zero_point`, halves to even, cut to the type; the quotient is rounded to the type of
/// the scale, or as `precision` asks.
pub(super) fn quantize_linear(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let (x, scale) = (call.input(0)?, call.input(1)?);
    let asked = |name: &str| match call.attributes().int(name, 0) {
        Ok(0) => Ok(None),
        Ok(number) => match ElementType::from_number(number) {
            Some(of) => Ok(Some(of)),
            None => Err(Problem::from(call.attributes().unsupported(name))),
        },
        Err(error) => Err(error.into()),
    };
    let to = match (call.optional(2), asked("output_dtype")?) {
        (Some(zero), Some(to)) if zero.element_type() != to => {
            return misfit(format!(
                "a zero point of {:?} for {to:?}",
                zero.element_type()
            ));
        }
        (Some(zero), _) => zero.element_type(),
        (None, to) => to.unwrap_or(ElementType::UInt8),
    };
    if !quantized_type(to) {
        return Err(Problem::Unsupported(format!("quantization to {to:?}")));
    }
    let precision = asked("precision")?.unwrap_or(scale.element_type());
    let parameters = Parameters::new(call, x.shape(), scale)?;
    let scales = call.floats(1)?;
    let zeros = zero_points(call, 2, scale)?;
    let values = match x.data() {
        Data::Int32(values) => values.iter().map(|x| f64::from(*x as f32)).collect(),
        _ => call.floats(0)?,
    };
    let values = values.iter().enumerate();
    let quantized = values.map(|(at, x)| {
        let p = parameters.at(at);
        let quotient = rounded(x / scales[p], precision);
        (libm::rint(quotient) as i64).saturating_add(zeros.get(p).copied().unwrap_or(0))
    });
    Ok(vec![clamped(x.shape().to_vec(), quantized.collect(), to)?])
}

/// Zero points shaped as their scales; none where they are left out.
fn zero_points(call: Call<'_>, at: usize, scale: &Array) -> Result<Vec<i64>, Problem> {
    match call.optional(at) {
        None => Ok(Vec::new()),
        Some(zero) if zero.len() == scale.len() => call.integers(at),
        Some(zero) => misfit(format!(
            "zero points of shape {:?} for scales of shape {:?}",
            zero.shape(),
            scale.shape()
        )),
    }
}

/// `(x - zero_point) scale`, in `f32`.
pub(super) fn dequantize_linear(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let (x, scale) = (call.input(0)?, call.input(1)?);
    if !quantized_type(x.element_type()) && x.element_type() != ElementType::Int32 {
        return Err(Problem::Type(0, x.element_type()));
    }
    let parameters = Parameters::new(call, x.shape(), scale)?;
    let scales = call.floats(1)?;
    let zeros = zero_points(call, 2, scale)?;
    if call
        .optional(2)
        .is_some_and(|zero| zero.element_type() != x.element_type())
    {
        return misfit("the zero point is of another type than the input");
    }
    let to = match call.attributes().int("output_dtype", 0)? {
        0 => scale.element_type(),
        number => ElementType::from_number(number)
            .filter(|to| to.is_float())
            .ok_or_else(|| call.attributes().unsupported("output_dtype"))?,
    };
    let values = wide(x).into_iter().enumerate();
    let values = values.map(|(at, x)| {
        let p = parameters.at(at);
        let zero = zeros.get(p).copied().unwrap_or(0);
        let difference = x as f32 - zero as f32;
        f64::from((f64::from(difference) * scales[p]) as f32)
    });
    Ok(vec![narrow(x.shape().to_vec(), values.collect(), to)?])
}

/// Over the range of the values with 0 in it; steps in `f32`.
fn dynamic_quantize_linear(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let values = call.values::<f32>(0)?;
    let (scale, zero) = range(values);
    let quantized = quantized(values, scale, zero);
    Ok(vec![
        filled(call.input(0)?.shape().to_vec(), quantized)?,
        Array::scalar(scale),
        Array::scalar(zero),
    ])
}

/// Scale and zero point of a tensor that is quantized as it comes.
pub(super) fn range(values: &[f32]) -> (f32, u8) {
    let high = values.iter().copied().fold(0f32, f32::max);
    let low = values.iter().copied().fold(0f32, f32::min);
    let scale = if high == low {
        1.0
    } else {
        (high - low) / 255.0
    };
    let zero = libm::rintf((0.0 - low / scale).clamp(0.0, 255.0));
    (scale, zero as u8)
}

/// `round(x / scale) + zero`, cut to 8 bits.
pub(super) fn quantized(values: &[f32], scale: f32, zero: u8) -> Vec<u8> {
    let one = |x: &f32| (libm::rintf(x / scale) + f32::from(zero)).clamp(0.0, 255.0) as u8;
    values.iter().map(one).collect()
}

/// That an input is of 8-bit integers.
pub(super) fn eight_bits(call: Call<'_>, at: usize) -> Result<(), Problem> {
    match call.input(at)?.element_type() {
        ElementType::Int8 | ElementType::UInt8 => Ok(()),
        other => Err(Problem::Type(at, other)),
    }
}

/// Whole numbers as 32-bit ones, which wrap.
pub(super) fn wrapped(sums: &[f64]) -> Vec<i32> {
    sums.iter().map(|sum| *sum as i64 as i32).collect()
}

/// `round(sum multiplier) + zero_point`, with an `f32` multiplier, cut to a type.
pub(super) fn requantized(
    shape: Vec<usize>,
    sums: &[f64],
    multiplier: impl Fn(usize) -> f32,
    zero: &Array,
) -> Result<Array, Problem> {
    let offset = single(zero)? as i64;
    let one = |(at, sum): (usize, &f64)| {
        (libm::rintf(*sum as f32 * multiplier(at)) as i64).saturating_add(offset)
    };
    let values = sums.iter().enumerate().map(one).collect();
    clamped(shape, values, zero.element_type())
}

/// The only value of a tensor.
pub(super) fn single(array: &Array) -> Result<f64, Problem> {
    match wide(array).as_slice() {
        [one] => Ok(*one),
        _ => misfit(format!(
            "a parameter of shape {:?}, one is needed",
            array.shape()
        )),
    }
}

/// `a b / c`, each step rounded to the type that they are of.
pub(super) fn multiplier(a: f64, b: f64, c: f64, of: ElementType) -> f32 {
    rounded(rounded(a * b, of) / c, of) as f32
}

fn q_linear_conv(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    for at in [0, 3, 7] {
        eight_bits(call, at)?;
    }
    let (shape, mut sums) = super::conv::conv_sums(
        call,
        (call.input(0)?, call.optional(2)),
        (call.input(3)?, call.optional(5)),
    )?;
    let channels = shape[1];
    let plane: usize = shape[2..].iter().product();
    let channel = |at: usize| at / plane % channels;
    if call.optional(8).is_some() {
        let bias = call.values::<i32>(8)?;
        if bias.len() != channels {
            return misfit(format!("{} biases for {channels} channels", bias.len()));
        }
        for (at, sum) in sums.iter_mut().enumerate() {
            *sum += f64::from(bias[channel(at)]);
        }
    }
    let (x, y) = (call.float_or(1, 1.0)?, call.float_or(6, 1.0)?);
    let w = call.floats(4)?;
    if w.len() != 1 && w.len() != channels {
        return misfit(format!("{} scales for {channels} channels", w.len()));
    }
    let of = call.input(1)?.element_type();
    let scale = |at: usize| multiplier(x, w[channel(at) % w.len()], y, of);
    Ok(vec![requantized(
        shape.clone(),
        &sums,
        scale,
        call.input(7)?,
    )?])
}

fn q_linear_mat_mul(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    for at in [0, 3, 7] {
        eight_bits(call, at)?;
    }
    let (a, b) = (call.input(0)?, call.input(3)?);
    let (shape, sums) = sums((a, call.optional(2)), (b, call.optional(5)))?;
    let (a_scale, b_scale) = (call.input(1)?, call.input(4)?);
    let rows = along(&shape, Some(a_scale.shape()), true)?;
    let columns = along(&shape, Some(b_scale.shape()), false)?;
    let (a, b, y) = (call.floats(1)?, call.floats(4)?, call.float_or(6, 1.0)?);
    let of = a_scale.element_type();
    let scale = |at: usize| multiplier(a[rows.from(at)], b[columns.from(at)], y, of);
    Ok(vec![requantized(
        shape.clone(),
        &sums,
        scale,
        call.input(7)?,
    )?])
}
