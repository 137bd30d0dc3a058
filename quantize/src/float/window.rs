//! Sliding windows.

/// A window over one to three dimensions, seen as three.
pub(super) struct Window3 {
    pub(super) kernel: [usize; 3],
    pub(super) stride: [usize; 3],
    pub(super) padding: [usize; 3],
    pub(super) dilation: [usize; 3],
}

impl Window3 {
    /// The cell under a tap when the window stands at `at`, if it is inside `size`.
    pub(super) fn cell(
        &self,
        at: [usize; 3],
        tap: [usize; 3],
        size: [usize; 3],
    ) -> Option<[usize; 3]> {
        let mut cell = [0; 3];
        for d in 0..3 {
            let to = at[d] * self.stride[d] + tap[d] * self.dilation[d];
            cell[d] = to.checked_sub(self.padding[d]).filter(|to| *to < size[d])?;
        }
        Some(cell)
    }
}

/// The index of a position in row-major order.
pub(super) fn index([_, height, width]: [usize; 3], [z, y, x]: [usize; 3]) -> usize {
    (z * height + y) * width + x
}

/// The position of an index.
pub(super) fn position([_, height, width]: [usize; 3], index: usize) -> [usize; 3] {
    [
        index / width / height,
        index / width % height,
        index % width,
    ]
}
