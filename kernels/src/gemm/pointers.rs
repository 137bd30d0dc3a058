//! Rows for dot-product instructions: pointers to where they lie, or to copies in the block.

use core::ptr;

use super::geometry::Taps;
use super::panels::DEPTH;
use super::{BLOCK, Job, Rows, Scratch};

/// Pointers to taps that a block may have: `runs * rows`.
const POINTERS: usize = 512;
/// More runs than this are gathered, as few rows would fit.
const RUNS: usize = 32;

/// A block of rows. Rows are read where they lie if every tap is a whole number of groups of four: each
/// tap is then a run of its own. Else they are gathered, one run each.
pub(super) struct Pointers<'a> {
    image: Option<Taps<'a>>,
    /// Runs of each row.
    pub(super) runs: usize,
    /// Rows that a block may have.
    pub(super) most: usize,
    /// The sums of the rows, where weights have zero points.
    pub(super) sums: [i32; BLOCK],
    /// Run `i` of row `r` of a block of `rows` at `i * rows + r`.
    pub(super) table: [*const u8; POINTERS],
}

impl<'a> Pointers<'a> {
    /// For the rows of a job. `padding`, which has the bytes of a row, becomes what taps in the padding
    /// read: it must stay as it is.
    pub(super) fn new<R: Rows>(
        job: &Job<'a, R>,
        padding: &mut [u8],
        plan: &Scratch,
    ) -> Pointers<'a> {
        let asymmetric = !job.packed.columns(0).zero_points.is_empty();
        let rows: &'a R = job.rows;
        let image = rows.image().filter(|image| {
            let geometry = image.geometry;
            !asymmetric && geometry.tap_channels().is_multiple_of(DEPTH) && geometry.taps() <= RUNS
        });
        let runs = image.map_or(1, |image| image.geometry.taps());
        if let Some(image) = image {
            padding.fill(image.zero_point);
        }
        Pointers {
            image,
            runs,
            most: (POINTERS / runs).min(plan.block),
            sums: [0; BLOCK],
            table: [ptr::null(); POINTERS],
        }
    }

    /// Points to `rows` rows from `start` on, at most [`Pointers::most`]. They are readable as long as
    /// neither the input nor `padding` and `block` change.
    pub(super) fn fill<R: Rows>(
        &mut self,
        job: &Job<'a, R>,
        (start, rows): (usize, usize),
        group: usize,
        padding: &[u8],
        block: &mut [u8],
        plan: &Scratch,
    ) {
        let panels = &job.packed.panels;
        if let Some(image) = &self.image {
            for r in 0..rows {
                let corner = image.geometry.corner(start + r);
                for (run, tap) in image.geometry.window_taps().enumerate() {
                    self.table[run * rows + r] = match image.geometry.tap(corner, group, tap) {
                        Some(elements) => image.input[elements].as_ptr(),
                        None => padding.as_ptr(),
                    };
                }
            }
            return;
        }
        let asymmetric = !job.packed.columns(0).zero_points.is_empty();
        for (r, cells) in block.chunks_exact_mut(plan.pitch).take(rows).enumerate() {
            let cells = &mut cells[..panels.depth() * DEPTH];
            job.rows.gather(start + r, group, &mut cells[..panels.k]);
            cells[panels.k..].fill(0);
            if asymmetric {
                self.sums[r] = cells.iter().map(|x| i32::from(*x)).sum();
            }
            self.table[r] = cells.as_ptr();
        }
    }
}
