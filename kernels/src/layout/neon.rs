use core::arch::aarch64::*;

use super::reference;

/// `output[r][c] = input[c][first + r]`, where input rows have `rows` elements.
#[target_feature(enable = "neon")]
pub(super) fn transpose<const E: usize>(
    input: &[[u8; E]],
    rows: usize,
    first: usize,
    output: &mut [[u8; E]],
) {
    let columns = input.len() / rows.max(1);
    let count = output.len() / columns.max(1);
    let inside = first
        .checked_add(count)
        .is_some_and(|end| count > 0 && end <= rows);
    let matrix = Matrix {
        from: input.as_flattened().as_ptr().wrapping_add(first * E),
        pitch: rows,
        to: output.as_flattened_mut().as_mut_ptr(),
        rows: count,
        columns,
    };
    // SAFETY: each of `columns` input rows has `count` elements from `first` on, and the output `count`
    // rows of `columns` elements.
    unsafe {
        match (E, columns, count) {
            (1, 3, 16..) if inside => matrix.three(),
            (1, 4, 16..) if inside => matrix.four(),
            (1, 8.., 8..) if inside => matrix.bytes(),
            (4, 5.., 4..) if inside => matrix.words(),
            _ => reference::transpose(input, rows, first, output),
        }
    }
}

/// `to[r * columns + c] = from[c * pitch + r]`: elements that a transposition reads and writes.
struct Matrix {
    from: *const u8,
    pitch: usize,
    to: *mut u8,
    rows: usize,
    columns: usize,
}

impl Matrix {
    /// # Safety
    /// The elements are bytes, readable and writable; three columns, 16 rows or more.
    #[target_feature(enable = "neon")]
    unsafe fn three(&self) {
        for r in (0..self.rows).step_by(16) {
            let r = r.min(self.rows - 16);
            // SAFETY: the caller's promise.
            unsafe {
                let plane = |c| vld1q_u8(self.from.add(c * self.pitch + r));
                vst3q_u8(
                    self.to.add(3 * r),
                    uint8x16x3_t(plane(0), plane(1), plane(2)),
                );
            }
        }
    }

    /// # Safety
    /// The elements are bytes, readable and writable; four columns, 16 rows or more.
    #[target_feature(enable = "neon")]
    unsafe fn four(&self) {
        for r in (0..self.rows).step_by(16) {
            let r = r.min(self.rows - 16);
            // SAFETY: the caller's promise.
            unsafe {
                let plane = |c| vld1q_u8(self.from.add(c * self.pitch + r));
                let planes = uint8x16x4_t(plane(0), plane(1), plane(2), plane(3));
                vst4q_u8(self.to.add(4 * r), planes);
            }
        }
    }

    /// Tiles of 8 x 8; the last ones overlap those before.
    ///
    /// # Safety
    /// The elements are bytes, readable and writable; eight columns and rows or more.
    #[target_feature(enable = "neon")]
    unsafe fn bytes(&self) {
        for r in (0..self.rows).step_by(8) {
            let r = r.min(self.rows - 8);
            for c in (0..self.columns).step_by(8) {
                let c = c.min(self.columns - 8);
                let mut x = [vdup_n_u8(0); 8];
                for (i, x) in x.iter_mut().enumerate() {
                    // SAFETY: the caller's promise.
                    *x = unsafe { vld1_u8(self.from.add((c + i) * self.pitch + r)) };
                }
                // pairs of rows, then of pairs, then of fours
                let x = [0, 2, 4, 6].map(|i| {
                    [vtrn1_u8(x[i], x[i + 1]), vtrn2_u8(x[i], x[i + 1])]
                        .map(|v| vreinterpret_u16_u8(v))
                });
                let x = [0, 2].map(|i| {
                    let [a, b] = [x[i], x[i + 1]];
                    [
                        vtrn1_u16(a[0], b[0]),
                        vtrn1_u16(a[1], b[1]),
                        vtrn2_u16(a[0], b[0]),
                        vtrn2_u16(a[1], b[1]),
                    ]
                    .map(|v| vreinterpret_u32_u16(v))
                });
                for i in 0..4 {
                    let low = vreinterpret_u8_u32(vtrn1_u32(x[0][i], x[1][i]));
                    let high = vreinterpret_u8_u32(vtrn2_u32(x[0][i], x[1][i]));
                    // SAFETY: the caller's promise.
                    unsafe {
                        vst1_u8(self.to.add((r + i) * self.columns + c), low);
                        vst1_u8(self.to.add((r + i + 4) * self.columns + c), high);
                    }
                }
            }
        }
    }

    /// Tiles of 4 x 4; the last ones overlap those before.
    ///
    /// # Safety
    /// The elements are four bytes each, readable and writable; four columns and rows or more.
    #[target_feature(enable = "neon")]
    unsafe fn words(&self) {
        for r in (0..self.rows).step_by(4) {
            let r = r.min(self.rows - 4);
            for c in (0..self.columns).step_by(4) {
                let c = c.min(self.columns - 4);
                let mut x = [vdupq_n_u32(0); 4];
                for (i, x) in x.iter_mut().enumerate() {
                    // SAFETY: the caller's promise.
                    let row = unsafe { vld1q_u8(self.from.add(4 * ((c + i) * self.pitch + r))) };
                    *x = vreinterpretq_u32_u8(row);
                }
                let x = [[x[0], x[1]], [x[2], x[3]]].map(|[a, b]| {
                    [vtrn1q_u32(a, b), vtrn2q_u32(a, b)].map(|v| vreinterpretq_u64_u32(v))
                });
                let rows = [
                    vtrn1q_u64(x[0][0], x[1][0]),
                    vtrn1q_u64(x[0][1], x[1][1]),
                    vtrn2q_u64(x[0][0], x[1][0]),
                    vtrn2q_u64(x[0][1], x[1][1]),
                ];
                for (i, row) in rows.into_iter().enumerate() {
                    // SAFETY: the caller's promise.
                    unsafe {
                        let to = self.to.add(4 * ((r + i) * self.columns + c));
                        vst1q_u8(to, vreinterpretq_u8_u64(row));
                    }
                }
            }
        }
    }
}
