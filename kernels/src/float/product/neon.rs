//! Tiles of up to six rows by sixteen columns.

use core::arch::aarch64::*;

use super::{Product, SLICE, STEP};
use crate::neon::clamp_f32;

const TALLEST: usize = 6;
/// Vectors of a slice.
const VECTORS: usize = 4;

/// Computes the product.
///
/// # Safety
/// The CPU must have NEON; the lengths must be those that [`Product::run`] checks.
#[target_feature(enable = "neon")]
pub(super) unsafe fn run(product: &Product<'_>, out: &mut [u8], pitch: usize) {
    let (k, rows) = (product.k, product.rows);
    // tiles of nearly the same height
    let tiles = rows.div_ceil(TALLEST);
    for slice in 0..product.columns.div_ceil(SLICE) {
        let first = slice * SLICE;
        let mut from = 0;
        for tile in 0..tiles {
            let to = rows * (tile + 1) / tiles;
            let call = Tile {
                x: &product.x[from * product.row_bytes..],
                row_bytes: product.row_bytes,
                k,
                weight: &product.weight[slice * k * STEP..],
                bias: &product.bias[first * 4..],
                bounds: [product.low, product.high],
                out: &mut out[from * pitch + first * 4..],
                pitch,
                count: (product.columns - first).min(SLICE),
            };
            // SAFETY: the rows from `from` to `to` lie in `x` and `out`, and the slice in weight and bias,
            // by the caller's promise.
            unsafe {
                match to - from {
                    1 => call.run::<1>(),
                    2 => call.run::<2>(),
                    3 => call.run::<3>(),
                    4 => call.run::<4>(),
                    5 => call.run::<5>(),
                    _ => call.run::<6>(),
                }
            }
            from = to;
        }
    }
}

struct Tile<'a> {
    x: &'a [u8],
    row_bytes: usize,
    k: usize,
    weight: &'a [u8],
    bias: &'a [u8],
    bounds: [f32; 2],
    out: &'a mut [u8],
    pitch: usize,
    count: usize,
}

impl Tile<'_> {
    /// # Safety
    /// `x` must have `MR` rows of `k` values, `weight` `k` steps, `bias` 16 values, and `out` `count` values in
    /// each of `MR` rows `pitch` bytes apart.
    #[target_feature(enable = "neon")]
    unsafe fn run<const MR: usize>(self) {
        let mut acc = [[vdupq_n_f32(0.0); VECTORS]; MR];
        let mut weight = self.weight.as_ptr();
        let mut x = self.x.as_ptr();
        // SAFETY: the caller's promise.
        let load = |from: *const u8| vreinterpretq_f32_u8(unsafe { vld1q_u8(from) });
        for _ in 0..self.k {
            let w: [float32x4_t; VECTORS] =
                core::array::from_fn(|v| load(weight.wrapping_add(v * 16)));
            for (r, acc) in acc.iter_mut().enumerate() {
                // SAFETY: the caller's promise.
                let x = unsafe { x.add(r * self.row_bytes).cast::<f32>().read_unaligned() };
                let x = vdupq_n_f32(x);
                for (acc, w) in acc.iter_mut().zip(w) {
                    *acc = vfmaq_f32(*acc, x, w);
                }
            }
            // one past the last is never read
            x = x.wrapping_add(4);
            weight = weight.wrapping_add(STEP);
        }
        let [low, high] = self.bounds;
        let (low, high) = (vdupq_n_f32(low), vdupq_n_f32(high));
        for (r, acc) in acc.iter().enumerate() {
            let mut bytes = [[0u8; 16]; VECTORS];
            for (v, (acc, to)) in acc.iter().zip(&mut bytes).enumerate() {
                let bias = load(self.bias.as_ptr().wrapping_add(v * 16));
                crate::neon::store_f32(to, clamp_f32(vaddq_f32(*acc, bias), low, high));
            }
            // SAFETY: the caller's promise; `count` is at most 16.
            unsafe {
                let to = self.out.as_mut_ptr().wrapping_add(r * self.pitch);
                to.copy_from_nonoverlapping(bytes.as_flattened().as_ptr(), self.count * 4);
            }
        }
    }
}
