//! Sums in `f32`: exact as long as none can reach 2^24, which packing proves for a layer.
//!
//! A fused multiply-add does what a multiply and an add of integers do, on as many lanes, and asks for no
//! pairs of taps: no lane is wasted behind an odd row of taps, and the sum needs no conversion before it is
//! scaled. The inputs of a few rows of outputs are widened once, with their padding, so that the taps of a
//! tile lie at fixed places.
#![allow(
    clippy::needless_range_loop,
    reason = "arrays of registers, indexed alike"
)]

use core::arch::x86_64::*;
use core::ops::Range;

use qconfig_core::kernel::Window;

use super::super::Layer;
use super::{BLOCK, words};
use crate::spatial::Pixel;
use crate::vector::Narrow;

/// Outputs of a row of a wide tile: the widths of images in use are multiples of it.
const WIDE: usize = 7;
/// Input positions of a patch: their widened channels, and a cache line for each input and output, fit a
/// first-level cache.
const ROOM: usize = 328;
/// Blocks of channels whose inputs are widened together.
const BLOCKS: usize = 2;
/// Most taps of a window.
const TAPS: usize = 49;

/// What [`outputs`] is called.
pub(in super::super) const VARIANT: &str = "dw_7x8c_f32__avx2";

/// Whether [`outputs`] takes the layer.
pub(in super::super) fn takes(layer: &Layer<'_>) -> bool {
    let window = layer.geometry.window;
    let [height, width] = [0, 1].map(|axis| span(&window, axis));
    layer.is_single
        && layer.out_channels == layer.geometry.channels
        && layer.out_channels >= BLOCK
        && matches!(window.stride[1], 1 | 2)
        && window.kernel[0] * window.kernel[1] <= TAPS
        && (width + (WIDE - 1) * window.stride[1]).saturating_mul(height) <= ROOM
}

/// Inputs from the first tap of a window to its last.
fn span(window: &Window, axis: usize) -> usize {
    (window.kernel[axis] - 1) * window.dilation[axis] + 1
}

/// Computes a range of output positions of a layer that this form [`takes`].
#[target_feature(enable = "avx2,fma")]
pub(in super::super) fn outputs(
    layer: &Layer<'_>,
    input: &[u8],
    units: Range<usize>,
    output: &mut [u8],
) {
    let window = &layer.geometry.window;
    let [down, stride] = window.stride;
    let ([height, width], channels) = (layer.geometry.output, layer.out_channels);
    // tall patches, whose rows share more inputs than their columns do
    let fits = |count: usize| (count - 1) * stride + span(window, 1);
    let wide = fits(2 * WIDE) * (span(window, 0) + down) <= ROOM;
    let chunk = if stride == 1 && wide { 2 * WIDE } else { WIDE };
    let columns = fits(width.clamp(1, chunk));
    let most = (ROOM / columns).saturating_sub(span(window, 0)) / down + 1;
    let mut workspace = Workspace {
        cells: [[_mm256_setzero_ps(); ROOM]; BLOCKS],
        taps: [(0, _mm256_setzero_ps()); TAPS],
    };
    let mut unit = units.start;
    while let Some(first) = layer.geometry.walk(unit..units.end).next() {
        // whole rows of an image, or part of a row
        let whole = if first.x == 0 {
            ((units.end - unit) / width).min(height - first.y)
        } else {
            0
        };
        let (rows, count) = match whole {
            0 => (1, (width - first.x).min(units.end - unit)),
            rows => (rows.min(most), width),
        };
        let start = (unit - units.start) * channels;
        let output = output.get_mut(start..).unwrap_or_default();
        for x in (0..count).step_by(chunk) {
            let output = output.get_mut(x * channels..).unwrap_or_default();
            let mut first = first;
            first.x += x;
            let patch = Patch {
                layer,
                input,
                first,
                rows,
                count: (count - x).min(chunk),
            };
            match (stride, layer.bias.is_empty()) {
                (1, true) => patch.compute::<1, false>(&mut workspace, output),
                (1, false) => patch.compute::<1, true>(&mut workspace, output),
                (_, true) => patch.compute::<2, false>(&mut workspace, output),
                (_, false) => patch.compute::<2, true>(&mut workspace, output),
            }
        }
        unit += rows * count;
    }
}

/// What a patch is computed in.
struct Workspace {
    /// Of some blocks of eight channels, the widened inputs of the patch, row by row.
    cells: [[__m256; ROOM]; BLOCKS],
    /// How many cells a tap lies behind the first of its window, and its weights in a block.
    taps: [(usize, __m256); TAPS],
}

/// Some rows of as many outputs each.
struct Patch<'a> {
    layer: &'a Layer<'a>,
    input: &'a [u8],
    first: Pixel,
    rows: usize,
    count: usize,
}

impl Patch<'_> {
    /// All channels.
    #[target_feature(enable = "avx2,fma")]
    fn compute<const S: usize, const BIASED: bool>(
        &self,
        workspace: &mut Workspace,
        output: &mut [u8],
    ) {
        let (geometry, pitch) = (&self.layer.geometry, self.layer.out_channels);
        let window = &geometry.window;
        let ([kh, kw], down) = (window.kernel, window.stride[0]);
        let columns = (self.count - 1) * S + span(window, 1);
        let rows = (self.rows - 1) * down + span(window, 0);
        let line = geometry.output[1] * pitch;
        let last = (self.rows - 1) * line + self.count * pitch;
        if rows * columns > ROOM || kh * kw > TAPS || output.len() < last {
            return;
        }
        let Workspace { cells, taps } = workspace;
        let mut tap = taps.iter_mut();
        for ky in 0..kh {
            for (kx, tap) in (0..kw).zip(&mut tap) {
                tap.0 = ky * window.dilation[0] * columns + kx * window.dilation[1];
            }
        }
        for start in (0..pitch).step_by(BLOCKS * BLOCK) {
            // the last blocks overlap those before
            let at = |block: usize| (start + block * BLOCK).min(pitch - BLOCK);
            let blocks = (pitch - start).div_ceil(BLOCK).min(BLOCKS);
            // SAFETY: all rows and columns were seen to fit; no block ends behind the channels.
            unsafe {
                if pitch - start >= BLOCKS * BLOCK {
                    self.widen::<BLOCKS>([0, BLOCK].map(|c| start + c), columns, rows, cells);
                } else {
                    for (block, cells) in cells.iter_mut().enumerate().take(blocks) {
                        self.widen([at(block)], columns, rows, core::array::from_mut(cells));
                    }
                }
            }
            for (block, cells) in cells.iter().enumerate().take(blocks) {
                let c = at(block);
                let mut tap = taps.iter_mut();
                for ky in 0..kh {
                    for (kx, tap) in (0..kw).zip(&mut tap) {
                        tap.1 = weights(self.layer, [ky, kx], c);
                    }
                }
                let block = Block::new(self.layer, c, &taps[..kh * kw]);
                let (cells, to) = (cells.as_ptr(), output.as_mut_ptr().wrapping_add(c));
                for row in (0..self.rows).step_by(2) {
                    let rows = [row, row + 1];
                    let cells = rows.map(|row| cells.wrapping_add(row * down * columns));
                    let to = rows.map(|row| to.wrapping_add(row * line));
                    // SAFETY: the rows and columns of all windows were widened, and the output was seen to
                    // have the patch's.
                    unsafe {
                        if row + 1 < self.rows {
                            block.rows::<S, 2, BIASED>(cells, to, pitch, self.count);
                        } else {
                            block.rows::<S, 1, BIASED>([cells[0]], [to[0]], pitch, self.count);
                        }
                    }
                }
            }
        }
    }

    /// Widens blocks of eight channels of the inputs of all outputs, `columns` to a row, padding included.
    ///
    /// # Safety
    /// `rows * columns` is at most [`ROOM`], and each of `c + 8` at most the number of channels.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn widen<const N: usize>(
        &self,
        c: [usize; N],
        columns: usize,
        rows: usize,
        cells: &mut [[__m256; ROOM]; N],
    ) {
        let geometry = &self.layer.geometry;
        let ([height, width], channels) = (geometry.input, geometry.channels);
        let padding = _mm256_set1_ps(self.layer.zero_point.into());
        let (y, x) = (
            geometry.origin(0, self.first.y),
            geometry.origin(1, self.first.x),
        );
        // columns of the image among those of a row
        let from = (-x).clamp(0, columns as i64) as usize;
        let to = (width as i64 - x).clamp(from as i64, columns as i64) as usize;
        for r in 0..rows {
            let y = y + r as i64;
            let inside = 0 <= y && y < height as i64 && from < to;
            let bytes = if inside {
                let row = (self.first.image * height + y as usize) * width;
                let at = (row as i64 + x + from as i64) as usize * channels;
                self.input.get(at..at + (to - from) * channels)
            } else {
                None
            };
            let (from, to) = if bytes.is_some() { (from, to) } else { (0, 0) };
            for block in 0..N {
                let cells = &mut cells[block][r * columns..][..columns];
                for cell in &mut cells[..from] {
                    *cell = padding;
                }
                for cell in &mut cells[to..] {
                    *cell = padding;
                }
            }
            let mut pixel = bytes.unwrap_or_default().as_ptr();
            for i in r * columns + from..r * columns + to {
                for block in 0..N {
                    // SAFETY: the pixel is one of `to - from`, whose channels go on for eight bytes at least;
                    // the caller saw that all rows and columns fit the cells.
                    unsafe {
                        let bytes = _mm_loadl_epi64(pixel.add(c[block]).cast());
                        let cell = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
                        *cells[block].as_mut_ptr().add(i) = cell;
                    }
                }
                pixel = pixel.wrapping_add(channels);
            }
        }
    }
}

/// Eight channels' weights of a tap, from `c` on.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn weights(layer: &Layer<'_>, [ky, kx]: [usize; 2], c: usize) -> __m256 {
    let pair = words(
        layer.pairs,
        (kx * layer.pair_rows() + ky / 2) * layer.out_channels + c,
    );
    let upper = if ky % 2 == 0 {
        _mm256_slli_epi32::<16>(pair)
    } else {
        pair
    };
    _mm256_cvtepi32_ps(_mm256_srai_epi32::<16>(upper))
}

/// Eight channels: their weights, and what their sums start and end with.
struct Block<'a> {
    /// As in [`Workspace`].
    taps: &'a [(usize, __m256)],
    init: __m256,
    scale: __m256,
    /// Where the layer has biases.
    bias: __m256,
    narrow: Narrow,
}

impl<'a> Block<'a> {
    /// `c + 8` is at most the number of channels.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn new(layer: &Layer<'_>, c: usize, taps: &'a [(usize, __m256)]) -> Self {
        Self {
            taps,
            init: _mm256_cvtepi32_ps(words(layer.init, c)),
            scale: _mm256_castsi256_ps(words(layer.scale, c)),
            bias: _mm256_castsi256_ps(words(layer.bias, c)),
            narrow: Narrow::new(layer.output.zero_point, layer.output.low, layer.output.high),
        }
    }

    /// `R` rows of `T` neighbouring outputs: `cells` are the first taps of the rows, `to` the outputs, which
    /// lie `pitch` bytes apart.
    ///
    /// # Safety
    /// All taps of all outputs must be there behind the first ones, and eight bytes for each output.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn tile<const S: usize, const R: usize, const T: usize, const BIASED: bool>(
        &self,
        cells: [*const __m256; R],
        to: [*mut u8; R],
        pitch: usize,
    ) {
        let mut acc = [[self.init; T]; R];
        for (tap, weight) in self.taps {
            for r in 0..R {
                let cell = cells[r].wrapping_add(*tap);
                for t in 0..T {
                    // SAFETY: the caller's promise.
                    let value = unsafe { *cell.add(t * S) };
                    acc[r][t] = _mm256_fmadd_ps(value, *weight, acc[r][t]);
                }
            }
        }
        for r in 0..R {
            for four in (0..T).step_by(4) {
                let mut rounded = [_mm256_setzero_si256(); 4];
                for i in 0..4 {
                    let mut sum = acc[r][(four + i).min(T - 1)];
                    if BIASED {
                        sum = _mm256_add_ps(sum, self.bias);
                    }
                    rounded[i] = self.narrow.round(_mm256_mul_ps(sum, self.scale));
                }
                let bytes = self.narrow.bytes(rounded);
                let halves = [
                    _mm256_castsi256_si128(bytes),
                    _mm256_extracti128_si256::<1>(bytes),
                ];
                for i in 0..4.min(T - four) {
                    let to = to[r].wrapping_add((four + i) * pitch);
                    // SAFETY: the caller's promise.
                    unsafe {
                        if i % 2 == 0 {
                            _mm_storel_epi64(to.cast(), halves[i / 2]);
                        } else {
                            _mm_storeh_pd(to.cast(), _mm_castsi128_pd(halves[i / 2]));
                        }
                    }
                }
            }
        }
    }

    /// `R` rows of `count` outputs.
    ///
    /// # Safety
    /// As [`Block::tile`].
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn rows<const S: usize, const R: usize, const BIASED: bool>(
        &self,
        cells: [*const __m256; R],
        to: [*mut u8; R],
        pitch: usize,
        count: usize,
    ) {
        let mut x = 0;
        while x < count {
            let cells = cells.map(|cells| cells.wrapping_add(x * S));
            let to = to.map(|to| to.wrapping_add(x * pitch));
            // SAFETY: the caller's promise.
            unsafe {
                x += match count - x {
                    WIDE.. => {
                        self.tile::<S, R, WIDE, BIASED>(cells, to, pitch);
                        WIDE
                    }
                    4.. => {
                        self.tile::<S, R, 4, BIASED>(cells, to, pitch);
                        4
                    }
                    2.. => {
                        self.tile::<S, R, 2, BIASED>(cells, to, pitch);
                        2
                    }
                    _ => {
                        self.tile::<S, R, 1, BIASED>(cells, to, pitch);
                        1
                    }
                }
            }
        }
    }
}
