//! Other sizes of images, lines and volumes.

use crate::graph::Interpolate;
use crate::tensor::Tensor;

/// `[N, C, spatial..]` with the spatial dimensions of `shape`; torch nests the sums, width innermost.
pub(super) fn resized(op: &Interpolate, x: &Tensor, shape: &[usize]) -> Tensor {
    let sizes = |shape: &[usize]| crate::graph::dimensions::<3>(&shape[2..], 1);
    let ([d, h, w], [od, oh, ow]) = (sizes(x.shape()), sizes(shape));
    let interpolation = op.interpolation(&x.shape()[2..]);
    let mut out = Tensor::zeros(shape);
    let planes = x.data().chunks_exact(d * h * w);
    for (from, to) in planes.zip(out.data_mut().chunks_exact_mut(od * oh * ow)) {
        for (at, y) in to.iter_mut().enumerate() {
            let (ox, line) = (at % ow, at / ow);
            let (oy, oz) = (line % oh, line / oh);
            let nested = |axis, at, size, inner: &dyn Fn(usize) -> f32| -> f32 {
                let taps = interpolation.taps(axis, at, size);
                let used = taps.into_iter().filter(|(_, weight)| *weight != 0.0);
                used.map(|(at, weight)| weight * inner(at)).sum()
            };
            *y = nested(0, oz, d, &|z| {
                nested(1, oy, h, &|y| {
                    nested(2, ox, w, &|x| from[(z * h + y) * w + x])
                })
            });
        }
    }
    out
}
