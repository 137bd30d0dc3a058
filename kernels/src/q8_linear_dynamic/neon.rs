use core::arch::aarch64::*;

use super::reference;
use crate::neon::{load_f32, store_f32};

/// 16 values at a time; what does not count becomes zero.
#[target_feature(enable = "neon")]
pub(super) fn range(input: &[u8]) -> (f32, f32) {
    let (blocks, rest) = input.as_chunks::<64>();
    let mut least = [vdupq_n_f32(0.0); 4];
    let mut greatest = least;
    let infinity = vdupq_n_f32(f32::INFINITY);
    for block in blocks {
        for (i, x) in block.as_chunks().0.iter().enumerate() {
            let x = load_f32(x);
            let finite = vcaltq_f32(x, infinity);
            let x = vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(x), finite));
            least[i] = vminq_f32(least[i], x);
            greatest[i] = vmaxq_f32(greatest[i], x);
        }
    }
    let (mut low, mut high) = reference::range(rest);
    for i in 0..4 {
        let mut lanes = [[0u8; 16]; 2];
        store_f32(&mut lanes[0], least[i]);
        store_f32(&mut lanes[1], greatest[i]);
        let (a, b) = reference::range(lanes.as_flattened());
        low = low.min(a);
        high = high.max(b);
    }
    (low, high)
}
