//! Functions of one tensor.

use qconfig_core::Spelled;
use qconfig_core::kernel::Unary;
use qconfig_core::operator::{F, nn};
use qconfig_quantize::{Op, ValueId};

use super::{Importer, Place, Refusal, unsupported};
use crate::eval::axis;

impl Importer<'_> {
    pub(super) fn activation(&mut self, at: Place<'_>) -> Result<ValueId, Refusal> {
        let attributes = at.attributes();
        let function = match at.node.op_type.as_str() {
            "Relu" => return self.simple(at, nn::ReLU::SPELLING, Op::Relu),
            "Clip" => return self.clip(at),
            "Softmax" => return self.softmax(at),
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
            _ => Unary::Gelu {
                tanh: attributes.string("approximate", "none")? == "tanh",
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

    fn softmax(&mut self, at: Place<'_>) -> Result<ValueId, Refusal> {
        let rank = self.shape_of(at, 0)?.len();
        let default = if at.opset < 13 { 1 } else { -1 };
        let dim = axis(at.attributes().int("axis", default)?, rank)?;
        if at.opset < 13 && dim + 1 != rank {
            // all dimensions from the axis on are one
            return unsupported("a softmax over several dimensions");
        }
        let input = self.value(at, 0)?;
        Ok(self.builder.softmax(&at.node.name, input, dim)?)
    }
}
