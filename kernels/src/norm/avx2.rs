use core::arch::x86_64::*;

use super::{Affine, Channels, Moments, Row, reference};
use crate::vector::{Narrow, load, load_f32, store, widen};

/// Values of one vector.
const W: usize = 32;

/// The coefficients of [`W`] values.
#[inline]
#[target_feature(enable = "avx2")]
fn coefficients(from: &[[u8; 4]; W]) -> [__m256; 4] {
    let mut all = [_mm256_setzero_ps(); 4];
    for (to, from) in all.iter_mut().zip(from.as_flattened().as_chunks().0) {
        *to = load_f32(from);
    }
    all
}

/// What is left of the zero point.
#[inline]
#[target_feature(enable = "avx2")]
fn differences(x: &[u8; W], zero_point: __m256i) -> [__m256; 4] {
    widen(load(x)).map(|x| _mm256_cvtepi32_ps(_mm256_sub_epi32(x, zero_point)))
}

/// Periods of the coefficients; in each, vectors of which the last overlaps the one before.
#[target_feature(enable = "avx2")]
pub(super) fn affine(affine: &Affine<'_>, input: &[u8], output: &mut [u8]) {
    let Affine {
        a,
        b,
        zero_point,
        output: to,
    } = *affine;
    let period = a.len().max(1);
    let narrow = Narrow::new(to.zero_point, to.low, to.high);
    let zero_point = _mm256_set1_epi32(zero_point.into());
    for (input, output) in input.chunks(period).zip(output.chunks_mut(period)) {
        if input.len() < W {
            reference::affine(affine, input, output);
            continue;
        }
        for at in (0..input.len()).step_by(W) {
            let at = at.min(input.len() - W);
            let (x, y) = (input[at..].first_chunk(), output[at..].first_chunk_mut());
            let (a, b) = (a[at..].first_chunk(), b[at..].first_chunk());
            let (Some(x), Some(y), Some(a), Some(b)) = (x, y, a, b) else {
                break;
            };
            let (mut v, a, b) = (differences(x, zero_point), coefficients(a), coefficients(b));
            for (v, (a, b)) in v.iter_mut().zip(a.into_iter().zip(b)) {
                *v = _mm256_add_ps(_mm256_mul_ps(*v, a), b);
            }
            store(y, narrow.bytes(v.map(|v| narrow.round(v))));
        }
    }
}

#[target_feature(enable = "avx2")]
pub(super) fn row(row: &Row<'_>, input: &[u8], output: &mut [u8]) {
    if input.len() < W {
        return reference::row(row, input, output);
    }
    let Row {
        p,
        r,
        a,
        b,
        zero_point,
        output: to,
    } = *row;
    let narrow = Narrow::new(to.zero_point, to.low, to.high);
    let zero_point = _mm256_set1_epi32(zero_point.into());
    let (p, r) = (_mm256_set1_ps(p), _mm256_set1_ps(r));
    for at in (0..input.len()).step_by(W) {
        let at = at.min(input.len() - W);
        let (x, y) = (input[at..].first_chunk(), output[at..].first_chunk_mut());
        let coefficient =
            |from: &[[u8; 4]]| from.get(at..).and_then(|from| from.first_chunk().copied());
        let (Some(x), Some(y), Some(a), Some(b)) = (x, y, coefficient(a), coefficient(b)) else {
            break;
        };
        let (mut v, a, b) = (
            differences(x, zero_point),
            coefficients(&a),
            coefficients(&b),
        );
        for (v, (a, b)) in v.iter_mut().zip(a.into_iter().zip(b)) {
            let normal = _mm256_add_ps(_mm256_mul_ps(*v, p), r);
            *v = _mm256_add_ps(_mm256_mul_ps(normal, a), b);
        }
        store(y, narrow.bytes(v.map(|v| narrow.round(v))));
    }
}

/// Channels of a block of sums.
const BLOCK: usize = 16;

/// Sixteen channels at a time over all positions; of fewer the reference.
#[target_feature(enable = "avx2")]
pub(super) fn add_channels(channels: Channels<'_>, sums: &mut [[u64; 2]]) {
    /// Positions whose squares fit 32 bits.
    const LONG: usize = 1 << 16;
    let (whole, rest) = sums.as_chunks_mut::<BLOCK>();
    let end = channels.first + whole.len() * BLOCK + rest.len();
    for image in channels.image.chunks(LONG * channels.channels) {
        let of = |first| Channels {
            image,
            first,
            ..channels
        };
        for (block, sums) in whole.iter_mut().enumerate() {
            block_sums(of(channels.first + block * BLOCK), sums);
        }
        if rest.is_empty() {
            continue;
        }
        match end.checked_sub(BLOCK) {
            Some(first) => {
                // overlaps the block before: only its own channels are added
                let mut last = [[0; 2]; BLOCK];
                block_sums(of(first), &mut last);
                for (to, from) in rest.iter_mut().rev().zip(last.iter().rev()) {
                    to[0] += from[0];
                    to[1] += from[1];
                }
            }
            None => reference::add_channels(of(channels.first), rest),
        }
    }
}

/// Adds the sums of the first 16 channels.
#[inline]
#[target_feature(enable = "avx2")]
fn block_sums(from: Channels<'_>, sums: &mut [[u64; 2]; BLOCK]) {
    /// Bytes whose sum fits 16 bits.
    const SHORT: usize = 257;
    let zero = _mm256_setzero_si256();
    let (mut sum, mut squares) = ([zero; 2], [zero; 2]);
    for part in from.image.chunks(SHORT * from.channels) {
        let mut short = zero;
        for position in part.chunks_exact(from.channels) {
            let own = position.get(from.first..);
            let Some(cells) = own.and_then(|own| own.first_chunk::<BLOCK>()) else {
                break;
            };
            // SAFETY: the array has 16 readable bytes and the load asks for no alignment.
            let x = _mm256_cvtepu8_epi16(unsafe { _mm_loadu_si128(cells.as_ptr().cast()) });
            short = _mm256_add_epi16(short, x);
            let square = _mm256_mullo_epi16(x, x);
            squares[0] = _mm256_add_epi32(squares[0], _mm256_unpacklo_epi16(square, zero));
            squares[1] = _mm256_add_epi32(squares[1], _mm256_unpackhi_epi16(square, zero));
        }
        sum[0] = _mm256_add_epi32(sum[0], _mm256_unpacklo_epi16(short, zero));
        sum[1] = _mm256_add_epi32(sum[1], _mm256_unpackhi_epi16(short, zero));
    }
    for (which, pair) in [sum, squares].into_iter().enumerate() {
        // the unpacks left channels 0..4, 8..12 in one and 4..8, 12..16 in the other
        for (half, v) in pair.into_iter().enumerate() {
            let mut bytes = [0; 32];
            store(&mut bytes, v);
            for (lane, word) in bytes.as_chunks::<4>().0.iter().enumerate() {
                let channel = lane / 4 * 8 + half * 4 + lane % 4;
                if let Some(to) = sums.get_mut(channel) {
                    to[which] += u64::from(u32::from_le_bytes(*word));
                }
            }
        }
    }
}

/// The reference, vectorized by the compiler for this level.
#[target_feature(enable = "avx2")]
pub(super) fn row_moments(input: &[u8]) -> Moments {
    reference::row_moments(input)
}
