//! Four units at a time; the last ones by way of a buffer.

use core::arch::aarch64::*;

use qconfig_core::kernel::RecurrentCell;

use crate::neon::{clamp_f32, load_f32, store_f32};
use crate::smooth::neon::{sigmoid, tanh};

/// Bytes of a vector.
const BYTES: usize = 16;

/// As the reference.
#[target_feature(enable = "neon")]
pub(super) fn step(cell: RecurrentCell, input: &[u8], hidden: &[u8], h: &mut [u8], c: &mut [u8]) {
    match cell {
        RecurrentCell::Lstm => lstm(input, hidden, h, c),
        RecurrentCell::Gru => gru(input, hidden, h),
        RecurrentCell::Tanh => each(h, |at, _| tanh(both(input, hidden, at))),
        RecurrentCell::Relu => each(h, |at, _| {
            let infinity = vdupq_n_f32(f32::INFINITY);
            clamp_f32(both(input, hidden, at), vdupq_n_f32(0.0), infinity)
        }),
    }
}

#[target_feature(enable = "neon")]
fn lstm(input: &[u8], hidden: &[u8], h: &mut [u8], c: &mut [u8]) {
    let len = h.len();
    each(h, |at, _| {
        let forget = sigmoid(both(input, hidden, len + at));
        let kept = vmulq_f32(forget, load(c, at));
        let entering = vmulq_f32(
            sigmoid(both(input, hidden, at)),
            tanh(both(input, hidden, 2 * len + at)),
        );
        let next = vaddq_f32(kept, entering);
        put(c, at, next);
        vmulq_f32(sigmoid(both(input, hidden, 3 * len + at)), tanh(next))
    });
}

#[target_feature(enable = "neon")]
fn gru(input: &[u8], hidden: &[u8], h: &mut [u8]) {
    let len = h.len();
    each(h, |at, old| {
        let reset = sigmoid(both(input, hidden, at));
        let recalled = vmulq_f32(load(hidden, 2 * len + at), reset);
        let new = tanh(vaddq_f32(load(input, 2 * len + at), recalled));
        let update = sigmoid(both(input, hidden, len + at));
        vaddq_f32(vmulq_f32(vsubq_f32(old, new), update), new)
    });
}

/// Replaces four values at a time by what `f` makes of their place and of them.
#[inline]
#[target_feature(enable = "neon")]
fn each(h: &mut [u8], mut f: impl FnMut(usize, float32x4_t) -> float32x4_t) {
    let mut at = 0;
    while at < h.len() {
        let old = load(h, at);
        put(h, at, f(at, old));
        at += BYTES;
    }
}

/// The gates of hidden state and input at a place, added.
#[inline]
#[target_feature(enable = "neon")]
fn both(input: &[u8], hidden: &[u8], at: usize) -> float32x4_t {
    vaddq_f32(load(hidden, at), load(input, at))
}

/// Four values, or as many as there are; what follows is not looked at.
#[inline]
#[target_feature(enable = "neon")]
fn load(from: &[u8], at: usize) -> float32x4_t {
    let from = from.get(at..).unwrap_or_default();
    match from.first_chunk::<BYTES>() {
        Some(chunk) => load_f32(chunk),
        None => {
            let mut chunk = [0; BYTES];
            chunk[..from.len()].copy_from_slice(from);
            load_f32(&chunk)
        }
    }
}

/// Writes four values, or as many as there is room for.
#[inline]
#[target_feature(enable = "neon")]
fn put(to: &mut [u8], at: usize, v: float32x4_t) {
    let to = to.get_mut(at..).unwrap_or_default();
    match to.first_chunk_mut::<BYTES>() {
        Some(chunk) => store_f32(chunk, v),
        None => {
            let mut chunk = [0; BYTES];
            store_f32(&mut chunk, v);
            to.copy_from_slice(&chunk[..to.len()]);
        }
    }
}
