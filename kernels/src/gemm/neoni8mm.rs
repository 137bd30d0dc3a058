//! NEON's matrix product of bytes: `usmmla` multiplies two rows of eight unsigned elements with two
//! columns of eight signed ones, exactly.
//!
//! Rows are interleaved as they are copied into the block: eight elements of one, eight of the next. Two
//! groups of four of a column come together by a `zip` as they are loaded. The instruction is written
//! out, as its intrinsic is not stable.

use core::arch::aarch64::*;
use core::arch::asm;

use super::neon::Products;
use super::panels::DEPTH;

/// Rows that lie interleaved.
pub(super) const ROWS: usize = 2;
/// Elements of a row that lie beside each other.
const RUN: usize = 8;

/// Writes a row's elements as row `index` of a pair, zeros up to `depth` groups of four, rounded up to an
/// even number.
///
/// `cells` must have `4 * ROWS` bytes for each group.
pub(super) fn interleave(row: &[u8], index: usize, depth: usize, cells: &mut [u8]) {
    let (runs, rest) = row.as_chunks::<RUN>();
    let mut cells = cells.as_chunks_mut::<{ ROWS * RUN }>().0.iter_mut();
    let mut put = |run: &[u8; RUN]| {
        if let Some(cell) = cells.next() {
            cell[index * RUN..][..RUN].copy_from_slice(run);
        }
    };
    for run in runs {
        put(run);
    }
    let mut last = [0; RUN];
    last[..rest.len()].copy_from_slice(rest);
    for _ in runs.len()..depth.div_ceil(RUN / DEPTH) {
        put(&last);
        last = [0; RUN];
    }
}

/// `acc` and the products of two rows `x` with two columns `w`: the row's two columns beside each other.
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn usmmla(mut acc: int32x4_t, x: uint8x16_t, w: int8x16_t) -> int32x4_t {
    // SAFETY: registers only; the function has the feature.
    unsafe {
        asm!(
            "usmmla {acc:v}.4s, {x:v}.16b, {w:v}.16b",
            acc = inout(vreg) acc,
            x = in(vreg) x,
            w = in(vreg) w,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    acc
}

/// The sums of `P` pairs of rows and eight columns.
///
/// # Safety
/// The CPU must have i8mm. Every other of `a` must point to a pair of rows as [`interleave`] writes them,
/// `b` to `depth` groups of eight columns.
#[target_feature(enable = "neon,i8mm")]
pub(super) unsafe fn sums<const P: usize>(
    Products {
        a,
        mut b,
        step,
        depth,
    }: Products<'_>,
) -> [[[int32x4_t; 2]; ROWS]; P] {
    let mut acc = [[vdupq_n_s32(0); 4]; P];
    let mut pairs = [core::ptr::null(); P];
    for (pair, row) in pairs.iter_mut().zip(a.iter().step_by(ROWS)) {
        *pair = *row;
    }
    let mut add = |two: usize, even: [int32x4_t; 2], odd: [int32x4_t; 2]| {
        // two columns of eight each
        let w = [
            vzip1q_s32(even[0], odd[0]),
            vzip2q_s32(even[0], odd[0]),
            vzip1q_s32(even[1], odd[1]),
            vzip2q_s32(even[1], odd[1]),
        ];
        for (acc, pair) in acc.iter_mut().zip(pairs) {
            // SAFETY: the caller's promise.
            let x = unsafe { vld1q_u8(pair.add(two * ROWS * RUN)) };
            for (acc, w) in acc.iter_mut().zip(w) {
                *acc = usmmla(*acc, x, vreinterpretq_s8_s32(w));
            }
        }
    };
    for two in 0..depth / 2 {
        // SAFETY: the caller's promise.
        let (even, odd) = unsafe { (group(b), group(b.add(step))) };
        add(two, even, odd);
        // one past the last is never read
        b = b.wrapping_add(2 * step);
    }
    if depth % 2 == 1 {
        // SAFETY: the caller's promise.
        let even = unsafe { group(b) };
        add(depth / 2, even, [vdupq_n_s32(0); 2]);
    }
    acc.map(|columns| {
        let [a, b, c, d] = columns.map(|v| vreinterpretq_s64_s32(v));
        [
            [vzip1q_s64(a, b), vzip1q_s64(c, d)],
            [vzip2q_s64(a, b), vzip2q_s64(c, d)],
        ]
        .map(|row| row.map(|v| vreinterpretq_s32_s64(v)))
    })
}

/// A group of four of eight columns.
///
/// # Safety
/// `from` must be readable for 32 bytes.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn group(from: *const u8) -> [int32x4_t; 2] {
    // SAFETY: the caller's promise.
    unsafe { [vld1q_u8(from), vld1q_u8(from.add(16))].map(|v| vreinterpretq_s32_u8(v)) }
}
