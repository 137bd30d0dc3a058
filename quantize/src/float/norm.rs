//! Normalizations at inference.

use crate::graph::BatchNorm;
use crate::tensor::Tensor;

pub(super) fn normalize(bn: &BatchNorm, x: &Tensor) -> Tensor {
    let channels = x.shape()[1];
    let area: usize = x.shape()[2..].iter().product();
    let mut out = x.clone();
    for (plane, values) in out.data_mut().chunks_mut(area).enumerate() {
        let c = plane % channels;
        let scale = bn.weight[c] / (bn.running_var[c] + bn.eps).sqrt();
        for x in values {
            *x = (*x - bn.running_mean[c]) * scale + bn.bias[c];
        }
    }
    out
}
