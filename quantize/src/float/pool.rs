//! Pooling.

use super::window::Window2;
use crate::graph::{Pool, pair};
use crate::tensor::Tensor;

/// Pools; `f` sees each window's cells, `None` for padding. Cells beyond the padding (ceil mode) are
/// left out.
pub(super) fn pooled(
    pool: &Pool,
    x: &Tensor,
    shape: &[usize],
    f: impl Fn(&[Option<f32>]) -> f32,
) -> Tensor {
    let window = Window2 {
        kernel: pair(&pool.kernel, 1),
        stride: pair(&pool.stride, 1),
        padding: pair(&pool.padding, 0),
        dilation: pair(&pool.dilation, 1),
    };
    let [h, w] = pair(&x.shape()[2..], 1);
    let [oh, ow] = pair(&shape[2..], 1);
    let mut out = Tensor::zeros(shape);
    let mut cells = Vec::new();
    for (plane, values) in out.data_mut().chunks_mut(oh * ow).enumerate() {
        for (pixel, value) in values.iter_mut().enumerate() {
            cells.clear();
            for ky in 0..window.kernel[0] {
                for kx in 0..window.kernel[1] {
                    let (oy, ox) = (pixel / ow, pixel % ow);
                    let beyond = oy * window.stride[0] + ky * window.dilation[0]
                        >= h + 2 * window.padding[0]
                        || ox * window.stride[1] + kx * window.dilation[1]
                            >= w + 2 * window.padding[1];
                    if beyond {
                        continue;
                    }
                    let at = window.cell(0, oy, ky, h).zip(window.cell(1, ox, kx, w));
                    cells.push(at.map(|(y, x_at)| x.data()[plane * h * w + y * w + x_at]));
                }
            }
            *value = f(&cells);
        }
    }
    out
}
