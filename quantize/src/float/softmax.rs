//! Softmax.

use crate::tensor::Tensor;

/// `exp(x - max) / sum exp(x - max)` along an axis; exponentials in f64, so that no platform decides a bit.
pub(super) fn softmax(x: &Tensor, axis: usize) -> Tensor {
    let mut out = x.clone();
    let len = x.shape()[axis];
    let inner: usize = x.shape()[axis + 1..].iter().product();
    for block in out.data_mut().chunks_mut(len * inner) {
        for first in 0..inner {
            let line = || (0..len).map(|i| first + i * inner);
            let largest = line().map(|at| block[at]).fold(f32::MIN, f32::max);
            let exponential = |x: f32| libm::exp(f64::from(x - largest));
            let sum: f64 = line().map(|at| exponential(block[at])).sum();
            for at in line() {
                block[at] = (exponential(block[at]) / sum) as f32;
            }
        }
    }
    out
}
