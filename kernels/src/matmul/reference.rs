use super::Right;
use crate::gemm::{DEPTH, Panels};

/// Packs columns from `first` on, as many as the panels have, less 128 each; and their sums.
pub(super) fn pack(
    right: &Right<'_>,
    first: usize,
    panels: &Panels,
    weights: &mut [u8],
    sums: &mut [[u8; 4]],
) {
    let product = right.product;
    weights.fill(0);
    sums.fill([0; 4]);
    for panel in (0..panels.count()).map(|index| panels.panel(index)) {
        for column in 0..panel.columns {
            let c = first + panel.column + column;
            let mut sum = 0;
            for i in 0..product.k {
                let at = if product.transposed {
                    c * product.k + i
                } else {
                    i * product.n + c
                };
                let w = right.bytes[at] ^ 0x80;
                let cell = panel.start + (i / DEPTH * panel.width + column) * DEPTH;
                weights[cell + i % DEPTH] = w;
                sum += i32::from(w as i8);
            }
            sums[panel.column + column] = sum.to_le_bytes();
        }
    }
}
