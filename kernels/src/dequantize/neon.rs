use core::arch::aarch64::*;

use super::reference;
use crate::affine::Stored;
use crate::neon::{blocks, load, store_f32, widen};

/// 16 elements at a time.
#[target_feature(enable = "neon")]
pub(super) fn dequantize(from: Stored, input: &[u8], output: &mut [u8]) {
    let zero_point = vdupq_n_s32(from.zero_point);
    let scale = vdupq_n_f32(from.scale);
    let done = blocks::<16, 64>(input, output, |q, x| {
        for (q, x) in widen(load(q)).into_iter().zip(x.as_chunks_mut().0) {
            store_f32(x, vmulq_f32(scale, vcvtq_f32_s32(vsubq_s32(q, zero_point))));
        }
    });
    if !done {
        reference::dequantize(from, input, output);
    }
}
