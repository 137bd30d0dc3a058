use core::arch::aarch64::*;

use super::{Table, reference};
use crate::neon::{blocks, load, store};

/// 16 bytes at a time: a quarter of the table is what `tbl` looks up, and `tbx` leaves bytes alone whose
/// index is outside its quarter.
#[target_feature(enable = "neon")]
pub(super) fn apply(table: &Table, input: &[u8], output: &mut [u8]) {
    let mut quarters = [[vdupq_n_u8(0); 4]; 4];
    let rows = table.as_chunks().0;
    for (to, from) in quarters.as_flattened_mut().iter_mut().zip(rows) {
        *to = load(from);
    }
    let [first, second, third, fourth] = quarters.map(|[a, b, c, d]| uint8x16x4_t(a, b, c, d));
    let quarter = vdupq_n_u8(64);
    let done = blocks::<16, 16>(input, output, |x, y| {
        let x = load(x);
        let value = vqtbl4q_u8(first, x);
        // indices below the quarter wrap to above it
        let x = vsubq_u8(x, quarter);
        let value = vqtbx4q_u8(value, second, x);
        let x = vsubq_u8(x, quarter);
        let value = vqtbx4q_u8(value, third, x);
        let x = vsubq_u8(x, quarter);
        store(y, vqtbx4q_u8(value, fourth, x));
    });
    if !done {
        reference::apply(table, input, output);
    }
}
