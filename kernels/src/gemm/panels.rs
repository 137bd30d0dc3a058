//! The packed layout of weights, one for every instruction set.
//!
//! The output columns of a group are cut into panels of 64, the last one as wide as what is left,
//! rounded up to 16. A panel is `[k / 4][width][4]` bytes: the four reduction steps of a dot-product
//! instruction beside each other, columns next, zeros where `k` or the columns end. Panels and
//! groups follow each other without gaps; each starts on a multiple of 64 bytes.

/// Columns of every panel but perhaps the last.
pub(crate) const PANEL: usize = 64;
/// Panel widths are multiples of this: the `i32` lanes of the widest vector.
pub(crate) const STEP: usize = 16;
/// Reduction steps that lie beside each other.
pub(crate) const DEPTH: usize = 4;

/// The shape of one group's packed weights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Panels {
    /// Output columns.
    pub(crate) columns: usize,
    /// Reduction length.
    pub(crate) k: usize,
}

/// One panel: where it lies and how wide it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Panel {
    /// Its first column.
    pub(crate) column: usize,
    /// Columns that exist.
    pub(crate) columns: usize,
    /// Columns that are stored.
    pub(crate) width: usize,
    /// Its first byte.
    pub(crate) start: usize,
}

impl Panels {
    /// Columns as stored.
    pub(crate) const fn padded(&self) -> usize {
        self.columns.div_ceil(STEP) * STEP
    }

    /// Groups of [`DEPTH`] reduction steps.
    pub(crate) const fn depth(&self) -> usize {
        self.k.div_ceil(DEPTH)
    }

    /// Zeros behind the last reduction step, up to a whole group of [`DEPTH`].
    #[cfg(target_arch = "x86_64")]
    pub(crate) const fn padding(&self) -> usize {
        self.depth() * DEPTH - self.k
    }

    /// Number of panels.
    pub(crate) const fn count(&self) -> usize {
        self.columns.div_ceil(PANEL)
    }

    /// Bytes of one group; `None` where that overflows.
    pub(crate) fn bytes(&self) -> Option<usize> {
        self.padded().checked_mul(self.depth())?.checked_mul(DEPTH)
    }

    /// Panel number `index`.
    pub(crate) fn panel(&self, index: usize) -> Panel {
        let column = index * PANEL;
        Panel {
            column,
            columns: (self.columns - column).min(PANEL),
            width: (self.padded() - column).min(PANEL),
            start: column * self.depth() * DEPTH,
        }
    }

    /// Packs one group: `weight[column * k + i]` from row-major rows.
    pub(crate) fn pack(&self, weight: &[i8], packed: &mut [u8]) {
        packed.fill(0);
        for panel in (0..self.count()).map(|index| self.panel(index)) {
            for column in 0..panel.columns {
                let row = &weight[(panel.column + column) * self.k..][..self.k];
                for (step, taps) in row.chunks(DEPTH).enumerate() {
                    let cell = panel.start + (step * panel.width + column) * DEPTH;
                    for (byte, tap) in packed[cell..].iter_mut().zip(taps) {
                        *byte = *tap as u8;
                    }
                }
            }
        }
    }
}
