//! Matrix products.

use qconfig_quantize::{Tensor, ValueId};

use super::{Bound, Importer, Place, Refusal, unsupported};
use crate::eval::Problem;

/// `[K, O]` as `[O, K]`, each value times a factor.
fn transposed(weight: &Tensor, factor: f32) -> Option<Tensor> {
    let &[k, o] = weight.shape() else {
        return None;
    };
    let value = |at: usize| weight.data()[at % k * o + at / k] * factor;
    Tensor::new(vec![o, k], (0..o * k).map(value).collect()).ok()
}

impl Importer<'_> {
    pub(super) fn gemm(&mut self, at: Place<'_>) -> Result<ValueId, Refusal> {
        let attributes = at.attributes();
        let (alpha, beta) = (
            attributes.float("alpha", 1.0)?,
            attributes.float("beta", 1.0)?,
        );
        if attributes.flag("transA", false)? {
            return Err(attributes.unsupported("transA").into());
        }
        let mut weight = self.weight(at, 1)?;
        if !attributes.flag("transB", false)? {
            weight = transposed(&weight, alpha)
                .ok_or_else(|| Problem::Input("the weight must be a matrix".into()))?;
        } else if alpha != 1.0 {
            weight.data_mut().iter_mut().for_each(|w| *w *= alpha);
        }
        let outputs = weight.shape().first().copied().unwrap_or(0);
        let bias = match self.optional_weight(at, 2)? {
            None => None,
            Some(bias) => {
                let row: Vec<f32> = match bias.data() {
                    [one] => vec![*one; outputs],
                    all if all.len() == outputs => all.to_vec(),
                    _ => return unsupported("a bias that differs from row to row"),
                };
                let row = row.into_iter().map(|b| b * beta).collect();
                Tensor::new(vec![outputs], row).ok()
            }
        };
        let input = self.value(at, 0)?;
        Ok(self.builder.linear(&at.node.name, input, weight, bias)?)
    }

    pub(super) fn mat_mul(&mut self, at: Place<'_>) -> Result<ValueId, Refusal> {
        let name = &at.node.name;
        let is_constant = matches!(
            at.node.inputs.get(1).and_then(|name| self.bound.get(name)),
            Some(Bound::Constant(array)) if array.shape().len() == 2
        );
        if !is_constant {
            let (a, b) = (self.value(at, 0)?, self.value(at, 1)?);
            return Ok(self.builder.matmul(name, a, b)?);
        }
        let weight = self.weight(at, 1)?;
        let Some(weight) = transposed(&weight, 1.0) else {
            return unsupported(format!("a weight of shape {:?}", weight.shape()));
        };
        self.linear(at, weight, None)
    }

    /// A linear layer; without a bias of its own it takes the one that its only reader adds.
    pub(super) fn linear(
        &mut self,
        at: Place<'_>,
        weight: Tensor,
        bias: Option<Tensor>,
    ) -> Result<ValueId, Refusal> {
        let outputs = weight.shape().first().copied().unwrap_or(0);
        let input = self.value(at, 0)?;
        let (bias, sum) = match (bias, self.bias_behind(at, outputs)) {
            (None, Some((bias, sum))) => (Some(bias), Some(sum)),
            (bias, _) => (bias, None),
        };
        let id = self.builder.linear(&at.node.name, input, weight, bias)?;
        if let Some(sum) = sum {
            self.bound.insert(sum, Bound::Value(id));
        }
        Ok(id)
    }

    /// The constant row that the only reader of a product adds to it, and the name of that sum.
    fn bias_behind(&self, at: Place<'_>, outputs: usize) -> Option<(Tensor, String)> {
        let product = at.node.outputs.first()?;
        if self.model.outputs.contains(product) {
            return None;
        }
        let mut readers = self
            .nodes
            .iter()
            .filter(|node| node.inputs.contains(product));
        let (reader, None) = (readers.next()?, readers.next()) else {
            return None;
        };
        let [a, b] = reader.inputs.as_slice() else {
            return None;
        };
        let other = if a == product { b } else { a };
        match self.bound.get(other)? {
            Bound::Constant(array) if reader.op_type == "Add" && array.shape() == [outputs] => {
                Some((super::tensor(array)?, reader.outputs.first()?.clone()))
            }
            _ => None,
        }
    }
}
