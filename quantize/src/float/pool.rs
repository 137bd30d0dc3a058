//! Pooling.

use qconfig_core::kernel::Reduction;

use super::window::{Window3, index, position};
use crate::graph::{Pool, dimensions, sides};
use crate::tensor::Tensor;

/// Pools; `f` sees each window's cells, `None` for padding. Cells beyond the padding (ceil mode) are
/// left out.
pub(super) fn pooled(
    pool: &Pool,
    x: &Tensor,
    shape: &[usize],
    f: impl Fn(&[Option<f32>]) -> f32,
) -> Tensor {
    let [front, behind] = sides(&pool.padding, pool.kernel.len()).map(|side| dimensions(side, 0));
    let window = Window3 {
        kernel: dimensions(&pool.kernel, 1),
        stride: dimensions(&pool.stride, 1),
        padding: front,
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
                        >= input[d] + front[d] + behind[d]
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

/// Mean over shares of the input.
pub(super) fn adaptive(x: &Tensor, shape: &[usize]) -> Tensor {
    let input: [usize; 3] = dimensions(&x.shape()[2..], 1);
    let output: [usize; 3] = dimensions(&shape[2..], 1);
    let (size, pixels): (usize, usize) = (input.iter().product(), output.iter().product());
    let mut out = Tensor::zeros(shape);
    for (plane, values) in out.data_mut().chunks_mut(pixels).enumerate() {
        for (pixel, value) in values.iter_mut().enumerate() {
            let at = position(output, pixel);
            let share = |d: usize| {
                let start = at[d] * input[d] / output[d];
                start..((at[d] + 1) * input[d]).div_ceil(output[d])
            };
            let (mut sum, mut cells) = (0.0, 0);
            for z in share(0) {
                for y in share(1) {
                    for x_at in share(2) {
                        sum += x.data()[plane * size + index(input, [z, y, x_at])];
                        cells += 1;
                    }
                }
            }
            *value = sum / cells as f32;
        }
    }
    out
}

/// Sum, product, minimum or maximum over dimensions; sums and products in `f64`.
pub(super) fn reduced(reduction: Reduction, axes: &[usize], x: &Tensor, shape: &[usize]) -> Tensor {
    let mut out: Vec<Option<f64>> = vec![None; shape.iter().product()];
    for (at, value) in x.data().iter().enumerate() {
        let sum = &mut out[kept(axes, x.shape(), at)];
        let value = f64::from(*value);
        let join = |a: f64| match reduction {
            Reduction::Prod => a * value,
            Reduction::Min if a.is_nan() || value.is_nan() => f64::NAN,
            Reduction::Max if a.is_nan() || value.is_nan() => f64::NAN,
            Reduction::Min => a.min(value),
            Reduction::Max => a.max(value),
            _ => a + value,
        };
        *sum = Some(sum.map_or(value, join));
    }
    super::filled(shape, out.into_iter().map(|x| x.unwrap_or(0.0) as f32))
}

/// Where an element goes when dimensions are left out.
fn kept(axes: &[usize], shape: &[usize], at: usize) -> usize {
    let (mut rest, mut place, mut to) = (at, 1, 0);
    for (axis, size) in shape.iter().enumerate().rev() {
        if !axes.contains(&axis) {
            to += rest % size * place;
            place *= size;
        }
        rest /= size;
    }
    to
}

/// Mean over dimensions.
pub(super) fn mean(axes: &[usize], x: &Tensor, shape: &[usize]) -> Tensor {
    let mut out = Tensor::zeros(shape);
    for (at, value) in x.data().iter().enumerate() {
        out.data_mut()[kept(axes, x.shape(), at)] += value;
    }
    let cells = (x.data().len() / out.data().len()) as f32;
    out.data_mut().iter_mut().for_each(|sum| *sum /= cells);
    out
}
