//! Where the rows of the left matrix come from.

use super::geometry::Taps;

/// The left matrix of a GEMM: `u8`, one row for each output pixel.
pub(crate) trait Rows {
    /// The `k` elements of one group's row, where they lie beside each other in memory.
    fn lying(&self, row: usize, group: usize) -> Option<&[u8]>;

    /// Writes the `k` elements of one group's row.
    fn gather(&self, row: usize, group: usize, to: &mut [u8]);

    /// The `k` elements of one group's row: as they lie, or gathered in `buffer`, which has at least `k`
    /// bytes.
    fn row<'s>(&'s self, row: usize, group: usize, k: usize, buffer: &'s mut [u8]) -> &'s [u8] {
        if let Some(row) = self.lying(row, group) {
            return row;
        }
        let buffer = &mut buffer[..k];
        self.gather(row, group, buffer);
        buffer
    }

    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "NEON's products copy the taps")
    )]
    /// The image behind the rows, where a kernel may read from it without a copy.
    fn image(&self) -> Option<Taps<'_>>;
}
