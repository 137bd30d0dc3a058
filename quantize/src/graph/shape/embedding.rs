//! Lookups in tables.

use qconfig_core::DType;
use qconfig_core::kernel::BagMode;

use crate::graph::{Embedding, GraphProblem};

/// The output shape of a lookup; where there are two inputs, the dtype of the second tells what it is.
pub(super) fn output(
    table: &Embedding,
    inputs: &[&[usize]],
    dtypes: &[DType],
) -> Result<Vec<usize>, GraphProblem> {
    let is_integer = |dtype: &DType| matches!(dtype, DType::int32 | DType::int64);
    let parameter = |what: &str| Err(GraphProblem::Parameter(what.into()));
    let &[rows, columns] = table.weight.shape() else {
        return parameter("a table is [rows, columns]");
    };
    let (Some(indices), Some(dtype)) = (inputs.first(), dtypes.first()) else {
        return Err(GraphProblem::Inputs {
            expected: 1,
            found: 0,
        });
    };
    if !is_integer(dtype) {
        return Err(GraphProblem::DType(*dtype));
    }
    let misfit = |what: &str, shape: &[usize]| {
        Err(GraphProblem::Shape {
            what: what.into(),
            shape: shape.to_vec(),
        })
    };
    let expected = |expected: usize| GraphProblem::Inputs {
        expected,
        found: inputs.len(),
    };
    let Some(bag) = table.bag else {
        return match inputs {
            [_] => Ok([indices, &[columns][..]].concat()),
            _ => Err(expected(1)),
        };
    };
    if bag.padding_idx.is_some_and(|row| row >= rows) {
        return parameter("the padding row is not a row of the table");
    }
    let has_offsets = dtypes.get(1).is_some_and(is_integer);
    let (offsets, weights) = if has_offsets {
        (inputs.get(1), inputs.get(2))
    } else {
        (None, inputs.get(1))
    };
    let count = 1 + usize::from(has_offsets) + usize::from(weights.is_some());
    if inputs.len() != count {
        return Err(expected(count));
    }
    if let Some(weights) = weights {
        if bag.mode != BagMode::Sum {
            return parameter("only sums of rows have weights");
        }
        if dtypes.last() != Some(&DType::float32) {
            return Err(GraphProblem::DType(dtypes[count - 1]));
        }
        if weights != indices {
            return misfit("there is a weight for each index", weights);
        }
    }
    let bags = match (*indices, offsets) {
        (&[bags, _], None) if !bag.include_last_offset => bags,
        (&[_], Some(&&[count])) => count - usize::from(bag.include_last_offset),
        _ => {
            return misfit(
                "bags are [bags, length] or a list, with where each begins",
                indices,
            );
        }
    };
    Ok(vec![bags, columns])
}
