use core::arch::aarch64::*;

use super::{Params, reference};
use crate::neon::{Narrow, load, round, store};

/// 16 elements at a time; the last block overlaps the one before, which writes the same bytes twice.
#[target_feature(enable = "neon")]
pub(super) fn mul(params: &Params, a: &[u8], b: &[u8], output: &mut [u8]) {
    let (Some(last_a), Some(last_b), Some(_)) =
        (a.last_chunk(), b.last_chunk(), output.last_chunk::<16>())
    else {
        return reference::mul(params, a, b, output);
    };
    let kernel = Kernel::new(params);
    let pairs = a.as_chunks::<16>().0.iter().zip(b.as_chunks().0);
    for ((a, b), y) in pairs.zip(output.as_chunks_mut::<16>().0) {
        kernel.block(a, b, y);
    }
    if let Some(y) = output.last_chunk_mut() {
        kernel.block(last_a, last_b, y);
    }
}

struct Kernel {
    zero_points: [uint8x16_t; 2],
    multiplier: float32x4_t,
    narrow: Narrow,
}

impl Kernel {
    #[inline]
    #[target_feature(enable = "neon")]
    fn new(params: &Params) -> Self {
        let [a, b] = params.zero_points;
        let output = params.output;
        Self {
            zero_points: [vdupq_n_u8(a), vdupq_n_u8(b)],
            multiplier: vdupq_n_f32(params.multiplier),
            narrow: Narrow::new(output.zero_point, output.low, output.high),
        }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    fn block(&self, a: &[u8; 16], b: &[u8; 16], y: &mut [u8; 16]) {
        let [a, b] = [(a, self.zero_points[0]), (b, self.zero_points[1])].map(|(q, zero_point)| {
            let q = load(q);
            // the differences wrap to negative ones
            [
                vsubl_u8(vget_low_u8(q), vget_low_u8(zero_point)),
                vsubl_high_u8(q, zero_point),
            ]
            .map(|v| vreinterpretq_s16_u16(v))
        });
        let products = [
            vmull_s16(vget_low_s16(a[0]), vget_low_s16(b[0])),
            vmull_high_s16(a[0], b[0]),
            vmull_s16(vget_low_s16(a[1]), vget_low_s16(b[1])),
            vmull_high_s16(a[1], b[1]),
        ];
        let scaled =
            products.map(|product| round(vmulq_f32(vcvtq_f32_s32(product), self.multiplier)));
        store(y, self.narrow.bytes(scaled));
    }
}
