//! Operators of two tensors.

use qconfig_core::kernel::Unary;
use qconfig_quantize::ValueId;

use super::{Bound, Importer, Place, Refusal, unsupported};

impl Importer<'_> {
    /// The one number that an input is, if it is a constant of one element.
    fn number(&self, at: Place<'_>, input: usize) -> Option<f32> {
        let name = at.node.inputs.get(input)?;
        match self.bound.get(name)? {
            Bound::Constant(array) => match array.to_f32()?[..] {
                [one] => Some(one),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn binary(&mut self, at: Place<'_>) -> Result<ValueId, Refusal> {
        let numbers = [self.number(at, 0), self.number(at, 1)];
        let op = at.node.op_type.as_str();
        let (value, function) = match (op, numbers) {
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
            _ => {
                let (a, b) = (self.value(at, 0)?, self.value(at, 1)?);
                return match op {
                    "Add" => Ok(self.builder.add(&at.node.name, a, b)?),
                    "Mul" => Ok(self.builder.mul(&at.node.name, a, b)?),
                    _ => unsupported(format!("{op} of two values")),
                };
            }
        };
        let input = self.value(at, value)?;
        Ok(self.builder.unary(&at.node.name, input, function)?)
    }
}
