//! Pooling.

use super::window::{Window3, index, position};
use crate::graph::{Pool, dimensions};
use crate::tensor::Tensor;

/// Pools; `f` sees each window's cells, `None` for padding. Cells beyond the padding (ceil mode) are
/// left out.
pub(super) fn pooled(
    pool: &Pool,
    x: &Tensor,
    shape: &[usize],
    f: impl Fn(&[Option<f32>]) -> f32,
) -> Tensor {
    let window = Window3 {
        kernel: dimensions(&pool.kernel, 1),
        stride: dimensions(&pool.stride, 1),
        padding: dimensions(&pool.padding, 0),
        dilation: dimensions(&pool.dilation, 1),
    };
    let input: [usize; 3] = dimensions(&x.shape()[2..], 1);
    let output: [usize; 3] = dimensions(&shape[2..], 1);
    let (size, pixels): (usize, usize) = (input.iter().product(), output.iter().product());
    let taps: usize = window.kernel.iter().product();
    let mut out = Tensor::zeros(shape);
    let mut cells = Vec::new();
    for (plane, values) in out.data_mut().chunks_mut(pixels).enumerate() {
        for (pixel, value) in values.iter_mut().enumerate() {
            cells.clear();
            let at = position(output, pixel);
            for tap in 0..taps {
                let tap = position(window.kernel, tap);
                let beyond = (0..3).any(|d| {
                    at[d] * window.stride[d] + tap[d] * window.dilation[d]
                        >= input[d] + 2 * window.padding[d]
                });
                if !beyond {
                    let cell = window.cell(at, tap, input);
                    cells.push(cell.map(|cell| x.data()[plane * size + index(input, cell)]));
                }
            }
            *value = f(&cells);
        }
    }
    out
}
