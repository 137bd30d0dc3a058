use core::arch::aarch64::*;

use super::reference;
use crate::neon::{blocks, load, store};

/// 16 elements at a time.
#[target_feature(enable = "neon")]
pub(super) fn clamp(low: u8, high: u8, input: &[u8], output: &mut [u8]) {
    let (least, most) = (vdupq_n_u8(low), vdupq_n_u8(high));
    let done = blocks::<16, 16>(input, output, |x, y| {
        store(y, vminq_u8(vmaxq_u8(load(x), least), most));
    });
    if !done {
        reference::clamp(low, high, input, output);
    }
}
