//! Lookups in tables.

use qconfig_core::kernel::BagMode;

use super::InputError;
use crate::graph::Embedding;
use crate::tensor::Tensor;

/// Looks rows up; `name` is the node's, for errors.
pub(super) fn run(
    name: &str,
    table: &Embedding,
    weight: &Tensor,
    inputs: &[&Tensor],
    shape: &[usize],
) -> Result<Tensor, InputError> {
    let (rows, columns) = (weight.shape()[0], weight.shape()[1]);
    let fail = |what: &'static str, at: usize, value: i64| {
        Err(InputError::Index {
            node: name.into(),
            what,
            at,
            value,
        })
    };
    let indices = inputs[0].integers().unwrap_or_default();
    let offsets = inputs.get(1).and_then(|input| input.integers());
    let weights = inputs.last().filter(|_| inputs.len() > 1);
    let weights = weights.map_or(&[][..], |weights| weights.data());
    let bags: usize = shape[..shape.len() - 1].iter().product();
    let mut starts = vec![0; bags + 1];
    for (bag, start) in starts.iter_mut().enumerate() {
        *start = match offsets {
            None => bag * (indices.len() / bags),
            Some(offsets) => match offsets.get(bag).copied() {
                None => indices.len(),
                Some(offset) => match usize::try_from(offset) {
                    Ok(start) if start <= indices.len() && (bag > 0 || start == 0) => start,
                    _ => return fail("offset", bag, offset),
                },
            },
        };
    }
    if let Some(at) = (1..=bags).find(|at| starts[*at] < starts[at - 1]) {
        return fail("offset", at, starts[at] as i64);
    }
    let mut out = Tensor::zeros(shape);
    for (bag, out) in out.data_mut().chunks_mut(columns).enumerate() {
        let mut count = 0;
        let positions = indices.iter().enumerate().take(starts[bag + 1]);
        for (at, index) in positions.skip(starts[bag]) {
            let row = usize::try_from(*index).ok().filter(|row| *row < rows);
            let Some(row) = row else {
                return fail("index", at, *index);
            };
            if table.bag.is_some_and(|bag| bag.padding_idx == Some(row)) {
                continue;
            }
            let w = weights.get(at).copied().unwrap_or(1.0);
            let max = table.bag.is_some_and(|bag| bag.mode == BagMode::Max) && count > 0;
            for (y, x) in out.iter_mut().zip(&weight.data()[row * columns..]) {
                *y = if max { y.max(*x) } else { *y + w * x };
            }
            count += 1;
        }
        if table.bag.is_some_and(|bag| bag.mode == BagMode::Mean) && count > 0 {
            out.iter_mut().for_each(|y| *y /= count as f32);
        }
    }
    Ok(out)
}
