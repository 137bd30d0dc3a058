//! NEON's dot product: `udot` sums four products of bytes exactly, here of a row's four elements with
//! four columns at a time.
//!
//! The instruction is written out, as its intrinsic is not stable.

use core::arch::aarch64::*;
use core::arch::asm;

use super::neon::Products;
use super::panels::DEPTH;

/// `acc` and the products of `w`, four columns of four, with the four bytes of `x` that `LANE` names.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn udot<const LANE: usize>(mut acc: uint32x4_t, w: uint8x16_t, x: uint8x16_t) -> uint32x4_t {
    // SAFETY: registers only; the function has the feature.
    unsafe {
        asm!(
            "udot {acc:v}.4s, {w:v}.16b, {x:v}.4b[{lane}]",
            acc = inout(vreg) acc,
            w = in(vreg) w,
            x = in(vreg) x,
            lane = const LANE,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    acc
}

/// The sums of `MR` rows and eight columns, weights with 128 added.
///
/// # Safety
/// The CPU must have the dot product. `a` must point to `depth` groups for each of `MR` rows, `b` to as
/// many for eight columns.
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn sums<const MR: usize>(products: Products<'_>) -> [[int32x4_t; 2]; MR] {
    // SAFETY: the caller's promise.
    let [acc] = unsafe { phases::<MR, 2, 1>(products) };
    acc.map(|row| row.map(|v| vreinterpretq_s32_u32(v)))
}

/// The sums of one row and sixteen columns, weights with 128 added.
///
/// # Safety
/// As [`sums`], for sixteen columns.
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn row(products: Products<'_>) -> [[int32x4_t; 4]; 1] {
    // two chains for each vector, as one would wait for itself
    // SAFETY: the caller's promise.
    let [[even], [odd]] = unsafe { phases::<1, 4, 2>(products) };
    let mut sums = [vdupq_n_s32(0); 4];
    for ((sum, even), odd) in sums.iter_mut().zip(even).zip(odd) {
        *sum = vreinterpretq_s32_u32(vaddq_u32(even, odd));
    }
    [sums]
}

/// The sums of `MR` rows and `4 * NV` columns, over every `P`th group of four.
///
/// # Safety
/// As [`sums`], for `4 * NV` columns.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn phases<const MR: usize, const NV: usize, const P: usize>(
    Products {
        a,
        mut b,
        step,
        depth,
    }: Products<'_>,
) -> [[[uint32x4_t; NV]; MR]; P] {
    let flip = vdupq_n_u8(0x80);
    let mut acc = [[[vdupq_n_u32(0); NV]; MR]; P];
    let mut rows = [core::ptr::null(); MR];
    rows.copy_from_slice(&a[..MR]);
    let mut x = [flip; MR];
    macro_rules! group {
        ($lane:literal) => {
            for v in 0..NV {
                // SAFETY: the caller's promise.
                let w = veorq_u8(unsafe { vld1q_u8(b.add(v * 16)) }, flip);
                for (acc, x) in acc[$lane % P].iter_mut().zip(x) {
                    acc[v] = udot::<$lane>(acc[v], w, x);
                }
            }
            // one past the last is never read
            b = b.wrapping_add(step);
        };
    }
    for four in 0..depth / 4 {
        for (x, row) in x.iter_mut().zip(rows) {
            // SAFETY: the caller's promise.
            *x = unsafe { vld1q_u8(row.add(four * 4 * DEPTH)) };
        }
        group!(0);
        group!(1);
        group!(2);
        group!(3);
    }
    for group in depth / 4 * 4..depth {
        for (x, row) in x.iter_mut().zip(rows) {
            // SAFETY: the caller's promise.
            let dword = unsafe { row.add(group * DEPTH).cast::<u32>().read_unaligned() };
            *x = vreinterpretq_u8_u32(vdupq_n_u32(dword));
        }
        group!(0);
    }
    acc
}
