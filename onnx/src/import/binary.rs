//! Operators of two tensors, or of several one after the other.

use qconfig_core::kernel::{Binary, Unary};
use qconfig_quantize::ValueId;

use super::{Bound, Importer, Place, Refusal};
use crate::eval::Problem;

impl Importer<'_> {
    /// The one number that an input is, if it is a constant of one element.
    fn number(&self, at: Place<'_>, input: usize) -> Option<f32> {
        let name = at.node.inputs.get(input)?;
        match self.bound.get(name)? {
            Bound::Constant(array) => match array.to_f32()?[..] {
                // one element of more dimensions than the other operand would change the shape
                [one] if array.shape().len() <= self.shape_of(at, 1 - input.min(1)).ok()?.len() => {
                    Some(one)
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// A function of one value and a number, where one operand is that.
    fn scalar(&self, at: Place<'_>) -> Option<(usize, Unary)> {
        let numbers = [self.number(at, 0), self.number(at, 1)];
        Some(match (at.node.op_type.as_str(), numbers) {
            ("Add", [Some(x), None]) => (1, Unary::AddScalar { other: x.into() }),
            ("Add", [None, Some(x)]) => (0, Unary::AddScalar { other: x.into() }),
            ("Sub", [None, Some(x)]) => (
                0,
                Unary::AddScalar {
                    other: -f64::from(x),
                },
            ),
            ("Mul", [Some(x), None]) => (1, Unary::MulScalar { other: x.into() }),
            ("Mul", [None, Some(x)]) => (0, Unary::MulScalar { other: x.into() }),
            ("Div", [None, Some(x)]) if x != 0.0 => (
                0,
                Unary::MulScalar {
                    other: 1.0 / f64::from(x),
                },
            ),
            ("Pow", [None, Some(x)]) => (0, Unary::PowScalar { exponent: x.into() }),
            _ => return None,
        })
    }

    pub(super) fn binary(&mut self, at: Place<'_>) -> Result<ValueId, Refusal> {
        if let Some((value, function)) = self.scalar(at) {
            let input = self.value(at, value)?;
            return Ok(self.builder.unary(&at.node.name, input, function)?);
        }
        let function = match at.node.op_type.as_str() {
            "Sub" => Some(Binary::Sub),
            "Div" => Some(Binary::Div),
            "Pow" => Some(Binary::Pow),
            "Min" => Some(Binary::Minimum),
            "Max" => Some(Binary::Maximum),
            _ => None,
        };
        let count = at.node.inputs.len();
        if count == 1 {
            return self.value(at, 0);
        }
        let mut left = self.value(at, 0)?;
        for input in 1..count {
            let right = self.value(at, input)?;
            let name = match input + 1 == count {
                true => at.node.name.clone(),
                false => format!("{}:{input}", at.node.name),
            };
            left = match (function, at.node.op_type.as_str()) {
                (Some(function), _) => self.builder.binary(&name, left, right, function)?,
                (None, "Mul") => self.builder.mul(&name, left, right)?,
                (None, "Add" | "Sum") => self.builder.add(&name, left, right)?,
                _ => return Err(Problem::Operator.into()),
            };
        }
        Ok(left)
    }
}
