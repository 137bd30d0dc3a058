//! Matrix products.

use qconfig_quantize::{Tensor, ValueId};

use super::{Importer, Place, Refusal, unsupported};
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
        let weight = self.weight(at, 1)?;
        let Some(weight) = transposed(&weight, 1.0) else {
            return unsupported(format!("a weight of shape {:?}", weight.shape()));
        };
        let input = self.value(at, 0)?;
        Ok(self.builder.linear(&at.node.name, input, weight, None)?)
    }
}
