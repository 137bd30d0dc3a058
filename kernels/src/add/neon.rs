use core::arch::aarch64::*;

use super::{Fixed, Form, Params, reference};
use crate::affine::Stored;
use crate::neon::{Narrow, load, round, store, widen};

/// 16 elements at a time; the last block overlaps the one before, which writes the same bytes twice.
#[target_feature(enable = "neon")]
pub(super) fn add(params: &Params, a: &[u8], b: &[u8], output: &mut [u8]) {
    let narrow = Narrow::new(params.zero_point, params.low, params.high);
    match params.form {
        Form::HalfUp(fixed) => {
            let shift = vdupq_n_s32(-(fixed.shift as i32));
            blocks(params, a, b, output, |a, b| {
                narrow.bytes(sums(&fixed, a, b).map(|sum| vshlq_s32(sum, shift)))
            });
        }
        Form::HalfAway(fixed) => {
            let shift = vdupq_n_s32(1 - fixed.shift as i32);
            blocks(params, a, b, output, |a, b| {
                narrow.bytes(sums(&fixed, a, b).map(|sum| {
                    // (sum + half - (sum < 0)) >> shift, in an order that cannot overflow
                    let down = vsraq_n_s32::<31>(sum, sum);
                    let halves = vshlq_s32(down, shift);
                    vrshrq_n_s32::<1>(halves)
                }))
            });
        }
        Form::Float([from_a, from_b], scale) => {
            let inverse = vdupq_n_f32(1.0 / scale);
            blocks(params, a, b, output, |a, b| {
                let (a, mut b) = (widen(a), widen(b));
                for (a, b) in a.into_iter().zip(&mut b) {
                    let sum = vaddq_f32(real(from_a, a), real(from_b, *b));
                    // infinities of opposite signs: NaN, which becomes the zero point
                    *b = round(vmulq_f32(sum, inverse));
                }
                narrow.bytes(b)
            });
        }
    }
}

/// The real values of four stored ones.
#[inline]
#[target_feature(enable = "neon")]
fn real(from: Stored, q: int32x4_t) -> float32x4_t {
    let centred = vsubq_s32(q, vdupq_n_s32(from.zero_point));
    vmulq_f32(vdupq_n_f32(from.scale), vcvtq_f32_s32(centred))
}

/// `a * q_a + b * q_b + bias` of 16 pairs.
#[inline]
#[target_feature(enable = "neon")]
fn sums(fixed: &Fixed, a: uint8x16_t, b: uint8x16_t) -> [int32x4_t; 4] {
    let (a, mut b) = (widen(a), widen(b));
    for (a, b) in a.into_iter().zip(&mut b) {
        let sum = vmlaq_s32(vdupq_n_s32(fixed.bias), a, vdupq_n_s32(fixed.a as i32));
        *b = vmlaq_s32(sum, *b, vdupq_n_s32(fixed.b as i32));
    }
    b
}

/// Applies `block` to all of three slices of the same length.
#[inline]
#[target_feature(enable = "neon")]
fn blocks(
    params: &Params,
    a: &[u8],
    b: &[u8],
    output: &mut [u8],
    block: impl Fn(uint8x16_t, uint8x16_t) -> uint8x16_t,
) {
    let (Some(last_a), Some(last_b), Some(_)) =
        (a.last_chunk(), b.last_chunk(), output.last_chunk::<16>())
    else {
        return reference::add(params, a, b, output);
    };
    let pairs = a.as_chunks::<16>().0.iter().zip(b.as_chunks().0);
    for ((a, b), y) in pairs.zip(output.as_chunks_mut::<16>().0) {
        store(y, block(load(a), load(b)));
    }
    if let Some(y) = output.last_chunk_mut() {
        store(y, block(load(last_a), load(last_b)));
    }
}
