//! What ONNX Runtime adds to the standard operators: the domain `com.microsoft`.

use super::product::{along, matrix, product, sums, turned};
use super::quantized::{
    dequantize_linear, eight_bits, multiplier, quantize_linear, quantized, range, requantized,
    single,
};
use super::types::{clamped, lanes, narrow, room, wide};
use super::unary::{float, gelu_of, like, sigmoid};
use super::{Call, Operator, Problem, axis, filled, misfit};
use crate::array::{Array, Broadcast, Data, ElementType, broadcast_shape};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("BiasGelu", |call| bias_gelu(call, false)),
    ("DequantizeLinear", dequantize_linear),
    ("DynamicQuantizeMatMul", dynamic_quantize_mat_mul),
    ("FastGelu", |call| bias_gelu(call, true)),
    ("FusedMatMul", fused_mat_mul),
    ("Gelu", |call| float(call, |x| gelu_of(x, false))),
    ("MatMulIntegerToFloat", mat_mul_integer_to_float),
    ("MatMulNBits", mat_mul_n_bits),
    ("QGemm", q_gemm),
    ("QLinearAdd", |call| q_linear_binary(call, |a, b| a + b)),
    ("QLinearAveragePool", q_linear_average_pool),
    ("QLinearConcat", q_linear_concat),
    ("QLinearGlobalAveragePool", q_linear_global_average_pool),
    ("QLinearLeakyRelu", q_linear_leaky_relu),
    ("QLinearMul", |call| q_linear_binary(call, |a, b| a * b)),
    ("QLinearSigmoid", |call| q_linear_unary(call, sigmoid)),
    ("QLinearSoftmax", q_linear_softmax),
    ("QuantizeLinear", quantize_linear),
    ("QuickGelu", quick_gelu),
    ("SkipLayerNormalization", |call| skip_norm(call, true)),
    ("SkipSimplifiedLayerNormalization", |call| {
        skip_norm(call, false)
    }),
];

/// The values of an 8-bit input, from its scale and zero point at the inputs behind it.
fn dequantized(call: Call<'_>, at: usize, scale: usize, zero: usize) -> Result<Vec<f64>, Problem> {
    eight_bits(call, at)?;
    let scale = call.float_or(scale, 1.0)?;
    let zero = call.integer_or(zero, 0)? as f64;
    Ok(wide(call.input(at)?)
        .iter()
        .map(|x| (x - zero) * scale)
        .collect())
}

/// Values as 8-bit ones of a scale and a zero point; a zero point that is left out is a `u8` 0.
fn requantize(
    call: Call<'_>,
    shape: Vec<usize>,
    values: &[f64],
    scale: usize,
    zero: usize,
) -> Result<Array, Problem> {
    let to = call
        .optional(zero)
        .map_or(ElementType::UInt8, Array::element_type);
    let (scale, zero) = (call.float_or(scale, 1.0)?, call.integer_or(zero, 0)?);
    let one = |x: &f64| (libm::rint(x / scale) as i64).saturating_add(zero);
    clamped(shape, values.iter().map(one).collect(), to)
}

fn q_linear_binary(call: Call<'_>, f: fn(f64, f64) -> f64) -> Result<Vec<Array>, Problem> {
    let (a, b) = (dequantized(call, 0, 1, 2)?, dequantized(call, 3, 4, 5)?);
    let shapes = (call.input(0)?.shape(), call.input(3)?.shape());
    let found = super::binary::zipped((&a, shapes.0), (&b, shapes.1), f)?;
    Ok(vec![requantize(
        call,
        found.shape().to_vec(),
        &wide(&found),
        6,
        7,
    )?])
}

fn q_linear_unary(call: Call<'_>, f: impl Fn(f64) -> f64) -> Result<Vec<Array>, Problem> {
    let values: Vec<f64> = dequantized(call, 0, 1, 2)?.into_iter().map(f).collect();
    Ok(vec![requantize(
        call,
        call.input(0)?.shape().to_vec(),
        &values,
        3,
        4,
    )?])
}

fn q_linear_leaky_relu(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let alpha = f64::from(call.attributes().float("alpha", 0.01)?);
    q_linear_unary(call, |x| if x < 0.0 { alpha * x } else { x })
}

fn q_linear_softmax(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let shape = call.input(0)?.shape();
    let at = axis(call.attributes().int("axis", -1)?, shape.len())?;
    let sizes = if call.attributes().int("opset", 13)? < 13 {
        (
            shape[..at].iter().product(),
            shape[at..].iter().product(),
            1,
        )
    } else {
        lanes(shape, at)
    };
    let mut values = dequantized(call, 0, 1, 2)?;
    super::reduce::along(&mut values, sizes, super::reduce::softmax);
    Ok(vec![requantize(call, shape.to_vec(), &values, 3, 4)?])
}

fn channels_first(call: Call<'_>) -> Result<(), Problem> {
    match call.attributes().flag("channels_last", false)? {
        false => Ok(()),
        true => Err(call.attributes().unsupported("channels_last").into()),
    }
}

fn q_linear_average_pool(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    channels_first(call)?;
    let values = dequantized(call, 0, 1, 2)?;
    let (shape, found) = super::pool::averages(call, call.input(0)?.shape(), &values)?;
    Ok(vec![requantize(call, shape, &found, 3, 4)?])
}

fn q_linear_global_average_pool(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    channels_first(call)?;
    let values = dequantized(call, 0, 1, 2)?;
    let [batch, channels, rest @ ..] = call.input(0)?.shape() else {
        return misfit("the input has no channels");
    };
    let plane: usize = rest.iter().product();
    if plane == 0 {
        return misfit("a plane without elements");
    }
    let means: Vec<f64> = values
        .chunks(plane)
        .map(|plane| plane.iter().sum::<f64>() / plane.len() as f64)
        .collect();
    let shape = [&[*batch, *channels], vec![1; rest.len()].as_slice()].concat();
    Ok(vec![requantize(call, shape, &means, 3, 4)?])
}

/// Output scale and zero point, then each input with its own.
fn q_linear_concat(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let mut parts = Vec::new();
    for at in (2..call.inputs.len()).step_by(3) {
        let values = dequantized(call, at, at + 1, at + 2)?;
        parts.push(requantize(
            call,
            call.input(at)?.shape().to_vec(),
            &values,
            0,
            1,
        )?);
    }
    let inputs: Vec<Option<&Array>> = parts.iter().map(Some).collect();
    super::movement::concat(Call {
        inputs: &inputs,
        ..call
    })
}

/// `alpha (A - a) (B - b) + C`, quantized, or float where the output has no scale.
fn q_gemm(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    eight_bits(call, 0)?;
    eight_bits(call, 3)?;
    let turn = |at: usize, name: &str| -> Result<Array, Problem> {
        let input = call.input(at)?;
        if input.shape().len() != 2 {
            return misfit(format!("input {at} is no matrix"));
        }
        match call.attributes().flag(name, false)? {
            true => super::movement::transposed(input, &[1, 0]),
            false => Ok(input.clone()),
        }
    };
    let (a, b) = (turn(0, "transA")?, turn(3, "transB")?);
    let (shape, mut sums) = sums((&a, call.optional(2)), (&b, call.optional(5)))?;
    let columns = shape[1];
    if let Some(c) = call.optional(6) {
        if broadcast_shape(&[c.shape(), &shape]).as_deref() != Some(&shape) {
            return misfit(format!("{:?} added to {shape:?}", c.shape()));
        }
        let map = Broadcast::new(c.shape(), &shape);
        let c = wide(c);
        for (at, sum) in sums.iter_mut().enumerate() {
            *sum += c[map.from(at)];
        }
    }
    let alpha = f64::from(call.attributes().float("alpha", 1.0)?);
    let (a_scale, b_scale) = (call.float_or(1, 1.0)?, call.floats(4)?);
    if b_scale.len() != 1 && b_scale.len() != columns {
        return misfit(format!("{} scales for {columns} columns", b_scale.len()));
    }
    let b_of = |at: usize| b_scale[at % columns % b_scale.len()];
    let of = ElementType::Float32;
    let (Some(_), Some(zero)) = (call.optional(7), call.optional(8)) else {
        let values = sums.iter().enumerate();
        let values = values.map(|(at, sum)| alpha * a_scale * b_of(at) * sum);
        return Ok(vec![narrow(shape, values.collect(), of)?]);
    };
    let y = call.float_or(7, 1.0)?;
    let scale = |at: usize| multiplier(f64::from((alpha * a_scale) as f32), b_of(at), y, of);
    Ok(vec![requantized(shape, &sums, scale, zero)?])
}

/// Products of 8-bit matrices, as floats.
fn scaled(
    shape: Vec<usize>,
    sums: &[f64],
    a_scale: f64,
    b_scale: &Array,
    bias: Option<&Array>,
) -> Result<Vec<Array>, Problem> {
    let columns = along(&shape, Some(b_scale.shape()), false)?;
    let b = wide(b_scale);
    let (_, width) = matrix(&shape);
    let bias = bias.map(wide).unwrap_or_default();
    if !bias.is_empty() && bias.len() != width {
        return misfit(format!("{} biases for {width} columns", bias.len()));
    }
    let one = |(at, sum): (usize, &f64)| {
        let scale = (a_scale * b[columns.from(at)]) as f32;
        sum * f64::from(scale) + bias.get(at % width).copied().unwrap_or(0.0)
    };
    let values = sums.iter().enumerate().map(one).collect();
    Ok(vec![narrow(shape, values, ElementType::Float32)?])
}

fn mat_mul_integer_to_float(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    eight_bits(call, 0)?;
    eight_bits(call, 1)?;
    let a = (call.input(0)?, call.optional(4));
    let (shape, sums) = sums(a, (call.input(1)?, call.optional(5)))?;
    let a_scale = single(call.input(2)?)?;
    scaled(shape, &sums, a_scale, call.input(3)?, call.optional(6))
}

/// The float input is quantized as it comes.
fn dynamic_quantize_mat_mul(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    eight_bits(call, 1)?;
    let values = call.values::<f32>(0)?;
    let (scale, zero) = range(values);
    let a = filled(
        call.input(0)?.shape().to_vec(),
        quantized(values, scale, zero),
    )?;
    let zero = Array::scalar(zero);
    let (shape, sums) = sums((&a, Some(&zero)), (call.input(1)?, call.optional(3)))?;
    scaled(
        shape,
        &sums,
        f64::from(scale),
        call.input(2)?,
        call.optional(4),
    )
}

/// Weights of few bits in blocks along the depth: `[N, blocks, bytes]`, the low bits first.
fn mat_mul_n_bits(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let size = |name: &str| -> Result<usize, Problem> {
        let size = call.attributes().int(name, 0)?;
        let size = usize::try_from(size)
            .ok()
            .filter(|size| (1..=1 << 24).contains(size));
        size.ok_or_else(|| call.attributes().unsupported(name).into())
    };
    let (k, n, block) = (size("K")?, size("N")?, size("block_size")?);
    let bits = match call.attributes().int("bits", 4)? {
        bits @ (2 | 4 | 8) => bits as usize,
        _ => return Err(call.attributes().unsupported("bits").into()),
    };
    let blocks = k.div_ceil(block);
    let bytes = (block * bits).div_ceil(8);
    let per_row = (blocks * bits).div_ceil(8);
    if call.optional(4).is_some() {
        return Err(Problem::Unsupported("an order of the depth".into()));
    }
    room(&[n, k])?;
    let packed = call.values::<u8>(1)?;
    let scales = call.floats(2)?;
    let (rows, depth) = matrix(call.input(0)?.shape());
    if packed.len() != n * blocks * bytes || scales.len() != n * blocks || depth != k {
        return misfit(format!("{n} x {k} weights in blocks of {block}"));
    }
    let picked = |bytes: &[u8], at: usize| {
        let byte = bytes[at * bits / 8];
        f64::from(byte >> (at * bits % 8) & ((1u16 << bits) - 1) as u8)
    };
    let zeros: Vec<f64> = match call.optional(3).map(Array::data) {
        None => vec![f64::from(1u16 << (bits - 1)); n * blocks],
        Some(Data::UInt8(zeros)) if zeros.len() == n * per_row => {
            let rows = zeros.chunks(per_row);
            rows.flat_map(|row| (0..blocks).map(move |b| picked(row, b)))
                .collect()
        }
        Some(_) => {
            let zeros = call.floats(3)?;
            if zeros.len() != n * blocks {
                return misfit("the zero points do not fit the blocks");
            }
            zeros
        }
    };
    let mut weights = Vec::with_capacity(n * k);
    for row in 0..n {
        for at in 0..k {
            let b = row * blocks + at / block;
            let q = picked(&packed[b * bytes..][..bytes], at % block);
            weights.push(((q - zeros[b]) * scales[b]) as f32);
        }
    }
    let mut shape = call.input(0)?.shape().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = n;
    }
    room(&shape)?;
    let x: Vec<f32> = call.floats(0)?.iter().map(|x| *x as f32).collect();
    let found = product(&x, &turned(&weights, n, k), (rows, k, n));
    let bias = call.opt_floats(5)?.unwrap_or_else(|| vec![0.0; n]);
    if bias.len() != n {
        return misfit(format!("{} biases for {n} columns", bias.len()));
    }
    let found = found.iter().enumerate();
    let found = found.map(|(at, y)| f64::from(*y) + bias[at % n]).collect();
    Ok(vec![narrow(shape, found, call.input(0)?.element_type())?])
}

fn quick_gelu(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let alpha = f64::from(call.attributes().float("alpha", 1.702)?);
    float(call, |x| x * sigmoid(alpha * x))
}

/// The bias may be left out.
fn bias_gelu(call: Call<'_>, approximate: bool) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let mut values = call.floats(0)?;
    let (_, size) = matrix(input.shape());
    let bias = call.opt_floats(1)?.unwrap_or_else(|| vec![0.0; size]);
    if bias.len() != size {
        return misfit(format!("{} biases for {size} features", bias.len()));
    }
    for (at, x) in values.iter_mut().enumerate() {
        *x = gelu_of(*x + bias[at % size], approximate);
    }
    Ok(vec![like(input, values)?])
}

fn fused_mat_mul(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    for name in ["transBatchA", "transBatchB"] {
        if call.attributes().flag(name, false)? {
            return Err(call.attributes().unsupported(name).into());
        }
    }
    let turn = |at: usize, name: &str| -> Result<Array, Problem> {
        let input = call.input(at)?;
        let rank = input.shape().len();
        if rank < 2 || !call.attributes().flag(name, false)? {
            return Ok(input.clone());
        }
        let mut order: Vec<usize> = (0..rank).collect();
        order.swap(rank - 1, rank - 2);
        super::movement::transposed(input, &order)
    };
    let (a, b) = (turn(0, "transA")?, turn(1, "transB")?);
    let alpha = f64::from(call.attributes().float("alpha", 1.0)?);
    let found = super::product::mat_mul(Call {
        inputs: &[Some(&a), Some(&b)],
        ..call
    })?;
    float(
        Call {
            inputs: &[found.first()],
            ..call
        },
        |x| alpha * x,
    )
}

/// The sum of two inputs and a bias, normalized over the last dimension; the fourth output is the sum.
fn skip_norm(call: Call<'_>, centre: bool) -> Result<Vec<Array>, Problem> {
    let (input, skip) = (call.input(0)?, call.input(1)?);
    let shape = input.shape();
    let (_, size) = matrix(shape);
    if broadcast_shape(&[skip.shape(), shape]).as_deref() != Some(shape) {
        return misfit(format!("{:?} added to {shape:?}", skip.shape()));
    }
    let map = Broadcast::new(skip.shape(), shape);
    let skip = call.floats(1)?;
    let gamma = call.floats(2)?;
    let (beta_at, bias_at) = if centre { (3, 4) } else { (usize::MAX, 3) };
    let zeros = || vec![0.0; size];
    let beta = call.opt_floats(beta_at)?.unwrap_or_else(zeros);
    let bias = call.opt_floats(bias_at)?.unwrap_or_else(zeros);
    if [gamma.len(), beta.len(), bias.len()] != [size; 3] {
        return misfit(format!("parameters that are not of {size} features"));
    }
    let epsilon = f64::from(call.attributes().float("epsilon", 1e-5)?);
    let mut sums = call.floats(0)?;
    for (at, x) in sums.iter_mut().enumerate() {
        *x += skip[map.from(at)] + bias[at % size];
    }
    let mut values = sums.clone();
    if size > 0 {
        for row in values.chunks_mut(size) {
            let count = size as f64;
            let mean = if centre {
                row.iter().sum::<f64>() / count
            } else {
                0.0
            };
            let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
            let inverse = 1.0 / (variance + epsilon).sqrt();
            for (at, x) in row.iter_mut().enumerate() {
                *x = (*x - mean) * inverse * gamma[at] + beta[at];
            }
        }
    }
    let mut outputs = vec![like(input, values)?];
    if call.wants(3) {
        // statistics of training are not made
        let none = filled(vec![0], Vec::<f32>::new())?;
        outputs.extend([none.clone(), none, like(input, sums)?]);
    }
    Ok(outputs)
}
