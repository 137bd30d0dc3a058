//! Shapes of means.

use crate::graph::GraphProblem;

/// `[N, C, sizes..]`.
pub(super) fn adaptive(sizes: &[usize], shape: &[usize]) -> Result<Vec<usize>, GraphProblem> {
    if !(1..=3).contains(&sizes.len()) || shape.len() != sizes.len() + 2 {
        return Err(GraphProblem::Shape {
            what: format!("an adaptive pooling to {sizes:?} takes [N, C, spatial..] of that rank"),
            shape: shape.to_vec(),
        });
    }
    if sizes.contains(&0) {
        return Err(GraphProblem::Parameter(
            "an output size must not be 0".into(),
        ));
    }
    Ok([&shape[..2], sizes].concat())
}

/// The dimensions left; `[1]` where none is.
pub(super) fn over_axes(
    axes: &[usize],
    keepdim: bool,
    shape: &[usize],
) -> Result<Vec<usize>, GraphProblem> {
    for (at, axis) in axes.iter().enumerate() {
        if *axis >= shape.len() || axes[..at].contains(axis) {
            return Err(GraphProblem::Shape {
                what: format!("a mean over {axes:?} takes each of its dimensions once"),
                shape: shape.to_vec(),
            });
        }
    }
    let all = shape.iter().enumerate();
    let left: Vec<usize> = if keepdim {
        all.map(|(axis, size)| if axes.contains(&axis) { 1 } else { *size })
            .collect()
    } else {
        all.filter(|(axis, _)| !axes.contains(axis))
            .map(|(_, size)| *size)
            .collect()
    };
    Ok(if left.is_empty() { vec![1] } else { left })
}
