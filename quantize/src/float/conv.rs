//! Convolutions, forward and transposed.

use super::linear::product;
use super::window::{Window3, index, position};
use crate::graph::{Conv, ConvTranspose, dimensions, sides};
use crate::tensor::Tensor;

pub(super) fn convolve(conv: &Conv, weight: &Tensor, x: &Tensor, shape: &[usize]) -> Tensor {
    let window = Window3 {
        kernel: dimensions(&weight.shape()[2..], 1),
        stride: dimensions(&conv.stride, 1),
        padding: dimensions(sides(&conv.padding, conv.stride.len())[0], 0),
        dilation: dimensions(&conv.dilation, 1),
    };
    let input: [usize; 3] = dimensions(&x.shape()[2..], 1);
    let output: [usize; 3] = dimensions(&shape[2..], 1);
    let (cells, pixels): (usize, usize) = (input.iter().product(), output.iter().product());
    let taps: usize = window.kernel.iter().product();
    let (batch, channels) = (x.shape()[0], x.shape()[1]);
    let (outputs, group_in) = (weight.shape()[0], weight.shape()[1]);
    let group_out = outputs / conv.groups;
    let k = group_in * taps;
    let mut out = Tensor::zeros(shape);
    let mut columns = vec![0.0; k * pixels];
    for n in 0..batch {
        for g in 0..conv.groups {
            for (row, column) in columns.chunks_mut(pixels).enumerate() {
                let (c, tap) = (row / taps, position(window.kernel, row % taps));
                let plane = (n * channels + g * group_in + c) * cells;
                for (pixel, cell) in column.iter_mut().enumerate() {
                    let at = window.cell(position(output, pixel), tap, input);
                    *cell = at.map_or(0.0, |at| x.data()[plane + index(input, at)]);
                }
            }
            let rows = &weight.data()[g * group_out * k..(g + 1) * group_out * k];
            let result = product(rows, &columns, (group_out, k, pixels), false);
            let to = (n * outputs + g * group_out) * pixels;
            out.data_mut()[to..to + group_out * pixels].copy_from_slice(&result);
        }
    }
    add_bias(conv.bias.as_deref(), pixels, &mut out);
    out
}

/// `rows` is the weight with output channels first.
pub(super) fn convolve_transposed(
    conv: &ConvTranspose,
    rows: &Tensor,
    x: &Tensor,
    shape: &[usize],
) -> Tensor {
    let window = Window3 {
        kernel: dimensions(&rows.shape()[2..], 1),
        stride: dimensions(&conv.stride, 1),
        padding: dimensions(&conv.padding, 0),
        dilation: dimensions(&conv.dilation, 1),
    };
    let input: [usize; 3] = dimensions(&x.shape()[2..], 1);
    let output: [usize; 3] = dimensions(&shape[2..], 1);
    let (cells, pixels): (usize, usize) = (input.iter().product(), output.iter().product());
    let taps: usize = window.kernel.iter().product();
    let (channels, outputs) = (x.shape()[1], rows.shape()[0]);
    let (group_in, group_out) = (channels / conv.groups, outputs / conv.groups);
    let mut out = Tensor::zeros(shape);
    for (plane, to) in out.data_mut().chunks_mut(pixels).enumerate() {
        let (n, o) = (plane / outputs, plane % outputs);
        for i in 0..group_in {
            let c = o / group_out * group_in + i;
            let from = &x.data()[(n * channels + c) * cells..][..cells];
            let weights = &rows.data()[(o * group_in + i) * taps..][..taps];
            for (at, x) in from.iter().enumerate() {
                for (tap, w) in weights.iter().enumerate() {
                    let tap = position(window.kernel, tap);
                    if let Some(cell) = window.cell(position(input, at), tap, output) {
                        to[index(output, cell)] += x * w;
                    }
                }
            }
        }
    }
    add_bias(conv.bias.as_deref(), pixels, &mut out);
    out
}

fn add_bias(bias: Option<&[f32]>, pixels: usize, out: &mut Tensor) {
    if let Some(bias) = bias {
        for (plane, values) in out.data_mut().chunks_mut(pixels).enumerate() {
            let b = bias[plane % bias.len()];
            values.iter_mut().for_each(|y| *y += b);
        }
    }
}
