use core::arch::aarch64::*;

use super::reference;
use crate::affine::Stored;
use crate::neon::{Narrow, blocks, load_f32, round, store};

/// 16 elements at a time.
#[target_feature(enable = "neon")]
pub(super) fn quantize(to: Stored, input: &[u8], output: &mut [u8]) {
    let narrow = Narrow::new(to.zero_point as u8, 0, 255);
    let inverse = vdupq_n_f32(1.0 / to.scale);
    let done = blocks::<64, 16>(input, output, |x, y| {
        let mut v = [vdupq_n_s32(0); 4];
        for (x, v) in x.as_chunks().0.iter().zip(&mut v) {
            // NaN becomes 0, which the zero point is then added to
            *v = round(vmulq_f32(load_f32(x), inverse));
        }
        store(y, narrow.bytes(v));
    });
    if !done {
        reference::quantize(to, input, output);
    }
}
