//! Tables of rows.

use qconfig_core::kernel::BagMode;

use crate::tensor::Tensor;

/// How rows are reduced to one for each bag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bag {
    /// Sum, mean or maximum.
    pub mode: BagMode,
    /// Whether there is one offset more than bags: where the last one ends.
    pub include_last_offset: bool,
    /// A row that counts for nothing.
    pub padding_idx: Option<usize>,
}

impl Bag {
    /// Of that mode, without an offset for the end and a padding row.
    pub fn new(mode: BagMode) -> Self {
        Self {
            mode,
            include_last_offset: false,
            padding_idx: None,
        }
    }
}

/// Rows of a table. The inputs are the indices; for bags of different lengths, where each begins; and perhaps
/// a weight for each index.
#[derive(Clone, PartialEq, Debug)]
pub struct Embedding {
    /// `[rows, columns]`.
    pub weight: Tensor,
    /// How rows are reduced; `None` for a lookup of each.
    pub bag: Option<Bag>,
}
