//! More elements around a tensor, or some positions of it.

use qconfig_core::kernel::{Padding, Strides};

use crate::graph::GraphProblem;

fn misfit(what: String, shape: &[usize]) -> GraphProblem {
    GraphProblem::Shape {
        what,
        shape: shape.to_vec(),
    }
}

/// Each dimension with what is added on both sides.
pub(super) fn padded(
    padding: Padding,
    before: &[usize],
    after: &[usize],
    shape: &[usize],
) -> Result<Vec<usize>, GraphProblem> {
    if [before.len(), after.len()] != [shape.len(); 2] || shape.len() > Strides::RANK {
        return Err(misfit(
            format!(
                "{before:?} before and {after:?} behind need a number for each dimension, {} at most",
                Strides::RANK
            ),
            shape,
        ));
    }
    let sides = before.iter().zip(after);
    let sizes = shape.iter().zip(sides).map(|(size, (before, after))| {
        let most = match padding {
            // a mirror does not show its own edge, and shows nothing twice
            Padding::Reflect => size - 1,
            Padding::Wrap => *size,
            _ => usize::MAX,
        };
        let sum = size.checked_add(*before)?.checked_add(*after)?;
        (*before <= most && *after <= most).then_some(sum)
    });
    let sizes: Option<Vec<usize>> = sizes.collect();
    sizes.ok_or_else(|| {
        let what = format!("{before:?} before and {after:?} behind are more than {padding:?} has");
        misfit(what, shape)
    })
}

/// As many positions of a dimension as there are indices.
pub(super) fn selected(
    axis: usize,
    indices: &[usize],
    shape: &[usize],
) -> Result<Vec<usize>, GraphProblem> {
    let Some(size) = shape.get(axis) else {
        return Err(misfit(format!("there is no dimension {axis}"), shape));
    };
    if let Some(index) = indices.iter().find(|index| *index >= size) {
        let what = format!("dimension {axis} has no position {index}");
        return Err(misfit(what, shape));
    }
    let mut shape = shape.to_vec();
    shape[axis] = indices.len();
    Ok(shape)
}
