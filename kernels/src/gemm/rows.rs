//! Where the rows of the left matrix come from.

use super::geometry::Taps;

/// The left matrix of a GEMM: `u8`, one row for each output pixel.
pub(crate) trait Rows {
    /// The `k` elements of one group's row: as they lie in memory, or written to `buffer`, which has
    /// at least `k` bytes.
    fn row<'s>(&'s self, row: usize, group: usize, buffer: &'s mut [u8]) -> &'s [u8];

    /// The image behind the rows, where a kernel may read from it without a copy.
    fn image(&self) -> Option<Taps<'_>>;
}
