//! Products of `float32` matrices: rows times packed columns, one chain of fused multiply-adds for each
//! output, in the order of `k`, on every instruction set.
//!
//! Columns are packed in slices of 16: `[ceil(columns / 16)][k][16]`, zeros beyond the last column.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "aarch64")]
mod neon;
mod reference;

use qconfig_core::Isa;
use qconfig_core::kernel::BlobError;

use crate::blob::at_least;

/// Columns of a slice.
pub(crate) const SLICE: usize = 16;
/// Bytes of one step of `k` in a slice.
const STEP: usize = SLICE * 4;

/// Bytes of packed columns; `None` where that overflows.
pub(crate) fn packed_len(k: usize, columns: usize) -> Option<usize> {
    columns.div_ceil(SLICE).checked_mul(k)?.checked_mul(STEP)
}

/// As many columns as are stored.
pub(crate) const fn padded(columns: usize) -> usize {
    columns.div_ceil(SLICE) * SLICE
}

/// Packs columns, `weight(column, step)`, as little-endian floats.
pub(crate) fn pack(k: usize, columns: usize, to: &mut [u8], weight: impl Fn(usize, usize) -> f32) {
    pack_cells(k, columns, to, |column, step| {
        weight(column, step).to_le_bytes()
    });
}

/// [`pack`] of bytes.
pub(crate) fn pack_cells(
    k: usize,
    columns: usize,
    to: &mut [u8],
    weight: impl Fn(usize, usize) -> [u8; 4],
) {
    if k == 0 {
        return;
    }
    for (slice, cells) in to.chunks_exact_mut(k * STEP).enumerate() {
        let steps = cells.as_chunks_mut::<4>().0.chunks_exact_mut(SLICE);
        for (step, cells) in steps.enumerate() {
            for (lane, cell) in cells.iter_mut().enumerate() {
                let column = slice * SLICE + lane;
                *cell = if column < columns {
                    weight(column, step)
                } else {
                    [0; 4]
                };
            }
        }
    }
}

/// [`pack`] of rows, `row(step)` being one for each step with all columns.
pub(crate) fn pack_rows<'a>(
    k: usize,
    columns: usize,
    to: &mut [u8],
    row: impl Fn(usize) -> &'a [[u8; 4]],
) {
    let cells = to.as_chunks_mut::<4>().0;
    for step in 0..k {
        for (slice, from) in row(step)[..columns].chunks(SLICE).enumerate() {
            let to = &mut cells[(slice * k + step) * SLICE..][..SLICE];
            let (to, rest) = to.split_at_mut(from.len());
            to.copy_from_slice(from);
            rest.fill([0; 4]);
        }
    }
}

/// `out[row, column] = clamp(sum_k x[row, k] w[k, column] + bias[column], low, high)`; NaN stays.
pub(crate) struct Product<'a> {
    /// Rows of `k` floats, `row_bytes` apart.
    pub(crate) x: &'a [u8],
    pub(crate) row_bytes: usize,
    pub(crate) rows: usize,
    pub(crate) k: usize,
    /// What [`pack`] wrote, from a slice on.
    pub(crate) weight: &'a [u8],
    /// A float for each stored column.
    pub(crate) bias: &'a [u8],
    pub(crate) columns: usize,
    pub(crate) low: f32,
    pub(crate) high: f32,
}

impl Product<'_> {
    /// Writes rows of `columns` floats, `pitch` bytes apart.
    pub(crate) fn run(&self, out: &mut [u8], pitch: usize, isa: Isa) -> Result<(), BlobError> {
        if self.rows == 0 || self.columns == 0 {
            return Ok(());
        }
        let reach = |pitch: usize, len: Option<usize>| {
            let before = (self.rows - 1).checked_mul(pitch);
            before
                .and_then(|before| before.checked_add(len?))
                .unwrap_or(usize::MAX)
        };
        let row = self.k.checked_mul(4);
        at_least("rows", self.x.len(), reach(self.row_bytes, row))?;
        let weight = packed_len(self.k, self.columns).unwrap_or(usize::MAX);
        at_least("the weight", self.weight.len(), weight)?;
        at_least("the bias", self.bias.len(), padded(self.columns) * 4)?;
        let line = self.columns.checked_mul(4);
        at_least("the output", out.len(), reach(pitch, line))?;
        match isa.level() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the `Isa` proves AVX2 and FMA; every length was checked.
            level if level.has_avx2() => unsafe { avx2::run(self, out, pitch) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: the `Isa` proves NEON; every length was checked.
            level if level.has_neon() => unsafe { neon::run(self, out, pitch) },
            _ => reference::run(self, out, pitch),
        }
        Ok(())
    }
}

/// The name of the variant for an instruction set.
pub(crate) fn variant(isa: Isa) -> &'static str {
    match isa.level() {
        level if level.has_avx2() => "6x16__avx2",
        level if level.has_neon() => "6x16__neon",
        _ => "1x1__scalar",
    }
}
