//! Operators that only move elements.

use super::filled;
use crate::graph::Movement;
use crate::tensor::{Tensor, row_major};

/// The elements in their new places.
pub(super) fn moved(movement: &Movement, x: &Tensor, shape: &[usize]) -> Tensor {
    let Ok(view) = movement.view(x.shape()) else {
        // shapes were checked when the graph was built
        return Tensor::zeros(shape);
    };
    let (steps, offset) = view.strides(&row_major(x.shape()), 0..shape.len());
    let mut places = vec![offset];
    for (size, step) in steps {
        places = places
            .iter()
            .flat_map(|at| (0..size).map(move |i| at + i * step))
            .collect();
    }
    filled(shape, places.into_iter().map(|at| x.data()[at]))
}
