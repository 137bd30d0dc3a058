//! Sliding windows.

/// A window over one or two dimensions, seen as two.
pub(super) struct Window2 {
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) padding: [usize; 2],
    pub(super) dilation: [usize; 2],
}

impl Window2 {
    /// The input cell under tap `t` of output `o` along dimension `d`, if it is inside.
    pub(super) fn cell(&self, d: usize, o: usize, t: usize, size: usize) -> Option<usize> {
        let at = (o * self.stride[d] + t * self.dilation[d]).checked_sub(self.padding[d])?;
        (at < size).then_some(at)
    }
}
