//! More elements around a tensor, or some positions of it.

use qconfig_core::kernel::Padding;

use crate::tensor::{Tensor, row_major};

/// The tensor at `before`, and around it what the padding says.
pub(super) fn padded(padding: Padding, before: &[usize], x: &Tensor, shape: &[usize]) -> Tensor {
    let mut out = Tensor::zeros(shape);
    let strides = row_major(x.shape());
    for (index, y) in out.data_mut().iter_mut().enumerate() {
        let (mut rest, mut from) = (index, Some(0));
        for axis in (0..shape.len()).rev() {
            let size = x.shape()[axis];
            let at =
                qconfig_kernels::padded_position(padding, rest % shape[axis], before[axis], size);
            rest /= shape[axis];
            from = from.zip(at).map(|(from, at)| from + at * strides[axis]);
        }
        *y = match (from, padding) {
            (Some(from), _) => x.data()[from],
            (None, Padding::Constant(value)) => value,
            // other paddings find a position everywhere
            (None, _) => 0.0,
        };
    }
    out
}

/// These positions of a dimension.
pub(super) fn selected(axis: usize, indices: &[usize], x: &Tensor, shape: &[usize]) -> Tensor {
    let inner: usize = x.shape()[axis + 1..].iter().product();
    let size = x.shape()[axis];
    let values = x.data().chunks_exact(size * inner).flat_map(|block| {
        let rows = indices.iter().map(move |at| &block[at * inner..][..inner]);
        rows.flatten().copied()
    });
    super::filled(shape, values)
}
