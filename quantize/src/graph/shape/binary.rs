//! Operators of two tensors.

/// The shape that two have together by numpy's rules: aligned at the last axis, an axis of size 1 repeats.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |shape: &[usize], from_last: usize| {
        let axis = shape.len().checked_sub(from_last + 1)?;
        shape.get(axis).copied()
    };
    (0..rank)
        .rev()
        .map(
            |axis| match (at(a, axis).unwrap_or(1), at(b, axis).unwrap_or(1)) {
                (a, b) if a == b || b == 1 => Some(a),
                (1, b) => Some(b),
                _ => None,
            },
        )
        .collect()
}
