//! Matrix products.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2};

use super::filled;
use crate::graph::Linear;
use crate::tensor::Tensor;

/// `a[m, k] b[k, n]`, or `a[m, k] b[n, k]^T` where `transposed`, row-major.
pub(super) fn product(
    a: &[f32],
    b: &[f32],
    (m, k, n): (usize, usize, usize),
    transposed: bool,
) -> Vec<f32> {
    let mut c = vec![0.0; m * n];
    let b = if transposed {
        ArrayView2::from_shape((n, k), b).map(ArrayView2::reversed_axes)
    } else {
        ArrayView2::from_shape((k, n), b)
    };
    let to = ArrayViewMut2::from_shape((m, n), &mut c);
    let (Ok(a), Ok(b), Ok(mut to)) = (ArrayView2::from_shape((m, k), a), b, to) else {
        // shapes were checked when the graph was built
        debug_assert!(false, "operands of a product do not fit");
        return c;
    };
    general_mat_mul(1.0, &a, &b, 0.0, &mut to);
    c
}

pub(super) fn multiply(linear: &Linear, weight: &Tensor, x: &Tensor, shape: &[usize]) -> Tensor {
    let (n, k) = (weight.shape()[0], weight.shape()[1]);
    let m = x.data().len() / k;
    let mut out = filled(
        shape,
        product(x.data(), weight.data(), (m, k, n), true).into_iter(),
    );
    if let Some(bias) = &linear.bias {
        for row in out.data_mut().chunks_mut(n) {
            for (y, b) in row.iter_mut().zip(bias) {
                *y += b;
            }
        }
    }
    out
}
