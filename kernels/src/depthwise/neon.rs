#![allow(
    clippy::needless_range_loop,
    reason = "arrays of registers, indexed alike"
)]

use core::arch::aarch64::*;
use core::marker::PhantomData;

use super::{Layer, Row, reference, window_rows};
use crate::neon::{Narrow, round};

/// Channels of a block; the last block of a row overlaps the one before.
const BLOCK: usize = 8;

/// What `row` does for a layer.
pub(super) fn variant(layer: &Layer<'_>) -> &'static str {
    let window = layer.geometry.window;
    if layer.out_channels != layer.geometry.channels || layer.out_channels < BLOCK {
        return "dw_1c__scalar";
    }
    match (window.kernel, window.stride[1], window.dilation[1]) {
        ([3, 3], 1 | 2, 1) => "dw3x3_8c__neon",
        ([5, 5], 1 | 2, 1) => "dw5x5_8c__neon",
        _ => "dw_8c__neon",
    }
}

/// Computes as many outputs as fit.
#[target_feature(enable = "neon")]
pub(super) fn row(row: Row<'_>, output: &mut [u8]) {
    if row.layer.bias.is_empty() {
        outputs::<false>(row, output);
    } else {
        outputs::<true>(row, output);
    }
}

#[target_feature(enable = "neon")]
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
            ([3, 3], 1, 1) => sliding::<3, 1, BIASED>(row, c, output),
            ([3, 3], 2, 1) => sliding::<3, 2, BIASED>(row, c, output),
            ([5, 5], 1, 1) => sliding::<5, 1, BIASED>(row, c, output),
            ([5, 5], 2, 1) => sliding::<5, 2, BIASED>(row, c, output),
            _ => tap_by_tap::<BIASED>(row, c, output),
        }
    }
}

/// Sums of eight channels.
type Sums = [int32x4_t; 2];

/// Eight channels of a layer's constants.
struct Block {
    init: Sums,
    scale: [float32x4_t; 2],
    /// Where the layer has biases.
    bias: [float32x4_t; 2],
    narrow: Narrow,
}

impl Block {
    /// `c + 8` is at most the number of channels.
    #[inline]
    #[target_feature(enable = "neon")]
    fn new(layer: &Layer<'_>, c: usize) -> Self {
        Self {
            init: words(layer.init, c).map(|v| vreinterpretq_s32_u8(v)),
            scale: words(layer.scale, c).map(|v| vreinterpretq_f32_u8(v)),
            bias: words(layer.bias, c).map(|v| vreinterpretq_f32_u8(v)),
            narrow: Narrow::new(layer.output.zero_point, layer.output.low, layer.output.high),
        }
    }

    /// Writes eight bytes of the output at `at`.
    #[inline]
    #[target_feature(enable = "neon")]
    fn store<const BIASED: bool>(&self, acc: Sums, output: &mut [u8], at: usize) {
        let mut rounded = acc;
        for i in 0..2 {
            let mut sum = vcvtq_f32_s32(acc[i]);
            if BIASED {
                sum = vaddq_f32(sum, self.bias[i]);
            }
            rounded[i] = round(vmulq_f32(sum, self.scale[i]));
        }
        let bytes = self.narrow.eight(rounded);
        if let Some(to) = output.get_mut(at..at + BLOCK) {
            // SAFETY: the slice has eight writable bytes and the store asks for no alignment.
            unsafe { vst1_u8(to.as_mut_ptr(), bytes) }
        }
    }
}

/// Eight words of a section from `first` on; zeros behind its end.
#[inline]
#[target_feature(enable = "neon")]
fn words(section: &[[u8; 4]], first: usize) -> [uint8x16_t; 2] {
    match section.get(first..first + BLOCK) {
        // SAFETY: the slice has 32 readable bytes and the loads ask for no alignment.
        Some(words) => unsafe {
            let from: *const u8 = words.as_ptr().cast();
            [vld1q_u8(from), vld1q_u8(from.add(16))]
        },
        None => [vdupq_n_u8(0); 2],
    }
}

/// The weights of eight channels in two rows that lie below each other, from their pairs.
#[inline]
#[target_feature(enable = "neon")]
fn weights(section: &[[u8; 4]], first: usize) -> [int16x8_t; 2] {
    let [a, b] = words(section, first).map(|v| vreinterpretq_s16_u8(v));
    [vuzp1q_s16(a, b), vuzp2q_s16(a, b)]
}

/// Eight bytes of an input at `at`.
#[inline]
#[target_feature(enable = "neon")]
fn bytes(from: &[u8], at: usize) -> uint8x8_t {
    match from.get(at..at + BLOCK) {
        // SAFETY: the slice has eight readable bytes and the load asks for no alignment.
        Some(bytes) => unsafe { vld1_u8(bytes.as_ptr()) },
        None => vdup_n_u8(0),
    }
}

/// Bytes as what weights are multiplied with.
#[inline]
#[target_feature(enable = "neon")]
fn widened(taps: uint8x8_t) -> int16x8_t {
    vreinterpretq_s16_u16(vmovl_u8(taps))
}

/// One tap more: products are at most `255 * 255`.
#[inline]
#[target_feature(enable = "neon")]
fn multiply_add(acc: Sums, taps: int16x8_t, weights: int16x8_t) -> Sums {
    [
        vmlal_s16(acc[0], vget_low_s16(taps), vget_low_s16(weights)),
        vmlal_high_s16(acc[1], taps, weights),
    ]
}

/// Any window, one output after the other.
#[inline]
#[target_feature(enable = "neon")]
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
    let padding = vdup_n_u8(layer.zero_point);
    let ([kh, kw], channels) = (layer.geometry.window.kernel, layer.out_channels);
    for i in 0..output.len() / channels {
        let mut at = first;
        at.x += i;
        let mut acc = block.init;
        for kx in 0..kw {
            for ky in 0..kh {
                let taps = match layer.cell(at, [ky, kx]) {
                    Some(cell) => bytes(input, cell + c),
                    None => padding,
                };
                let pair = (kx * layer.pair_rows() + ky / 2) * channels + c;
                acc = multiply_add(acc, widened(taps), weights(layer.pairs, pair)[ky % 2]);
            }
        }
        block.store::<BIASED>(acc, output, i * channels + c);
    }
}

/// Eight channels of the input rows that a window covers, read column by column.
struct Columns<'a, const K: usize> {
    /// As [`window_rows`] gives them.
    rows: [(*const u8, usize); K],
    width: i64,
    padding: uint8x8_t,
    bytes: PhantomData<&'a [u8]>,
}

impl<'a, const K: usize> Columns<'a, K> {
    #[inline]
    #[target_feature(enable = "neon")]
    fn new(row: Row<'a>, c: usize, padding: &'a [u8; BLOCK]) -> Self {
        Self {
            rows: window_rows(row, c, padding),
            width: row.layer.geometry.input[1] as i64,
            padding: bytes(padding, 0),
            bytes: PhantomData,
        }
    }

    /// Column `x`, widened.
    #[inline]
    #[target_feature(enable = "neon")]
    fn widened(&self, x: i64) -> [int16x8_t; K] {
        let mut taps = [widened(self.padding); K];
        if (0..self.width).contains(&x) {
            for ky in 0..K {
                let (row, step) = self.rows[ky];
                // SAFETY: `x` is a column of the input, at which eight bytes are readable; `'a` keeps them.
                taps[ky] = widened(unsafe { vld1_u8(row.add(x as usize * step)) });
            }
        }
        taps
    }
}

/// A window of `K x K` without dilation along the row: the widened columns stay in registers while the
/// window slides by `S`, so that each is loaded and widened once.
#[inline]
#[target_feature(enable = "neon")]
fn sliding<const K: usize, const S: usize, const BIASED: bool>(
    row: Row<'_>,
    c: usize,
    output: &mut [u8],
) {
    let Row { layer, first, .. } = row;
    let channels = layer.out_channels;
    let block = Block::new(layer, c);
    let padding = [layer.zero_point; BLOCK];
    let columns = Columns::<K>::new(row, c, &padding);
    let mut taps = [[vdupq_n_s16(0); K]; K];
    for kx in 0..K {
        for ky in 0..K {
            let pair = (kx * layer.pair_rows() + ky / 2) * channels + c;
            taps[kx][ky] = weights(layer.pairs, pair)[ky % 2];
        }
    }
    let mut x = layer.geometry.origin(1, first.x);
    let mut window = [[vdupq_n_s16(0); K]; K];
    for kx in S..K {
        window[kx] = columns.widened(x);
        x += 1;
    }
    for i in 0..output.len() / channels {
        for kx in 0..K - S {
            window[kx] = window[kx + S];
        }
        for kx in K - S..K {
            window[kx] = columns.widened(x);
            x += 1;
        }
        let mut acc = block.init;
        for kx in 0..K {
            for ky in 0..K {
                acc = multiply_add(acc, window[kx][ky], taps[kx][ky]);
            }
        }
        block.store::<BIASED>(acc, output, i * channels + c);
    }
}
