//! Eight units at a time; the last ones by way of a buffer.

use core::arch::x86_64::*;

use qconfig_core::kernel::RecurrentCell;

use crate::smooth::avx2::{sigmoid, tanh};
use crate::vector::{load_f32, store};

/// Bytes of a vector.
const BYTES: usize = 32;

/// As the reference.
#[target_feature(enable = "avx2,fma")]
pub(super) fn step(cell: RecurrentCell, input: &[u8], hidden: &[u8], h: &mut [u8], c: &mut [u8]) {
    match cell {
        RecurrentCell::Lstm => lstm(input, hidden, h, c),
        RecurrentCell::Gru => gru(input, hidden, h),
        RecurrentCell::Tanh => each(h, |at, _| tanh(both(input, hidden, at))),
        RecurrentCell::Relu => each(h, |at, _| {
            // the second operand where one is NaN
            _mm256_max_ps(_mm256_setzero_ps(), both(input, hidden, at))
        }),
    }
}

#[target_feature(enable = "avx2,fma")]
fn lstm(input: &[u8], hidden: &[u8], h: &mut [u8], c: &mut [u8]) {
    let len = h.len();
    each(h, |at, _| {
        let forget = sigmoid(both(input, hidden, len + at));
        let kept = _mm256_mul_ps(forget, load(c, at));
        let entering = _mm256_mul_ps(
            sigmoid(both(input, hidden, at)),
            tanh(both(input, hidden, 2 * len + at)),
        );
        let next = _mm256_add_ps(kept, entering);
        put(c, at, next);
        _mm256_mul_ps(sigmoid(both(input, hidden, 3 * len + at)), tanh(next))
    });
}

#[target_feature(enable = "avx2,fma")]
fn gru(input: &[u8], hidden: &[u8], h: &mut [u8]) {
    let len = h.len();
    each(h, |at, old| {
        let reset = sigmoid(both(input, hidden, at));
        let recalled = _mm256_mul_ps(load(hidden, 2 * len + at), reset);
        let new = tanh(_mm256_add_ps(load(input, 2 * len + at), recalled));
        let update = sigmoid(both(input, hidden, len + at));
        _mm256_add_ps(_mm256_mul_ps(_mm256_sub_ps(old, new), update), new)
    });
}

/// Replaces eight values at a time by what `f` makes of their place and of them.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn each(h: &mut [u8], mut f: impl FnMut(usize, __m256) -> __m256) {
    let mut at = 0;
    while at < h.len() {
        let old = load(h, at);
        put(h, at, f(at, old));
        at += BYTES;
    }
}

/// The gates of hidden state and input at a place, added.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn both(input: &[u8], hidden: &[u8], at: usize) -> __m256 {
    _mm256_add_ps(load(hidden, at), load(input, at))
}

/// Eight values, or as many as there are; what follows is not looked at.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn load(from: &[u8], at: usize) -> __m256 {
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

/// Writes eight values, or as many as there is room for.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn put(to: &mut [u8], at: usize, v: __m256) {
    let to = to.get_mut(at..).unwrap_or_default();
    let v = _mm256_castps_si256(v);
    match to.first_chunk_mut::<BYTES>() {
        Some(chunk) => store(chunk, v),
        None => {
            let mut chunk = [0; BYTES];
            store(&mut chunk, v);
            to.copy_from_slice(&chunk[..to.len()]);
        }
    }
}
