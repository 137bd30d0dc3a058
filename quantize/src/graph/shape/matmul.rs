//! Products of matrices.

use super::binary::broadcast;
use crate::graph::GraphProblem;

/// `[.., m, k]` and `[.., k, n]` to `[.., m, n]`, as `torch.matmul`; `[1]` where nothing is left.
pub(super) fn product(a: &[usize], b: &[usize]) -> Result<Vec<usize>, GraphProblem> {
    let misfit = || GraphProblem::Shape {
        what: format!("the second matrix {b:?} does not fit"),
        shape: a.to_vec(),
    };
    let (batch_a, rows, k) = match a {
        [k] => (&[][..], None, *k),
        [batch @ .., rows, k] => (batch, Some(*rows), *k),
        [] => return Err(misfit()),
    };
    let (batch_b, depth, columns) = match b {
        [depth] => (&[][..], *depth, None),
        [batch @ .., depth, columns] => (batch, *depth, Some(*columns)),
        [] => return Err(misfit()),
    };
    if depth != k {
        return Err(misfit());
    }
    let mut shape = broadcast(batch_a, batch_b).ok_or_else(misfit)?;
    shape.extend(rows);
    shape.extend(columns);
    if shape.is_empty() {
        shape.push(1);
    }
    Ok(shape)
}
