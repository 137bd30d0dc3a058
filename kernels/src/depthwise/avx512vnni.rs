#![allow(
    clippy::needless_range_loop,
    reason = "arrays of registers, indexed alike"
)]

use core::arch::x86_64::*;

use super::avx512bw::{self, BLOCK, Block, words};
use super::{Layer, Row, window_rows};

/// Whether [`sweep`] takes the layer; the level below takes the others.
pub(super) fn takes(layer: &Layer<'_>) -> bool {
    layer.narrow
        && layer.out_channels == layer.geometry.channels
        && layer.out_channels >= BLOCK
        && matches!(layer.geometry.window.kernel, [3, 3] | [5, 5])
}

/// What `row` does for a layer.
pub(super) fn variant(layer: &Layer<'_>) -> &'static str {
    match layer.geometry.window.kernel {
        [3, 3] if takes(layer) => "dw3x3_16c__avx512vnni",
        [5, 5] if takes(layer) => "dw5x5_16c__avx512vnni",
        _ => avx512bw::variant(layer),
    }
}

/// Computes as many outputs as fit.
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vnni")]
pub(super) fn row(row: Row<'_>, output: &mut [u8]) {
    if !takes(row.layer) {
        return avx512bw::row(row, output);
    }
    let channels = row.layer.out_channels;
    for c in (0..channels).step_by(BLOCK) {
        let c = c.min(channels - BLOCK);
        let kernel = row.layer.geometry.window.kernel;
        match (kernel, row.layer.bias.is_empty()) {
            ([3, 3], true) => sweep::<3, false>(row, c, output),
            ([3, 3], false) => sweep::<3, true>(row, c, output),
            (_, true) => sweep::<5, false>(row, c, output),
            (_, false) => sweep::<5, true>(row, c, output),
        }
    }
}

/// Sixteen channels of a row, `vpdpbusd` as oneDNN's fast depthwise: sixteen inputs are broadcast to the
/// four 128-bit lanes, and of the four channels in a dword, lane `l` has a weight for the one at `l`.
/// So each dword sums one channel, and one permutation at the end brings them in order.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vnni")]
fn sweep<const K: usize, const BIASED: bool>(row: Row<'_>, c: usize, output: &mut [u8]) {
    let Row { layer, first, .. } = row;
    let (channels, geometry) = (layer.out_channels, layer.geometry);
    // a transposition of 4 x 4 dwords, its own inverse
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    let lane = _mm512_setr_epi32(0, 0, 0, 0, 8, 8, 8, 8, 16, 16, 16, 16, 24, 24, 24, 24);
    let low = _mm512_set1_epi32(0xFF);
    let mut weights = [[_mm512_setzero_si512(); K]; K];
    for (ky, row) in weights.iter_mut().enumerate() {
        for (kx, weight) in row.iter_mut().enumerate() {
            let pairs = words(
                layer.pairs,
                (kx * layer.pair_rows() + ky / 2) * channels + c,
            );
            let pairs = _mm512_permutexvar_epi32(order, pairs);
            let half = if ky.is_multiple_of(2) {
                pairs
            } else {
                _mm512_srli_epi32::<16>(pairs)
            };
            *weight = _mm512_sllv_epi32(_mm512_and_si512(half, low), lane);
        }
    }
    let block = Block::new(layer, c);
    let padding = [layer.zero_point; BLOCK];
    let rows: [_; K] = window_rows(row, c, &padding);
    let columns = 0..geometry.input[1] as i64;
    let mut x = geometry.origin(1, first.x);
    for i in 0..output.len() / channels {
        let mut acc = _mm512_setzero_si512();
        for kx in 0..K {
            let column = x + (kx * geometry.window.dilation[1]) as i64;
            let inside = columns.contains(&column);
            for ky in 0..K {
                let (row, step) = rows[ky];
                let from = if inside {
                    row.wrapping_add(column as usize * step)
                } else {
                    padding.as_ptr()
                };
                // SAFETY: 16 bytes are readable in the padding and in each column of the input.
                let taps = unsafe { _mm_loadu_si128(from.cast()) };
                acc = _mm512_dpbusd_epi32(acc, _mm512_broadcast_i32x4(taps), weights[ky][kx]);
            }
        }
        x += geometry.window.stride[1] as i64;
        let sum = _mm512_permutexvar_epi32(order, acc);
        block.store::<BIASED>(sum, output, i * channels + c);
    }
}
