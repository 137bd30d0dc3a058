#![allow(
    clippy::needless_range_loop,
    reason = "arrays of registers, indexed alike"
)]

use core::arch::x86_64::*;
use core::marker::PhantomData;

use super::{Layer, Row, reference, window_rows};
use crate::vector::{Narrow, load_part};

/// Channels of a block; the last block of a row overlaps the one before.
const BLOCK: usize = 8;

/// What `row` does for a layer.
pub(super) fn variant(layer: &Layer<'_>) -> &'static str {
    let window = layer.geometry.window;
    if layer.out_channels != layer.geometry.channels || layer.out_channels < BLOCK {
        return "dw_1c__scalar";
    }
    match (window.kernel, window.stride[1], window.dilation[1]) {
        ([3, 3], 1 | 2, 1) => "dw3x3_8c__avx2",
        ([5, 5], 1 | 2, 1) => "dw5x5_8c__avx2",
        _ => "dw_8c__avx2",
    }
}

/// Computes as many outputs as fit.
#[target_feature(enable = "avx2")]
pub(super) fn row(row: Row<'_>, output: &mut [u8]) {
    if row.layer.bias.is_empty() {
        outputs::<false>(row, output);
    } else {
        outputs::<true>(row, output);
    }
}

#[target_feature(enable = "avx2")]
fn outputs<const BIASED: bool>(row: Row<'_>, output: &mut [u8]) {
    let Layer {
        geometry,
        out_channels: channels,
        ..
    } = *row.layer;
    if channels != geometry.channels || channels < BLOCK {
        return reference::row(row, output);
    }
    let window = geometry.window;
    for c in (0..channels).step_by(BLOCK) {
        let c = c.min(channels - BLOCK);
        match (window.kernel, window.stride[1], window.dilation[1]) {
            ([3, 3], 1, 1) => sliding::<3, 3, 2, 1, BIASED>(row, c, output),
            ([3, 3], 2, 1) => sliding::<3, 3, 2, 2, BIASED>(row, c, output),
            ([5, 5], 1, 1) => sliding::<5, 5, 3, 1, BIASED>(row, c, output),
            ([5, 5], 2, 1) => sliding::<5, 5, 3, 2, BIASED>(row, c, output),
            _ => tap_by_tap::<BIASED>(row, c, output),
        }
    }
}

/// Eight channels of a layer's constants.
struct Block {
    init: __m256i,
    scale: __m256,
    /// Where the layer has biases.
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
    fn store<const BIASED: bool>(&self, acc: __m256i, output: &mut [u8], at: usize) {
        let mut sum = _mm256_cvtepi32_ps(acc);
        if BIASED {
            sum = _mm256_add_ps(sum, self.bias);
        }
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
fn tap_by_tap<const BIASED: bool>(
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
        block.store::<BIASED>(acc, output, i * channels + c);
    }
}

/// Eight channels of the input rows that a window covers, read column by column.
struct Columns<'a, const KH: usize> {
    /// As [`window_rows`] gives them.
    rows: [(*const u8, usize); KH],
    width: i64,
    padding: __m128i,
    bytes: PhantomData<&'a [u8]>,
}

impl<'a, const KH: usize> Columns<'a, KH> {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(row: Row<'a>, c: usize, padding: &'a [u8; BLOCK]) -> Self {
        Self {
            rows: window_rows(row, c, padding),
            width: row.layer.geometry.input[1] as i64,
            padding: bytes(padding, 0),
            bytes: PhantomData,
        }
    }

    /// Column `x`, widened to pairs of rows: `R = ceil(KH / 2)`.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn widened<const R: usize>(&self, x: i64) -> [__m256i; R] {
        // index loops throughout: a call that is not inlined would spill every vector register
        let mut taps = [self.padding; KH];
        if (0..self.width).contains(&x) {
            for ky in 0..KH {
                let (row, step) = self.rows[ky];
                // SAFETY: `x` is a column of the input, at which eight bytes are readable; `'a` keeps them.
                taps[ky] = unsafe { _mm_loadl_epi64(row.add(x as usize * step).cast()) };
            }
        }
        let mut pairs = [_mm256_setzero_si256(); R];
        for r in 0..R {
            pairs[r] = if 2 * r + 1 < KH {
                pair(taps[2 * r], taps[2 * r + 1])
            } else {
                // one tap: the upper halves are 0
                _mm256_cvtepu8_epi32(taps[2 * r])
            };
        }
        pairs
    }
}

/// A window of `KH x KW` without dilation along the row, `R = ceil(KH / 2)`: the widened columns stay
/// in registers while the window slides by `S`, so that each is loaded and widened once.
#[inline]
#[target_feature(enable = "avx2")]
fn sliding<const KH: usize, const KW: usize, const R: usize, const S: usize, const BIASED: bool>(
    row: Row<'_>,
    c: usize,
    output: &mut [u8],
) {
    let Row { layer, first, .. } = row;
    let channels = layer.out_channels;
    let block = Block::new(layer, c);
    let padding = [layer.zero_point; BLOCK];
    let columns = Columns::<KH>::new(row, c, &padding);
    let mut weights = [[_mm256_setzero_si256(); R]; KW];
    for kx in 0..KW {
        for r in 0..R {
            weights[kx][r] = words(layer.pairs, (kx * R + r) * channels + c);
        }
    }
    let mut x = layer.geometry.origin(1, first.x);
    let mut window = [[_mm256_setzero_si256(); R]; KW];
    for kx in S..KW {
        window[kx] = columns.widened(x);
        x += 1;
    }
    for i in 0..output.len() / channels {
        for kx in 0..KW - S {
            window[kx] = window[kx + S];
        }
        for kx in KW - S..KW {
            window[kx] = columns.widened(x);
            x += 1;
        }
        let mut acc = block.init;
        for kx in 0..KW {
            for r in 0..R {
                acc = _mm256_add_epi32(acc, _mm256_madd_epi16(window[kx][r], weights[kx][r]));
            }
        }
        block.store::<BIASED>(acc, output, i * channels + c);
    }
}
