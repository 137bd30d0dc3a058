//! Padding: zeros that a convolution behind them takes as its own.

use qconfig_core::kernel::Padding;
use qconfig_quantize::ValueId;

use super::{Bound, Importer, Place, Refusal, unsupported};
use crate::eval::{Problem, axes, axis};

impl Importer<'_> {
    pub(super) fn pad(&mut self, at: Place<'_>) -> Result<Vec<Bound>, Refusal> {
        let shape = self.shape_of(at, 0)?;
        let rank = shape.len();
        let Some(pads) = self.integers_or(at, 1, "pads")? else {
            return Err(Problem::Missing(1).into());
        };
        let named = match self.optional_constant(at, 3)?.map(|array| array.to_i64()) {
            Some(Some(named)) => {
                axes(&named, rank)?;
                named
                    .iter()
                    .map(|at| axis(*at, rank))
                    .collect::<Result<Vec<_>, _>>()?
            }
            _ => (0..rank).collect(),
        };
        let mode = at.attributes().string("mode", "constant")?;
        let value = match self.optional_weight(at, 2)? {
            Some(value) => value.data().first().copied().unwrap_or(0.0),
            None => at.attributes().float("value", 0.0)?,
        };
        if pads.len() != 2 * named.len() {
            return Err(Problem::Input(format!("{pads:?} does not pad {rank} dimensions")).into());
        }
        let mut around = vec![[0; 2]; rank];
        for (i, dim) in named.iter().enumerate() {
            let sides = [pads[i], pads[named.len() + i]].map(|pad| usize::try_from(pad).ok());
            let [Some(front), Some(behind)] = sides else {
                return unsupported(format!("the negative padding {pads:?}"));
            };
            if front.max(behind) > 1 << 30 {
                return unsupported(format!("the padding {pads:?}"));
            }
            around[*dim] = [front, behind];
        }
        let (id, inner) = match at.node.inputs.first().and_then(|name| self.bound.get(name)) {
            Some(Bound::Padded(id, inner)) => (*id, inner.clone()),
            _ => (self.value(at, 0)?, vec![[0; 2]; rank]),
        };
        if around.iter().all(|pad| *pad == [0, 0]) && inner.iter().all(|pad| *pad == [0, 0]) {
            return Ok(vec![Bound::Value(id)]);
        }
        let padding = match mode {
            "constant" => Padding::Constant(value),
            "reflect" => Padding::Reflect,
            "edge" => Padding::Edge,
            "wrap" => Padding::Wrap,
            _ => return Err(at.attributes().unsupported("mode").into()),
        };
        if padding != Padding::Constant(0.0) {
            let id = self.value(at, 0)?;
            let [before, after] =
                [0, 1].map(|side| around.iter().map(|pad| pad[side]).collect::<Vec<_>>());
            let name = &at.node.name;
            return Ok(vec![Bound::Value(
                self.builder.pad(name, id, padding, &before, &after)?,
            )]);
        }
        for (pad, more) in around.iter_mut().zip(inner) {
            *pad = [pad[0] + more[0], pad[1] + more[1]];
        }
        Ok(vec![Bound::Padded(id, around)])
    }

    /// Zeros around a value, written out.
    pub(super) fn materialized(
        &mut self,
        name: &str,
        id: ValueId,
        pads: &[[usize; 2]],
    ) -> Result<ValueId, Refusal> {
        let [before, after] =
            [0, 1].map(|side| pads.iter().map(|pad| pad[side]).collect::<Vec<_>>());
        let zero = Padding::Constant(0.0);
        let padded = self
            .builder
            .pad(&format!("{name}:padded"), id, zero, &before, &after)?;
        // the next reader finds it
        self.bound.insert(name.to_owned(), Bound::Value(padded));
        Ok(padded)
    }
}
