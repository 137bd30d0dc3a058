//! Several tensors behind each other.

use crate::graph::GraphProblem;

fn misfit(what: String, shape: &[usize]) -> GraphProblem {
    GraphProblem::Shape {
        what,
        shape: shape.to_vec(),
    }
}

/// The shape along an axis that all have; the other axes are the same.
pub(super) fn concatenated(axis: usize, inputs: &[&[usize]]) -> Result<Vec<usize>, GraphProblem> {
    let mut shape = inputs
        .first()
        .map(|first| first.to_vec())
        .unwrap_or_default();
    if axis >= shape.len() {
        let what = format!("there is no dimension {axis} to concatenate along");
        return Err(misfit(what, &shape));
    }
    for input in inputs.iter().skip(1) {
        let others = |shape: &[usize]| {
            let axes = shape.iter().enumerate().filter(|(at, _)| *at != axis);
            axes.map(|(_, size)| *size).collect::<Vec<_>>()
        };
        let size = input
            .get(axis)
            .and_then(|size| shape[axis].checked_add(*size));
        let (Some(size), true) = (size, others(input) == others(&shape)) else {
            let what = format!("{input:?} does not continue it along dimension {axis}");
            return Err(misfit(what, &shape));
        };
        shape[axis] = size;
    }
    Ok(shape)
}

/// The shape of equal ones along a new axis.
pub(super) fn stacked(axis: usize, inputs: &[&[usize]]) -> Result<Vec<usize>, GraphProblem> {
    let mut shape = inputs
        .first()
        .map(|first| first.to_vec())
        .unwrap_or_default();
    if axis > shape.len() {
        let what = format!("there is no place for a dimension {axis}");
        return Err(misfit(what, &shape));
    }
    if let Some(other) = inputs.iter().find(|input| **input != shape.as_slice()) {
        return Err(misfit(format!("{other:?} is stacked on it"), &shape));
    }
    shape.insert(axis, inputs.len());
    Ok(shape)
}
