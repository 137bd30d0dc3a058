//! Products of two activations.

use super::linear::product;
use crate::tensor::{Tensor, elements};

/// Matrices in the last two dimensions; what is before these broadcasts.
pub(super) fn multiplied(a: &Tensor, b: &Tensor, shape: &[usize]) -> Tensor {
    let (batch_a, [m, k]) = matrices(a.shape(), true);
    let (batch_b, [_, n]) = matrices(b.shape(), false);
    let mut out = Tensor::zeros(shape);
    let rank = batch_a.len().max(batch_b.len());
    let batch = shape.get(..rank).unwrap_or_default();
    let parts = out.data_mut().chunks_mut(m * n).enumerate();
    for (at, part) in parts {
        let (a, b) = (
            &a.data()[position(at, batch, batch_a) * m * k..][..m * k],
            &b.data()[position(at, batch, batch_b) * k * n..][..k * n],
        );
        part.copy_from_slice(&product(a, b, (m, k, n), false));
    }
    out
}

/// The batch dimensions, rows and columns of an operand.
fn matrices(shape: &[usize], is_left: bool) -> (&[usize], [usize; 2]) {
    match shape {
        [batch @ .., rows, columns] => (batch, [*rows, *columns]),
        _ if is_left => (&[], [1, elements(shape).unwrap_or(0)]),
        _ => (&[], [elements(shape).unwrap_or(0), 1]),
    }
}

/// Which matrix of an operand is that of a position in the output's batch.
fn position(mut at: usize, batch: &[usize], own: &[usize]) -> usize {
    let (mut position, mut step) = (0, 1);
    for (from_last, size) in batch.iter().rev().enumerate() {
        let axis = own.len().checked_sub(from_last + 1);
        if let Some(own) = axis.and_then(|axis| own.get(axis)).filter(|own| **own > 1) {
            position += at % size * step;
            step *= own;
        }
        at /= size;
    }
    position
}
