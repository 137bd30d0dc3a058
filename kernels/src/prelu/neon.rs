use core::arch::aarch64::*;

use super::{Params, reference};
use crate::neon::{Narrow, load, load_f32, round, store, widen};

/// 16 elements at a time; the last block overlaps the one before, which writes the same bytes twice.
#[target_feature(enable = "neon")]
pub(super) fn prelu(params: &Params, slopes: &[[u8; 4]], input: &[u8], output: &mut [u8]) {
    let (Some(last_slopes), Some(last), Some(_)) = (
        slopes.as_flattened().last_chunk(),
        input.last_chunk(),
        output.last_chunk::<16>(),
    ) else {
        return reference::prelu(params, slopes, input, output);
    };
    let kernel = Kernel::new(params);
    let slopes = slopes.as_flattened().as_chunks::<64>().0.iter();
    let blocks = input.as_chunks().0.iter().zip(output.as_chunks_mut().0);
    for (slopes, (x, y)) in slopes.zip(blocks) {
        kernel.block(slopes, x, y);
    }
    if let Some(y) = output.last_chunk_mut() {
        kernel.block(last_slopes, last, y);
    }
}

struct Kernel {
    zero_point: int32x4_t,
    scale: float32x4_t,
    inverse: float32x4_t,
    narrow: Narrow,
}

impl Kernel {
    #[inline]
    #[target_feature(enable = "neon")]
    fn new(params: &Params) -> Self {
        let output = params.output;
        Self {
            zero_point: vdupq_n_s32(params.from.zero_point),
            scale: vdupq_n_f32(params.from.scale),
            inverse: vdupq_n_f32(1.0 / params.scale),
            narrow: Narrow::new(output.zero_point, output.low, output.high),
        }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    fn block(&self, slopes: &[u8; 64], x: &[u8; 16], y: &mut [u8; 16]) {
        let mut values = widen(load(x));
        for (value, slopes) in values.iter_mut().zip(slopes.as_chunks().0) {
            let centred = vcvtq_f32_s32(vsubq_s32(*value, self.zero_point));
            let x = vmulq_f32(self.scale, centred);
            let below = vmulq_f32(x, load_f32(slopes));
            let chosen = vbslq_f32(vcgtzq_f32(x), x, below);
            // NaN, of an infinite value and a slope of 0, becomes 0 when rounded
            *value = round(vmulq_f32(chosen, self.inverse));
        }
        store(y, self.narrow.bytes(values));
    }
}
