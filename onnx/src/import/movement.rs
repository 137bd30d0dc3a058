//! Operators that only move elements.

use qconfig_core::operator::{method, torch};
use qconfig_core::{DType, Spelled};
use qconfig_quantize::{Movement, Op, ValueId};

use super::{Bound, Importer, Place, Refusal, unsupported};
use crate::array::{Array, ElementType, broadcast_shape};
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
            "Flatten" => eval::flattened(&from, attributes.int("axis", 1)?)?,
            "Squeeze" => squeezed(&from, self.integers_or(at, 1, "axes")?.as_deref())?,
            _ => {
                let list = self
                    .integers_or(at, 1, "axes")?
                    .ok_or(Problem::Missing(1))?;
                unsqueezed(&from, &list)?
            }
        };
        let input = self.float(at, 0)?;
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
        let mut id = self.float(at, 0)?;
        let cut: Vec<_> = slices
            .iter()
            .enumerate()
            .filter(|(dim, slice)| (slice.1, slice.2) != (1, shape[*dim]))
            .collect();
        let last = cut.len().saturating_sub(1);
        for (i, (dim, (start, step, length))) in cut.into_iter().enumerate() {
            let name = match i == last {
                true => at.node.name.clone(),
                false => format!("{}:{dim}", at.node.name),
            };
            let (start, length) = (*start, *length);
            if *step != 1 {
                let from = i64::try_from(start).unwrap_or(i64::MAX);
                let position = |i: usize| usize::try_from(from + i as i64 * step).unwrap_or(0);
                let list: Vec<usize> = (0..length).map(position).collect();
                id = self.builder.select(&name, id, dim, &list)?;
                continue;
            }
            let op = Op::Movement(Movement::Narrow { dim, start, length });
            id = self
                .builder
                .node(&name, torch::narrow::SPELLING, op, &[id])?;
        }
        Ok(id)
    }

    /// Floats stay what they are; integers that come in become floats.
    pub(super) fn cast(&mut self, at: Place<'_>) -> Result<ValueId, Refusal> {
        let to = ElementType::from_number(at.attributes().int("to", 0)?);
        let id = self.value(at, 0)?;
        match (self.builder.dtype(id), to) {
            (Some(DType::float32), Some(ElementType::Float32))
            | (Some(DType::int64), Some(ElementType::Int64))
            | (Some(DType::int32), Some(ElementType::Int32)) => Ok(id),
            (_, Some(ElementType::Float32)) => Ok(self.builder.to_float(&at.node.name, id)?),
            _ => unsupported(format!("a cast to {to:?} of what is not constant")),
        }
    }

    pub(super) fn split(&mut self, at: Place<'_>) -> Result<Vec<Bound>, Refusal> {
        let shape = self.shape_of(at, 0)?;
        let dim = axis(at.attributes().int("axis", 0)?, shape.len())?;
        let size = shape.get(dim).copied().unwrap_or(0);
        let lengths = match self.integers_or(at, 1, "split")? {
            Some(list) => list
                .iter()
                .map(|length| usize::try_from(*length).ok())
                .collect::<Option<Vec<_>>>()
                .filter(|list| list.len() == at.node.outputs.len()),
            None => {
                let each = size.div_ceil(at.node.outputs.len().max(1));
                let start = |i: usize| (i * each).min(size);
                Some(
                    (0..at.node.outputs.len())
                        .map(|i| start(i + 1) - start(i))
                        .collect(),
                )
            }
        };
        let lengths = lengths.filter(|list| list.iter().sum::<usize>() == size);
        let Some(lengths) = lengths else {
            return unsupported(format!("a split of {size} positions in other parts"));
        };
        let input = self.float(at, 0)?;
        let (mut start, mut parts) = (0, Vec::new());
        for (i, length) in lengths.into_iter().enumerate() {
            let op = Op::Movement(Movement::Narrow { dim, start, length });
            let name = format!("{}:{i}", at.node.name);
            let id = self
                .builder
                .node(&name, torch::narrow::SPELLING, op, &[input])?;
            parts.push(Bound::Value(id));
            start += length;
        }
        Ok(parts)
    }

    /// Copies along dimensions until the shape is that of a tensor it stretches to.
    pub(super) fn expand(&mut self, at: Place<'_>) -> Result<ValueId, Refusal> {
        let from = self.shape_of(at, 0)?;
        let sizes = self
            .integers_or(at, 1, "shape")?
            .ok_or(Problem::Missing(1))?;
        let wanted: Option<Vec<usize>> = sizes.iter().map(|x| usize::try_from(*x).ok()).collect();
        let to = wanted.and_then(|wanted| broadcast_shape(&[&from, &wanted]));
        let Some(to) = to else {
            return unsupported(format!("{from:?} stretched to {sizes:?}"));
        };
        let new = to.len() - from.len();
        let counts = to
            .iter()
            .enumerate()
            .map(|(dim, size)| match dim.checked_sub(new) {
                Some(old) => size / from[old].max(1),
                None => *size,
            });
        let counts = counts.collect();
        self.repeated(at, to == from, counts)
    }

    pub(super) fn tile(&mut self, at: Place<'_>) -> Result<ValueId, Refusal> {
        let list = self
            .integers_or(at, 1, "repeats")?
            .ok_or(Problem::Missing(1))?;
        let counts: Option<Vec<usize>> = list.iter().map(|x| usize::try_from(*x).ok()).collect();
        let Some(counts) = counts else {
            return unsupported(format!("{list:?} copies"));
        };
        self.repeated(at, counts.iter().all(|count| *count == 1), counts)
    }

    fn repeated(
        &mut self,
        at: Place<'_>,
        same: bool,
        counts: Vec<usize>,
    ) -> Result<ValueId, Refusal> {
        let input = self.float(at, 0)?;
        if same {
            return Ok(input);
        }
        let op = Op::Movement(Movement::Repeat(counts));
        self.add(at, method::repeat::SPELLING, op, &[input])
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
