//! Output shapes, and what does not fit.

mod binary;
mod cat;
mod conv_transpose;
mod embedding;
mod matmul;
mod mean;
mod norm;
mod pad;
mod recurrent;
mod unary;

use qconfig_core::DType;

use super::{GraphProblem, Op, sides};
use crate::tensor::elements;

/// The shapes of all values that go out, or what does not fit.
pub(super) fn output_shapes(
    op: &Op,
    inputs: &[&[usize]],
    dtypes: &[DType],
) -> Result<Vec<Vec<usize>>, GraphProblem> {
    if let Op::Embedding(table) = op {
        return Ok(vec![embedding::output(table, inputs, dtypes)?]);
    }
    if let (Op::ToFloat, [shape], [DType::int32 | DType::int64]) = (op, inputs, dtypes) {
        return Ok(vec![shape.to_vec()]);
    }
    if let Some(other) = dtypes.iter().find(|dtype| **dtype != DType::float32) {
        return Err(GraphProblem::DType(*other));
    }
    match op {
        Op::Recurrent(layer) => recurrent::outputs(layer, inputs),
        _ => Ok(vec![output_shape(op, inputs)?]),
    }
}

/// The output shape of an operator with one output, or what does not fit.
fn output_shape(op: &Op, inputs: &[&[usize]]) -> Result<Vec<usize>, GraphProblem> {
    let expected = match op {
        Op::Add | Op::Mul | Op::MatMul | Op::Binary(_) => 2,
        Op::Where => 3,
        Op::Own(own) => own.op().inputs(),
        // any number
        Op::Cat { .. } | Op::Stack { .. } => inputs.len().max(1),
        _ => 1,
    };
    let Some(first) = inputs.first() else {
        return Err(GraphProblem::Inputs {
            expected,
            found: inputs.len(),
        });
    };
    if inputs.len() != expected {
        return Err(GraphProblem::Inputs {
            expected,
            found: inputs.len(),
        });
    }
    let shape = first.to_vec();
    let misfit = |what: &str| GraphProblem::Shape {
        what: what.into(),
        shape: shape.clone(),
    };
    let parameter = |what: String| Err(GraphProblem::Parameter(what));
    match op {
        Op::Conv(conv) => {
            let [o, i, kernel @ ..] = conv.weight.shape() else {
                return parameter("the weight must be [O, I / groups, k..]".into());
            };
            let (1..=3, true) = (kernel.len(), shape.len() == kernel.len() + 2) else {
                return Err(misfit(
                    "a convolution takes [N, C, spatial..] of the weight's rank, one to three dimensions",
                ));
            };
            if conv.groups == 0
                || o % conv.groups != 0
                || i.checked_mul(conv.groups) != Some(shape[1])
            {
                return Err(misfit(&format!(
                    "the weight {:?} with {} groups takes other channels",
                    conv.weight.shape(),
                    conv.groups
                )));
            }
            check_bias(conv.bias.as_deref(), *o)?;
            let spatial = windows(
                &shape[2..],
                kernel,
                &conv.stride,
                &conv.padding,
                &conv.dilation,
                false,
            )?;
            Ok([vec![shape[0], *o], spatial].concat())
        }
        Op::ConvTranspose(conv) => conv_transpose::output_shape(conv, &shape),
        Op::Linear(linear) => {
            let &[o, k] = linear.weight.shape() else {
                return parameter("the weight must be [O, K]".into());
            };
            if shape.last() != Some(&k) {
                return Err(misfit(&format!("the weight [{o}, {k}] takes {k} features")));
            }
            check_bias(linear.bias.as_deref(), o)?;
            Ok([&shape[..shape.len() - 1], &[o]].concat())
        }
        Op::BatchNorm(bn) => {
            let channels = *shape
                .get(1)
                .ok_or_else(|| misfit("batch normalization takes [N, C, ..]"))?;
            for (name, values) in [
                ("weight", &bn.weight),
                ("bias", &bn.bias),
                ("running_mean", &bn.running_mean),
                ("running_var", &bn.running_var),
            ] {
                if values.len() != channels {
                    return parameter(format!(
                        "{name} has {} values, the input {channels} channels",
                        values.len()
                    ));
                }
            }
            Ok(shape)
        }
        // they have rooms of their own
        Op::Recurrent(_) | Op::Embedding(_) => Err(misfit("the operator has another rule")),
        Op::Relu | Op::Identity => Ok(shape),
        Op::Cat { axis } => cat::concatenated(*axis, inputs),
        Op::Stack { axis } => cat::stacked(*axis, inputs),
        Op::Softmax { axis } if *axis < shape.len() => Ok(shape),
        Op::Softmax { axis } => Err(misfit(&format!("there is no dimension {axis}"))),
        Op::Unary(function) => unary::checked(*function).map(|()| shape),
        Op::Clamp { low, high } if low <= high => Ok(shape),
        Op::Clamp { low, high } => parameter(format!("the clamp {low}..{high} is empty")),
        Op::Add | Op::Mul | Op::Binary(_) => {
            binary::broadcast(&shape, inputs[1]).ok_or_else(|| {
                misfit(&format!(
                    "the second operand {:?} does not broadcast",
                    inputs[1]
                ))
            })
        }
        Op::Where => {
            let both = binary::broadcast(&shape, inputs[1]);
            let all = both.and_then(|both| binary::broadcast(&both, inputs[2]));
            all.ok_or_else(|| {
                misfit(&format!(
                    "what is chosen, {:?} and {:?}, does not broadcast",
                    inputs[1], inputs[2]
                ))
            })
        }
        Op::MatMul => matmul::product(&shape, inputs[1]),
        Op::PRelu(slopes) => unary::sloped(slopes, shape),
        Op::MaxPool(pool) | Op::AvgPool { pool, .. } => {
            if shape.len() != pool.kernel.len() + 2 || shape.len() > 5 {
                return Err(misfit(
                    "a pooling takes [N, C, spatial..] of the window's rank",
                ));
            }
            if let Op::AvgPool {
                divisor_override: Some(0),
                ..
            } = op
            {
                return parameter("the divisor must not be 0".into());
            }
            let rank = pool.kernel.len();
            let widest = |kernel: &usize| match pool.padding.len() == rank {
                true => kernel / 2,
                false => kernel.saturating_sub(1),
            };
            if sides(&pool.padding, rank)
                .iter()
                .flat_map(|side| side.iter().zip(&pool.kernel))
                .any(|(padding, kernel)| *padding > widest(kernel))
            {
                return parameter(
                    "the padding must be at most half the window, or one less where sides differ"
                        .into(),
                );
            }
            let spatial = windows(
                &shape[2..],
                &pool.kernel,
                &pool.stride,
                &pool.padding,
                &pool.dilation,
                pool.ceil_mode,
            )?;
            Ok([shape[..2].to_vec(), spatial].concat())
        }
        Op::GroupNorm { groups, norm } => norm::group(*groups, norm, &shape),
        Op::LayerNorm { axes, norm } => norm::layer(*axes, norm, &shape),
        Op::AdaptiveAvgPool(sizes) => mean::adaptive(sizes, &shape),
        Op::Mean { axes, keepdim } => mean::over_axes(axes, *keepdim, &shape),
        Op::Reduce { axes, keepdim, .. } => mean::over_axes(axes, *keepdim, &shape),
        Op::Pad {
            padding,
            before,
            after,
        } => pad::padded(*padding, before, after, &shape),
        Op::Select { axis, indices } => pad::selected(*axis, indices, &shape),
        // of integers: decided above
        Op::ToFloat => Err(GraphProblem::DType(DType::float32)),
        Op::Own(own) => own.op().shape(inputs).map_err(|what| misfit(&what)),
        Op::GlobalAvgPool if shape.len() >= 3 => {
            let ones = vec![1; shape.len() - 2];
            Ok([shape[..2].to_vec(), ones].concat())
        }
        Op::GlobalAvgPool => Err(misfit("a global pooling takes [N, C, spatial..]")),
        Op::Flatten { start } if *start < shape.len() => Ok([
            shape[..*start].to_vec(),
            vec![shape[*start..].iter().product()],
        ]
        .concat()),
        Op::Flatten { start } => Err(misfit(&format!("there is no dimension {start} to flatten"))),
        Op::Interpolate(op) if (3..=5).contains(&shape.len()) => {
            let spatial = op.size(&shape[2..]).map_err(|what| misfit(&what))?;
            Ok([&shape[..2], &spatial].concat())
        }
        Op::Interpolate(_) => Err(misfit("interpolation takes [N, C, spatial..]")),
        Op::Movement(movement) => {
            let view = movement.view(&shape).map_err(|what| misfit(&what))?;
            view.shape()
                .ok_or_else(|| misfit("the output has too many elements"))
        }
        Op::Reshape(to) if elements(to) == elements(&shape) => Ok(to.clone()),
        Op::Reshape(to) => Err(misfit(&format!("{to:?} has another number of elements"))),
    }
}

fn check_bias(bias: Option<&[f32]>, channels: usize) -> Result<(), GraphProblem> {
    match bias {
        Some(bias) if bias.len() != channels => Err(GraphProblem::Parameter(format!(
            "the bias has {} values, the weight {channels} rows",
            bias.len()
        ))),
        _ => Ok(()),
    }
}

/// Output sizes of sliding windows (`torch.nn.Conv2d`, `torch.nn.MaxPool2d`: "Shape").
fn windows(
    input: &[usize],
    kernel: &[usize],
    stride: &[usize],
    padding: &[usize],
    dilation: &[usize],
    ceil: bool,
) -> Result<Vec<usize>, GraphProblem> {
    let [front, behind] = sides(padding, input.len());
    if [kernel.len(), stride.len(), front.len(), dilation.len()] != [input.len(); 4] {
        return Err(GraphProblem::Parameter(
            "kernel, stride, padding and dilation need a number for each dimension".into(),
        ));
    }
    let mut output = Vec::new();
    for (d, size) in input.iter().enumerate() {
        let (k, s, p) = (kernel[d], stride[d], front[d]);
        if k == 0 || s == 0 || dilation[d] == 0 {
            return Err(GraphProblem::Parameter(
                "kernel, stride and dilation must not be 0".into(),
            ));
        }
        let reach = (k - 1)
            .checked_mul(dilation[d])
            .and_then(|n| n.checked_add(1));
        let padded = p.checked_add(behind[d]).and_then(|p| p.checked_add(*size));
        let (Some(reach), Some(padded)) = (reach, padded) else {
            return Err(GraphProblem::Parameter("the window is too large".into()));
        };
        let Some(room) = padded.checked_sub(reach) else {
            return Err(GraphProblem::Shape {
                what: format!("the window spans {reach}, the padded input only {padded}"),
                shape: input.to_vec(),
            });
        };
        let mut n = if ceil { room.div_ceil(s) } else { room / s } + 1;
        // in ceil mode the last window must begin inside the input or its left padding
        if ceil && (n - 1) * s >= size + p {
            n -= 1;
        }
        output.push(n);
    }
    Ok(output)
}
