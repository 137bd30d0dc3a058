//! Normalizations at inference.

use crate::graph::{BatchNorm, Norm};
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

/// `x` where positive, else `x * slope`: one slope, or one for each channel.
pub(super) fn sloped(slopes: &[f32], x: &Tensor) -> Tensor {
    let area: usize = x.shape().get(2..).unwrap_or_default().iter().product();
    let mut out = x.clone();
    for (plane, values) in out.data_mut().chunks_mut(area).enumerate() {
        let slope = slopes[plane % slopes.len()];
        for x in values.iter_mut().filter(|x| **x <= 0.0) {
            *x *= slope;
        }
    }
    out
}

/// Brings the values to mean 0 and variance 1; sums in `f64`.
fn normal(values: &mut [f32], eps: f32) {
    let count = values.len() as f64;
    let mean = values.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
    let squares = values.iter().map(|x| (f64::from(*x) - mean).powi(2));
    let inverse = 1.0 / (squares.sum::<f64>() / count + f64::from(eps)).sqrt();
    for x in values {
        *x = ((f64::from(*x) - mean) * inverse) as f32;
    }
}

pub(super) fn group(groups: usize, norm: &Norm, x: &Tensor) -> Tensor {
    let channels = x.shape()[1];
    let area: usize = x.shape()[2..].iter().product();
    let mut out = x.clone();
    for values in out.data_mut().chunks_mut(channels / groups * area) {
        normal(values, norm.eps);
    }
    for (plane, values) in out.data_mut().chunks_mut(area).enumerate() {
        if let (Some(weight), Some(bias)) = (
            norm.weight.get(plane % channels),
            norm.bias.get(plane % channels),
        ) {
            values.iter_mut().for_each(|x| *x = *x * weight + bias);
        }
    }
    out
}

pub(super) fn layer(axes: usize, norm: &Norm, x: &Tensor) -> Tensor {
    let features = x.shape()[x.shape().len() - axes..].iter().product();
    let mut out = x.clone();
    for values in out.data_mut().chunks_mut(features) {
        normal(values, norm.eps);
        for (x, (weight, bias)) in values.iter_mut().zip(norm.weight.iter().zip(&norm.bias)) {
            *x = *x * weight + bias;
        }
    }
    out
}
