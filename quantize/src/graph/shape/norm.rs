//! Normalizations keep the shape.

use crate::graph::{GraphProblem, Norm};

fn checked(norm: &Norm, count: usize, shape: &[usize]) -> Result<Vec<usize>, GraphProblem> {
    let lengths = [norm.weight.len(), norm.bias.len()];
    if lengths != [0; 2] && lengths != [count; 2] {
        return Err(GraphProblem::Parameter(format!(
            "weight and bias have {lengths:?} values, {count} each are needed, or none"
        )));
    }
    if !(norm.eps.is_normal() && norm.eps > 0.0) {
        return Err(GraphProblem::Parameter(format!(
            "eps is {}, it must be positive",
            norm.eps
        )));
    }
    Ok(shape.to_vec())
}

pub(super) fn group(
    groups: usize,
    norm: &Norm,
    shape: &[usize],
) -> Result<Vec<usize>, GraphProblem> {
    match shape {
        [_, channels, ..] if groups > 0 && channels.is_multiple_of(groups) => {
            checked(norm, *channels, shape)
        }
        _ => Err(GraphProblem::Shape {
            what: format!("group normalization takes [N, C, ..] with channels of {groups} groups"),
            shape: shape.to_vec(),
        }),
    }
}

pub(super) fn layer(axes: usize, norm: &Norm, shape: &[usize]) -> Result<Vec<usize>, GraphProblem> {
    match shape.len().checked_sub(axes) {
        Some(first) if axes > 0 => checked(norm, shape[first..].iter().product(), shape),
        _ => Err(GraphProblem::Shape {
            what: format!("layer normalization over {axes} dimensions takes as many at least"),
            shape: shape.to_vec(),
        }),
    }
}
