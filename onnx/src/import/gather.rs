//! Rows picked by indices.

use qconfig_core::Spelled;
use qconfig_core::operator::method;
use qconfig_quantize::{Op, ValueId};

use super::{Bound, Importer, Place, Refusal, unsupported};
use crate::eval::{Problem, axis};

impl Importer<'_> {
    pub(super) fn gather(&mut self, at: Place<'_>) -> Result<ValueId, Refusal> {
        let shape = self.shape_of(at, 0)?;
        let dim = axis(at.attributes().int("axis", 0)?, shape.len())?;
        let name = &at.node.name;
        let is_table = matches!(
            at.node.inputs.first().and_then(|name| self.bound.get(name)),
            Some(Bound::Constant(_))
        );
        if is_table {
            let table = self.weight(at, 0)?;
            if dim != 0 || table.shape().len() != 2 {
                return unsupported("rows of a table that is no matrix");
            }
            let indices = self.value(at, 1)?;
            return Ok(self.builder.embedding(name, indices, table)?);
        }
        let picked = self.constant(at, 1)?;
        let (to, list) = (picked.shape().to_vec(), picked.to_i64());
        let list = list.ok_or(Problem::Type(1, picked.element_type()))?;
        let size = *shape.get(dim).unwrap_or(&0);
        let list = list
            .iter()
            .map(|at| axis(*at, size))
            .collect::<Result<Vec<_>, _>>()?;
        let input = self.value(at, 0)?;
        if to.len() == 1 {
            return Ok(self.builder.select(name, input, dim, &list)?);
        }
        // one index takes the dimension away, a matrix of them makes two of it
        let selected = self
            .builder
            .select(&format!("{name}:rows"), input, dim, &list)?;
        let shape = [&shape[..dim], &to, &shape[dim + 1..]].concat();
        Ok(self.builder.node(
            name,
            method::reshape::SPELLING,
            Op::Reshape(shape),
            &[selected],
        )?)
    }
}
