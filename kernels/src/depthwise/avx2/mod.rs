//! Sums of pairs of taps in 32-bit integers, for any layer; [`single`] is the fast form.

pub(super) mod single;

use core::arch::x86_64::*;

use super::{Layer, Row, reference};
use crate::vector::{Narrow, load_part};

/// Channels of a block; the last block of a row overlaps the one before.
const BLOCK: usize = 8;

/// What `row` does for a layer.
pub(super) fn variant(layer: &Layer<'_>) -> &'static str {
    if layer.out_channels != layer.geometry.channels || layer.out_channels < BLOCK {
        return "dw_1c__scalar";
    }
    "dw_8c__avx2"
}

/// Computes as many outputs as fit.
#[target_feature(enable = "avx2")]
pub(super) fn row(row: Row<'_>, output: &mut [u8]) {
    let channels = row.layer.out_channels;
    if channels != row.layer.geometry.channels || channels < BLOCK {
        return reference::row(row, output);
    }
    for c in (0..channels).step_by(BLOCK) {
        tap_by_tap(row, c.min(channels - BLOCK), output);
    }
}

/// Eight channels of a layer's constants.
struct Block {
    init: __m256i,
    scale: __m256,
    /// Zeros where the layer has no biases: they change no sum.
    bias: __m256,
    narrow: Narrow,
}

impl Block {
    /// `c + 8` is at most the number of channels.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(layer: &Layer<'_>, c: usize) -> Self {
        Self {
            init: words(layer.init, c),
            scale: _mm256_castsi256_ps(words(layer.scale, c)),
            bias: _mm256_castsi256_ps(words(layer.bias, c)),
            narrow: Narrow::new(layer.output.zero_point, layer.output.low, layer.output.high),
        }
    }

    /// Writes eight bytes of the output at `at`.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn store(&self, acc: __m256i, output: &mut [u8], at: usize) {
        let sum = _mm256_add_ps(_mm256_cvtepi32_ps(acc), self.bias);
        let scaled = _mm256_mul_ps(sum, self.scale);
        let bytes = self.narrow.eight(self.narrow.round(scaled));
        if let Some(to) = output.get_mut(at..at + BLOCK) {
            // SAFETY: the slice has eight writable bytes and the store asks for no alignment.
            unsafe { _mm_storel_epi64(to.as_mut_ptr().cast(), bytes) }
        }
    }
}

/// Eight words of a section from `first` on; zeros behind its end.
#[inline]
#[target_feature(enable = "avx2")]
fn words(section: &[[u8; 4]], first: usize) -> __m256i {
    match section.get(first..first + BLOCK) {
        // SAFETY: the slice has 32 readable bytes.
        Some(words) => unsafe { load_part::<32>(words.as_ptr().cast()) },
        None => _mm256_setzero_si256(),
    }
}

/// Eight bytes of an input at `at`.
#[inline]
#[target_feature(enable = "avx2")]
fn bytes(from: &[u8], at: usize) -> __m128i {
    match from.get(at..at + BLOCK) {
        // SAFETY: the slice has eight readable bytes and the load asks for no alignment.
        Some(bytes) => unsafe { _mm_loadl_epi64(bytes.as_ptr().cast()) },
        None => _mm_setzero_si128(),
    }
}

/// Pairs of taps below each other, widened: what a pair of weights is multiplied with.
#[inline]
#[target_feature(enable = "avx2")]
fn pair(even: __m128i, odd: __m128i) -> __m256i {
    _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(even, odd))
}

/// Any window, one output after the other.
#[inline]
#[target_feature(enable = "avx2")]
fn tap_by_tap(
    Row {
        layer,
        input,
        first,
    }: Row<'_>,
    c: usize,
    output: &mut [u8],
) {
    let block = Block::new(layer, c);
    let padding = _mm_set1_epi8(layer.zero_point as i8);
    let ([kh, kw], channels) = (layer.geometry.window.kernel, layer.out_channels);
    for i in 0..output.len() / channels {
        let mut at = first;
        at.x += i;
        let mut acc = block.init;
        for kx in 0..kw {
            for ky in (0..kh).step_by(2) {
                let load = |ky| {
                    layer
                        .cell(at, [ky, kx])
                        .map_or(padding, |cell| bytes(input, cell + c))
                };
                // behind the last row the weight is 0
                let taps = pair(load(ky), if ky + 1 < kh { load(ky + 1) } else { padding });
                let weights = words(
                    layer.pairs,
                    (kx * layer.pair_rows() + ky / 2) * channels + c,
                );
                acc = _mm256_add_epi32(acc, _mm256_madd_epi16(taps, weights));
            }
        }
        block.store(acc, output, i * channels + c);
    }
}
