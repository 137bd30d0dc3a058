#![allow(
    clippy::needless_range_loop,
    reason = "arrays of registers, indexed alike"
)]

use core::arch::x86_64::*;

use super::{Layer, Row, avx2, window_rows};

/// Channels of a block; the last block of a row overlaps the one before.
pub(super) const BLOCK: usize = 16;

/// Whether [`sliding`] takes the layer; AVX2 takes the others.
pub(super) fn takes(layer: &Layer<'_>) -> bool {
    let window = layer.geometry.window;
    layer.out_channels == layer.geometry.channels
        && layer.out_channels >= BLOCK
        && matches!(window.kernel, [3, 3] | [5, 5])
        && matches!(window.stride[1], 1 | 2)
        && window.dilation[1] == 1
}

/// What `row` does for a layer.
pub(super) fn variant(layer: &Layer<'_>) -> &'static str {
    match layer.geometry.window.kernel {
        [3, 3] if takes(layer) => "dw3x3_16c__avx512bw",
        [5, 5] if takes(layer) => "dw5x5_16c__avx512bw",
        _ => avx2::variant(layer),
    }
}

/// Computes as many outputs as fit.
#[target_feature(enable = "avx2,avx512f,avx512bw")]
pub(super) fn row(row: Row<'_>, output: &mut [u8]) {
    if !takes(row.layer) {
        return avx2::row(row, output);
    }
    if row.layer.bias.is_empty() {
        outputs::<false>(row, output);
    } else {
        outputs::<true>(row, output);
    }
}

#[target_feature(enable = "avx2,avx512f,avx512bw")]
fn outputs<const BIASED: bool>(row: Row<'_>, output: &mut [u8]) {
    let channels = row.layer.out_channels;
    let window = row.layer.geometry.window;
    for c in (0..channels).step_by(BLOCK) {
        let c = c.min(channels - BLOCK);
        match (window.kernel, window.stride[1]) {
            ([3, 3], 1) => sliding::<3, 2, 1, BIASED>(row, c, output),
            ([3, 3], _) => sliding::<3, 2, 2, BIASED>(row, c, output),
            (_, 1) => sliding::<5, 3, 1, BIASED>(row, c, output),
            _ => sliding::<5, 3, 2, BIASED>(row, c, output),
        }
    }
}

/// Sixteen channels of a layer's constants.
pub(super) struct Block {
    init: __m512i,
    scale: __m512,
    /// Where the layer has biases.
    bias: __m512,
    zero_point: __m512i,
    ceiling: __m512,
    least: __m128i,
    most: __m128i,
}

impl Block {
    /// `c + 16` is at most the number of channels.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn new(layer: &Layer<'_>, c: usize) -> Self {
        Self {
            init: words(layer.init, c),
            scale: _mm512_castsi512_ps(words(layer.scale, c)),
            bias: _mm512_castsi512_ps(words(layer.bias, c)),
            zero_point: _mm512_set1_epi32(layer.output.zero_point.into()),
            ceiling: _mm512_set1_ps(f32::from(255 - layer.output.zero_point)),
            least: _mm_set1_epi8(layer.output.low as i8),
            most: _mm_set1_epi8(layer.output.high as i8),
        }
    }

    /// Writes sixteen bytes of the output at `at`, from sums of products.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn store<const BIASED: bool>(
        &self,
        products: __m512i,
        output: &mut [u8],
        at: usize,
    ) {
        let sum = _mm512_add_epi32(products, self.init);
        // bounded above before the conversion; below, what overflows is i32::MIN, and ends as 0
        let mut sum = _mm512_cvtepi32_ps(sum);
        if BIASED {
            sum = _mm512_add_ps(sum, self.bias);
        }
        let scaled = _mm512_mul_ps(sum, self.scale);
        let q = _mm512_cvtps_epi32(_mm512_min_ps(scaled, self.ceiling));
        let q = _mm512_max_epi32(_mm512_add_epi32(q, self.zero_point), _mm512_setzero_si512());
        let q = _mm512_cvtusepi32_epi8(q);
        let q = _mm_min_epu8(_mm_max_epu8(q, self.least), self.most);
        if let Some(to) = output.get_mut(at..at + BLOCK) {
            // SAFETY: the slice has 16 writable bytes and the store asks for no alignment.
            unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), q) }
        }
    }
}

/// Sixteen words of a section from `first` on; zeros behind its end.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn words(section: &[[u8; 4]], first: usize) -> __m512i {
    match section.get(first..first + BLOCK) {
        // SAFETY: the slice has 64 readable bytes and the load asks for no alignment.
        Some(words) => unsafe { _mm512_loadu_si512(words.as_ptr().cast()) },
        None => _mm512_setzero_si512(),
    }
}

/// Pairs of taps below each other, widened: what a pair of weights is multiplied with.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw")]
fn pair(even: __m128i, odd: __m128i) -> __m512i {
    _mm512_cvtepu8_epi16(_mm256_set_m128i(
        _mm_unpackhi_epi8(even, odd),
        _mm_unpacklo_epi8(even, odd),
    ))
}

/// A window of `K x K` without dilation along the row, `R = ceil(K / 2)`, as AVX2's: the widened columns
/// stay in registers while the window slides by `S`.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw")]
fn sliding<const K: usize, const R: usize, const S: usize, const BIASED: bool>(
    row: Row<'_>,
    c: usize,
    output: &mut [u8],
) {
    let Row { layer, first, .. } = row;
    let channels = layer.out_channels;
    let block = Block::new(layer, c);
    let padding = [layer.zero_point; BLOCK];
    let rows: [_; K] = window_rows(row, c, &padding);
    let width = layer.geometry.input[1] as i64;
    let column = |x: i64| {
        let inside = (0..width).contains(&x);
        let mut taps = [_mm_set1_epi8(layer.zero_point as i8); K];
        if inside {
            for ky in 0..K {
                let (row, step): (*const u8, usize) = rows[ky];
                // SAFETY: `x` is a column of the input, at which 16 bytes are readable.
                taps[ky] = unsafe { _mm_loadu_si128(row.add(x as usize * step).cast()) };
            }
        }
        let mut pairs = [_mm512_setzero_si512(); R];
        for r in 0..R {
            pairs[r] = if 2 * r + 1 < K {
                pair(taps[2 * r], taps[2 * r + 1])
            } else {
                // one tap: the upper halves are 0
                _mm512_cvtepu8_epi32(taps[2 * r])
            };
        }
        pairs
    };
    let mut weights = [[_mm512_setzero_si512(); R]; K];
    for kx in 0..K {
        for r in 0..R {
            weights[kx][r] = words(layer.pairs, (kx * R + r) * channels + c);
        }
    }
    let mut x = layer.geometry.origin(1, first.x);
    let mut window = [[_mm512_setzero_si512(); R]; K];
    for kx in S..K {
        window[kx] = column(x);
        x += 1;
    }
    for i in 0..output.len() / channels {
        for kx in 0..K - S {
            window[kx] = window[kx + S];
        }
        for kx in K - S..K {
            window[kx] = column(x);
            x += 1;
        }
        let mut acc = _mm512_setzero_si512();
        for kx in 0..K {
            for r in 0..R {
                acc = _mm512_add_epi32(acc, _mm512_madd_epi16(window[kx][r], weights[kx][r]));
            }
        }
        block.store::<BIASED>(acc, output, i * channels + c);
    }
}
