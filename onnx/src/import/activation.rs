//! Functions of one tensor.

use qconfig_core::Spelled;
use qconfig_core::kernel::Unary;
use qconfig_core::operator::{F, nn};
use qconfig_quantize::{Op, ValueId};

use super::{Importer, Place, Refusal, unsupported};
use crate::eval::{Problem, axis};

/// Functions without parameters.
const SIMPLE: &[(&str, Unary)] = &[
    ("Abs", Unary::Abs),
    ("Acos", Unary::Acos),
    ("Acosh", Unary::Acosh),
    ("Asin", Unary::Asin),
    ("Asinh", Unary::Asinh),
    ("Atan", Unary::Atan),
    ("Atanh", Unary::Atanh),
    ("Ceil", Unary::Ceil),
    ("Cos", Unary::Cos),
    ("Cosh", Unary::Cosh),
    ("Erf", Unary::Erf),
    ("Exp", Unary::Exp),
    ("Floor", Unary::Floor),
    ("Log", Unary::Log),
    ("Mish", Unary::Mish),
    ("Neg", Unary::Neg),
    ("Reciprocal", Unary::Reciprocal),
    ("Round", Unary::Round),
    ("Sign", Unary::Sign),
    ("Silu", Unary::Silu),
    ("Sin", Unary::Sin),
    ("Sinh", Unary::Sinh),
    ("Softsign", Unary::Softsign),
    ("Sqrt", Unary::Sqrt),
    ("Tan", Unary::Tan),
];

impl Importer<'_> {
    pub(super) fn activation(&mut self, at: Place<'_>) -> Result<ValueId, Refusal> {
        let attributes = at.attributes();
        let function = match at.node.op_type.as_str() {
            "Relu" => return self.simple(at, nn::ReLU::SPELLING, Op::Relu),
            "Clip" => return self.clip(at),
            "Softmax" => return self.softmax(at, &at.node.name),
            "Sigmoid" => Unary::Sigmoid,
            "Tanh" => Unary::Tanh,
            "HardSwish" => Unary::Hardswish,
            "HardSigmoid" => {
                let (alpha, beta) = (
                    attributes.float("alpha", 0.2)?,
                    attributes.float("beta", 0.5)?,
                );
                // torch's, and how exporters write it
                if (alpha - 1.0 / 6.0).abs() > 1e-6 || beta != 0.5 {
                    return unsupported(format!(
                        "a hard sigmoid of slope {alpha} and offset {beta}"
                    ));
                }
                Unary::Hardsigmoid
            }
            "Elu" => Unary::Elu {
                alpha: attributes.float("alpha", 1.0)?,
            },
            "LeakyRelu" => Unary::LeakyRelu {
                negative_slope: attributes.float("alpha", 0.01)?,
            },
            "Gelu" => Unary::Gelu {
                tanh: attributes.string("approximate", "none")? == "tanh",
            },
            "PRelu" => return self.p_relu(at),
            "LogSoftmax" => {
                let name = &at.node.name;
                let soft = self.softmax(at, &format!("{name}:softmax"))?;
                return Ok(self.builder.unary(name, soft, Unary::Log)?);
            }
            "Softplus" => Unary::Softplus { beta: 1.0 },
            other => match SIMPLE.iter().find(|(name, _)| *name == other) {
                Some((_, function)) => *function,
                None => return Err(Problem::Operator.into()),
            },
        };
        let input = self.value(at, 0)?;
        Ok(self.builder.unary(&at.node.name, input, function)?)
    }

    fn simple(
        &mut self,
        at: Place<'_>,
        spelling: &'static qconfig_core::Spelling,
        op: Op,
    ) -> Result<ValueId, Refusal> {
        let input = self.value(at, 0)?;
        self.add(at, spelling, op, &[input])
    }

    fn clip(&mut self, at: Place<'_>) -> Result<ValueId, Refusal> {
        let bound = |this: &Self, input, name, default| -> Result<f32, Refusal> {
            match this.optional_weight(at, input)? {
                Some(bound) => Ok(bound.data().first().copied().unwrap_or(default)),
                None => Ok(at.attributes().float(name, default)?),
            }
        };
        let low = bound(self, 1, "min", f32::NEG_INFINITY)?;
        let high = bound(self, 2, "max", f32::INFINITY)?;
        let spelling = match (low, high) {
            (0.0, f32::INFINITY) => return self.simple(at, nn::ReLU::SPELLING, Op::Relu),
            (0.0, 6.0) => nn::ReLU6::SPELLING,
            _ => F::hardtanh::SPELLING,
        };
        self.simple(at, spelling, Op::Clamp { low, high })
    }

    fn p_relu(&mut self, at: Place<'_>) -> Result<ValueId, Refusal> {
        let shape = self.shape_of(at, 0)?;
        let slopes = self.weight(at, 1)?;
        // `[C, 1, 1]`, which stretches over the pixels, or one for all
        let channels = shape.get(1).copied().unwrap_or(1);
        let mut along = vec![1; slopes.shape().len()];
        let channel_axis = along.len().checked_sub(shape.len().saturating_sub(1));
        if let Some(size) = channel_axis.and_then(|at| along.get_mut(at)) {
            *size = channels;
        }
        if slopes.data().len() != 1 && slopes.shape() != along {
            return unsupported(format!("slopes of shape {:?}", slopes.shape()));
        }
        let input = self.value(at, 0)?;
        Ok(self.builder.prelu(&at.node.name, input, slopes.data())?)
    }

    fn softmax(&mut self, at: Place<'_>, name: &str) -> Result<ValueId, Refusal> {
        let rank = self.shape_of(at, 0)?.len();
        let default = if at.opset < 13 { 1 } else { -1 };
        let dim = axis(at.attributes().int("axis", default)?, rank)?;
        if at.opset < 13 && dim + 1 != rank {
            // all dimensions from the axis on are one
            return unsupported("a softmax over several dimensions");
        }
        let input = self.value(at, 0)?;
        Ok(self.builder.softmax(name, input, dim)?)
    }
}
