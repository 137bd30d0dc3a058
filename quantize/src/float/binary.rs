//! Operators of two tensors whose shapes broadcast.

use crate::tensor::Tensor;

/// `f` of each pair, in the output's shape.
pub(super) fn zipped(
    a: &Tensor,
    b: &Tensor,
    shape: &[usize],
    f: impl Fn(f32, f32) -> f32,
) -> Tensor {
    let mut out = Tensor::zeros(shape);
    let (first, second) = (strides(a.shape(), shape), strides(b.shape(), shape));
    for (at, value) in out.data_mut().iter_mut().enumerate() {
        let index = |strides: &[usize]| {
            let axes = shape.iter().zip(strides).rev();
            let (_, index) = axes.fold((at, 0), |(at, index), (size, stride)| {
                (at / size, index + at % size * stride)
            });
            index
        };
        *value = f(a.data()[index(&first)], b.data()[index(&second)]);
    }
    out
}

/// How far an operand moves along each axis of the output: not at all where it repeats.
fn strides(shape: &[usize], to: &[usize]) -> Vec<usize> {
    let mut strides = vec![0; to.len()];
    let mut step = 1;
    for (size, stride) in shape.iter().rev().zip(strides.iter_mut().rev()) {
        if *size != 1 {
            *stride = step;
        }
        step *= size;
    }
    strides
}
