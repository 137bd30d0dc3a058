//! Normalizations.

use qconfig_quantize::{BatchNorm, Norm, ValueId};

use super::{Importer, Place, Refusal, unsupported};
use crate::eval::{Problem, axis};

impl Importer<'_> {
    pub(super) fn batch_normalization(&mut self, at: Place<'_>) -> Result<ValueId, Refusal> {
        let values = |this: &Self, input| Ok::<_, Refusal>(this.weight(at, input)?.data().to_vec());
        if at.attributes().flag("training_mode", false)? {
            return Err(at.attributes().unsupported("training_mode").into());
        }
        let bn = BatchNorm {
            weight: values(self, 1)?,
            bias: values(self, 2)?,
            running_mean: values(self, 3)?,
            running_var: values(self, 4)?,
            eps: at.attributes().float("epsilon", 1e-5)?,
        };
        let input = self.value(at, 0)?;
        Ok(self.builder.batch_norm(&at.node.name, input, bn)?)
    }

    fn affine(&self, at: Place<'_>) -> Result<Norm, Refusal> {
        let weight = self.weight(at, 1)?.data().to_vec();
        let bias = match self.optional_weight(at, 2)? {
            Some(bias) => bias.data().to_vec(),
            None => vec![0.0; weight.len()],
        };
        let eps = at.attributes().float("epsilon", 1e-5)?;
        Ok(Norm { weight, bias, eps })
    }

    pub(super) fn instance_normalization(&mut self, at: Place<'_>) -> Result<ValueId, Refusal> {
        let norm = self.affine(at)?;
        let input = self.value(at, 0)?;
        Ok(self.builder.instance_norm(&at.node.name, input, norm)?)
    }

    pub(super) fn layer_normalization(&mut self, at: Place<'_>) -> Result<ValueId, Refusal> {
        let shape = self.shape_of(at, 0)?;
        let first = axis(at.attributes().int("axis", -1)?, shape.len())?;
        if at.node.outputs.iter().skip(1).any(|name| !name.is_empty()) {
            return unsupported("mean and deviation as outputs");
        }
        let axes = shape.len() - first;
        if at.attributes().int("stash_type", 1)? != 1 {
            return Err(Problem::from(at.attributes().unsupported("stash_type")).into());
        }
        let norm = self.affine(at)?;
        let input = self.value(at, 0)?;
        Ok(self.builder.layer_norm(&at.node.name, input, axes, norm)?)
    }
}
