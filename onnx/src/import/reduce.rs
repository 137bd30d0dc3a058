//! Many values to one.

use qconfig_core::kernel::{Reduction, Unary};
use qconfig_quantize::ValueId;

use super::{Importer, Place, Refusal};
use crate::eval::axes;

impl Importer<'_> {
    /// The dimensions that a reduction takes away; `None` where it is to do nothing.
    pub(super) fn reduced(&self, at: Place<'_>) -> Result<Option<Vec<usize>>, Refusal> {
        let rank = self.shape_of(at, 0)?.len();
        let list = self.integers_or(at, 1, "axes")?.unwrap_or_default();
        Ok(match list[..] {
            [] if at.attributes().flag("noop_with_empty_axes", false)? => None,
            [] => Some((0..rank).collect()),
            _ => Some(axes(&list, rank)?),
        })
    }

    pub(super) fn reduce(&mut self, at: Place<'_>) -> Result<ValueId, Refusal> {
        let Some(dims) = self.reduced(at)? else {
            return self.value(at, 0);
        };
        let keepdims = at.attributes().flag("keepdims", true)?;
        let input = self.value(at, 0)?;
        let name = &at.node.name;
        let reduction = match at.node.op_type.as_str() {
            "ReduceMean" => return Ok(self.builder.mean(name, input, &dims, keepdims)?),
            "ReduceL2" => {
                let squares = self.builder.mul(&format!("{name}:squares"), input, input)?;
                let sum = self.builder.reduce(
                    &format!("{name}:sum"),
                    squares,
                    Reduction::Sum,
                    &dims,
                    keepdims,
                )?;
                return Ok(self.builder.unary(name, sum, Unary::Sqrt)?);
            }
            "ReduceProd" => Reduction::Prod,
            "ReduceMin" => Reduction::Min,
            "ReduceMax" => Reduction::Max,
            _ => Reduction::Sum,
        };
        Ok(self
            .builder
            .reduce(name, input, reduction, &dims, keepdims)?)
    }

    pub(super) fn global_max_pool(&mut self, at: Place<'_>) -> Result<ValueId, Refusal> {
        let rank = self.shape_of(at, 0)?.len();
        let dims: Vec<usize> = (2..rank).collect();
        let input = self.value(at, 0)?;
        Ok(self
            .builder
            .reduce(&at.node.name, input, Reduction::Max, &dims, true)?)
    }
}
