//! Convolutions.

use super::linear::product;
use super::window::Window2;
use crate::graph::{Conv, pair};
use crate::tensor::Tensor;

pub(super) fn convolve(conv: &Conv, weight: &Tensor, x: &Tensor, shape: &[usize]) -> Tensor {
    let window = Window2 {
        kernel: pair(&weight.shape()[2..], 1),
        stride: pair(&conv.stride, 1),
        padding: pair(&conv.padding, 0),
        dilation: pair(&conv.dilation, 1),
    };
    let [h, w] = pair(&x.shape()[2..], 1);
    let [oh, ow] = pair(&shape[2..], 1);
    let (batch, channels) = (x.shape()[0], x.shape()[1]);
    let (outputs, group_in) = (weight.shape()[0], weight.shape()[1]);
    let group_out = outputs / conv.groups;
    let (k, pixels) = (group_in * window.kernel[0] * window.kernel[1], oh * ow);
    let mut out = Tensor::zeros(shape);
    let mut columns = vec![0.0; k * pixels];
    for n in 0..batch {
        for g in 0..conv.groups {
            for (row, column) in columns.chunks_mut(pixels).enumerate() {
                let (c, tap) = (
                    row / (window.kernel[0] * window.kernel[1]),
                    row % (window.kernel[0] * window.kernel[1]),
                );
                let (ky, kx) = (tap / window.kernel[1], tap % window.kernel[1]);
                let plane = ((n * channels) + g * group_in + c) * h * w;
                for (pixel, cell) in column.iter_mut().enumerate() {
                    let at =
                        window
                            .cell(0, pixel / ow, ky, h)
                            .zip(window.cell(1, pixel % ow, kx, w));
                    *cell = at.map_or(0.0, |(y, x_at)| x.data()[plane + y * w + x_at]);
                }
            }
            let rows = &weight.data()[g * group_out * k..(g + 1) * group_out * k];
            let result = product(rows, &columns, (group_out, k, pixels), false);
            let to = (n * outputs + g * group_out) * pixels;
            out.data_mut()[to..to + group_out * pixels].copy_from_slice(&result);
        }
    }
    if let Some(bias) = &conv.bias {
        for (plane, values) in out.data_mut().chunks_mut(pixels).enumerate() {
            let b = bias[plane % outputs];
            values.iter_mut().for_each(|y| *y += b);
        }
    }
    out
}
