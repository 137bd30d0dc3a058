//! Operators that only move elements.

use qconfig_core::Spelled;
use qconfig_core::operator::{method, torch};
use qconfig_quantize::{Movement, Op, ValueId};

use super::{Importer, Place, Refusal, unsupported};
use crate::array::Array;
use crate::eval::{self, Problem, axis, squeezed, unsqueezed};

impl Importer<'_> {
    pub(super) fn reshape(&mut self, at: Place<'_>) -> Result<ValueId, Refusal> {
        let from = self.shape_of(at, 0)?;
        let attributes = at.attributes();
        let to = match at.node.op_type.as_str() {
            "Reshape" => {
                let to = self
                    .integers_or(at, 1, "shape")?
                    .ok_or(Problem::Missing(1))?;
                eval::reshaped(&from, &to, attributes.flag("allowzero", false)?)?
            }
            "Flatten" => {
                let rank = from.len();
                let first = attributes.int("axis", 1)?;
                let first = if first == rank as i64 {
                    rank
                } else {
                    axis(first, rank)?
                };
                let (front, back) = from.split_at(first);
                vec![front.iter().product(), back.iter().product()]
            }
            "Squeeze" => squeezed(&from, self.integers_or(at, 1, "axes")?.as_deref())?,
            _ => {
                let list = self
                    .integers_or(at, 1, "axes")?
                    .ok_or(Problem::Missing(1))?;
                unsqueezed(&from, &list)?
            }
        };
        let input = self.value(at, 0)?;
        if to == from {
            return Ok(input);
        }
        // what a linear layer reads is flattened, as PyTorch's models write it
        let flat = to.len() == 2 && from.len() > 2 && to.first() == from.first();
        if flat {
            return Ok(self.builder.flatten(&at.node.name, input)?);
        }
        self.add(at, method::reshape::SPELLING, Op::Reshape(to), &[input])
    }

    pub(super) fn transpose(&mut self, at: Place<'_>) -> Result<ValueId, Refusal> {
        let rank = self.shape_of(at, 0)?.len();
        let call = eval::Call {
            node: at.node,
            inputs: &[],
            opset: at.opset,
        };
        let order = eval::order(call, rank)?;
        let input = self.value(at, 0)?;
        if order.iter().copied().eq(0..rank) {
            return Ok(input);
        }
        let op = Op::Movement(Movement::Permute(order));
        self.add(at, method::permute::SPELLING, op, &[input])
    }

    pub(super) fn slice(&mut self, at: Place<'_>) -> Result<ValueId, Refusal> {
        let shape = self.shape_of(at, 0)?;
        let constants: Vec<Option<Array>> = (0..at.node.inputs.len())
            .map(|i| match i {
                0 => Ok(None),
                _ => Ok(self.optional_constant(at, i)?.cloned()),
            })
            .collect::<Result<_, Refusal>>()?;
        let inputs: Vec<Option<&Array>> = constants.iter().map(Option::as_ref).collect();
        let call = eval::Call {
            node: at.node,
            inputs: &inputs,
            opset: at.opset,
        };
        let slices = eval::slices(call, &shape)?;
        let mut id = self.value(at, 0)?;
        let cut: Vec<_> = slices
            .iter()
            .enumerate()
            .filter(|(dim, slice)| (slice.1, slice.2) != (1, shape[*dim]))
            .collect();
        let last = cut.len().saturating_sub(1);
        for (i, (dim, (start, step, length))) in cut.into_iter().enumerate() {
            if *step != 1 {
                return unsupported(format!("a slice with steps of {step}"));
            }
            let name = match i == last {
                true => at.node.name.clone(),
                false => format!("{}:{dim}", at.node.name),
            };
            let (dim, start, length) = (dim, *start, *length);
            let op = Op::Movement(Movement::Narrow { dim, start, length });
            id = self
                .builder
                .node(&name, torch::narrow::SPELLING, op, &[id])?;
        }
        Ok(id)
    }

    pub(super) fn concat(&mut self, at: Place<'_>) -> Result<ValueId, Refusal> {
        let rank = self.shape_of(at, 0)?.len();
        let dim = axis(at.attributes().int("axis", 0)?, rank)?;
        let inputs = (0..at.node.inputs.len())
            .map(|i| self.value(at, i))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(self.builder.cat(&at.node.name, &inputs, dim)?)
    }
}
