//! NEON building blocks: loads and stores on arrays, and the way from 32-bit lanes back to bytes.
//!
//! Everything is exact or rounds as the scalar code does, so that kernels built from it equal the
//! reference to the bit.

use core::arch::aarch64::*;

/// Reads 16 bytes at any alignment.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn load(from: &[u8; 16]) -> uint8x16_t {
    // SAFETY: the array has 16 readable bytes and the load asks for no alignment.
    unsafe { vld1q_u8(from.as_ptr()) }
}

/// Writes 16 bytes at any alignment.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn store(to: &mut [u8; 16], v: uint8x16_t) {
    // SAFETY: the array has 16 writable bytes and the store asks for no alignment.
    unsafe { vst1q_u8(to.as_mut_ptr(), v) }
}

/// Reads four native-endian `f32` at any alignment.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn load_f32(from: &[u8; 16]) -> float32x4_t {
    vreinterpretq_f32_u8(load(from))
}

/// Writes four native-endian `f32` at any alignment.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn store_f32(to: &mut [u8; 16], v: float32x4_t) {
    store(to, vreinterpretq_u8_f32(v));
}

/// Widens 16 bytes to four vectors of four `i32`, in order.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn widen(v: uint8x16_t) -> [int32x4_t; 4] {
    let (low, high) = (vmovl_u8(vget_low_u8(v)), vmovl_high_u8(v));
    [
        vmovl_u16(vget_low_u16(low)),
        vmovl_high_u16(low),
        vmovl_u16(vget_low_u16(high)),
        vmovl_high_u16(high),
    ]
    .map(|v| vreinterpretq_s32_u32(v))
}

/// `low` or `high` where a lane of `x` is beyond; NaN and the sign of zero stay.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn clamp_f32(x: float32x4_t, low: float32x4_t, high: float32x4_t) -> float32x4_t {
    // not `fmin` and `fmax`, which order zeros
    let x = vbslq_f32(vcgtq_f32(low, x), low, x);
    vbslq_f32(vcltq_f32(high, x), high, x)
}

/// What stands between an `i32` result and its byte: zero point and bounds, broadcast.
#[derive(Clone, Copy)]
pub(crate) struct Narrow {
    zero_point: int16x8_t,
    low: uint8x16_t,
    high: uint8x16_t,
}

impl Narrow {
    /// `zero_point` in `0..=255`; the bounds are stored values.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(crate) fn new(zero_point: u8, low: u8, high: u8) -> Self {
        Self {
            zero_point: vdupq_n_s16(i16::from(zero_point)),
            low: vdupq_n_u8(low),
            high: vdupq_n_u8(high),
        }
    }

    /// Adds the zero point to 16 results in order, saturates and clamps: 16 bytes in order.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(crate) fn bytes(&self, v: [int32x4_t; 4]) -> uint8x16_t {
        let low = self.centre(v[0], v[1]);
        let bytes = vqmovun_high_s16(vqmovun_s16(low), self.centre(v[2], v[3]));
        vminq_u8(vmaxq_u8(bytes, self.low), self.high)
    }

    /// As [`Narrow::bytes`] for eight results.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(crate) fn eight(&self, v: [int32x4_t; 2]) -> uint8x8_t {
        let bytes = vqmovun_s16(self.centre(v[0], v[1]));
        vmin_u8(
            vmax_u8(bytes, vget_low_u8(self.low)),
            vget_low_u8(self.high),
        )
    }

    #[inline]
    #[target_feature(enable = "neon")]
    fn centre(&self, a: int32x4_t, b: int32x4_t) -> int16x8_t {
        vqaddq_s16(vqmovn_high_s32(vqmovn_s32(a), b), self.zero_point)
    }
}

/// Rounds to nearest even; saturates at both ends, and NaN becomes 0.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn round(v: float32x4_t) -> int32x4_t {
    vcvtnq_s32_f32(v)
}

/// Applies `block` to each 16 bytes of a slice and as many outputs of `N` bytes; the last block overlaps
/// the one before, which writes the same bytes twice. `false`, and nothing is written, where there are
/// fewer than 16.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn blocks<const M: usize, const N: usize>(
    input: &[u8],
    output: &mut [u8],
    block: impl Fn(&[u8; M], &mut [u8; N]),
) -> bool {
    let (Some(last), Some(_)) = (input.last_chunk::<M>(), output.last_chunk::<N>()) else {
        return false;
    };
    for (x, y) in input.as_chunks().0.iter().zip(output.as_chunks_mut().0) {
        block(x, y);
    }
    if let Some(y) = output.last_chunk_mut() {
        block(last, y);
    }
    true
}
