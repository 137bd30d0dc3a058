//! 3 x 3 convolutions with a quarter of the multiplications, exact.
//!
//! Winograd's F(4 x 4, 3 x 3) (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015)
//! makes a tile of 16 outputs from 36 products a channel in place of 144. Its matrices hold fractions, so
//! it is known as inexact. Here every row of `G` is multiplied until it is whole, `G' = diag(1/g) G` with
//! `g = [1/4, -1/6, -1/6, 1/24, 1/24, 1]`, and the factors are put back behind the products as
//! `A' = diag(24 g) A`, whole again. What comes out is `576 S`, of the true sum `S`, modulo `2^32`. As 576
//! is `64 * 9` and 9 has an inverse modulo `2^32`, `S` is read off where `|64 S| < 2^31`, which the packed
//! weights were found to keep ([`Packed::winograd`]). With inputs of 8 bits and weights of 8 bits the
//! transformed ones fit 16 bits (at most 17,340 and 6,272), what `vpmaddwd` takes; sums may wrap.
//!
//! On this instruction set 16-bit products are as fast as 8-bit ones, so all of it is gained but the
//! transforms. Weights are transformed anew in each call, a slice of 16 columns at a time: that is a small
//! part of the time, where keeping them would take eight times their memory.

#![allow(
    clippy::needless_range_loop,
    reason = "arrays of registers, indexed alike"
)]

use core::arch::x86_64::*;

use super::super::finish::Finish;
use super::super::geometry::{SPAN, TILE};
use super::super::packed::Packed;
use super::super::panels::DEPTH;
use super::super::{Job, Rows, Winograd};
use super::wide::{pairs, put, sums};
use super::{LANES, load, load_biases, real};
use crate::vector::Narrow;

/// Products of a tile.
const POINTS: usize = Winograd::POINTS;
/// Outputs of a tile.
const OUTPUTS: usize = TILE * TILE;
/// Columns of a slice of weights.
const SLICE: usize = 2 * LANES;
/// Tiles of a group.
const GROUP: usize = Winograd::GROUP;
/// Channels that are transformed at once.
const CHANNELS: usize = 16;
/// The inverse of 9 modulo `2^32`.
const NINTH: i32 = 954_437_177;

/// Computes the job's part: whole lines of tiles.
///
/// # Safety
/// The CPU must have AVX2, FMA and F16C. `output` must have the bytes of the job's part and `scratch` those
/// of the plan; `input` must have the elements of the geometry, which must be one that
/// `Geometry::is_winograd` takes.
#[target_feature(enable = "avx2,fma,f16c")]
pub(in crate::gemm) unsafe fn run<R: Rows>(
    job: &Job<'_, R>,
    input: &[u8],
    output: &mut [u8],
    scratch: &mut [u8],
    plan: &Winograd,
) {
    let packed = job.packed;
    let geometry = &packed.geometry;
    let (values, rest) = scratch.split_at_mut(POINTS * plan.values);
    let (weights, products) = rest.split_at_mut(POINTS * plan.weights);
    let mut tiles = geometry.tiles(job.part.rows.clone());
    loop {
        let mut block = [[0usize; 3]; Winograd::BLOCK];
        let mut count = 0;
        for (slot, tile) in block[..plan.block].iter_mut().zip(&mut tiles) {
            *slot = tile;
            count += 1;
        }
        let block = &block[..count];
        if block.is_empty() {
            return;
        }
        for (at, tile) in block.iter().enumerate() {
            let places = places(packed, *tile);
            for channel in (0..plan.channels).step_by(CHANNELS) {
                // the last one overlaps the one before and writes the same words twice
                let channel = channel.min(plan.channels - CHANNELS);
                // SAFETY: places are pixels of the input with all channels; `values` has `plan.block`
                // tiles of `channels` words at each point.
                unsafe {
                    let patch = patch(input, &places, channel, packed.input_zero_point);
                    let to = values.as_mut_ptr().add((at * plan.channels + channel) * 2);
                    transform_patch(&patch, to, plan.values);
                }
            }
        }
        for panel in job.panels().map(|index| packed.panels.panel(index)) {
            for column in (0..panel.columns).step_by(SLICE) {
                let from = &packed.group(0)[panel.start + column * DEPTH..];
                // SAFETY: the panel has 16 columns from `column` on; `weights` has a slice at each point.
                unsafe {
                    let groups = plan.channels / DEPTH;
                    transform_slice(from, panel.width, groups, weights, plan.weights);
                }
                let slice = Slice {
                    plan,
                    values,
                    weights,
                    column: panel.column + column,
                    count: (panel.columns - column).min(SLICE),
                };
                let mut first = 0;
                let groups = count.div_ceil(GROUP);
                for group in 0..groups {
                    let last = count * (group + 1) / groups;
                    // SAFETY: `block` holds tiles of the part, whose outputs lie in `output`.
                    unsafe {
                        slice.products(first, last - first, products);
                        let tiles = &block[first..last];
                        match (slice.count == SLICE, packed.columns(0).bias.is_empty()) {
                            (true, true) => {
                                slice.finish::<R, true, false>(job, tiles, products, output)
                            }
                            (true, false) => {
                                slice.finish::<R, true, true>(job, tiles, products, output)
                            }
                            (false, true) => {
                                slice.finish::<R, false, false>(job, tiles, products, output)
                            }
                            (false, false) => {
                                slice.finish::<R, false, true>(job, tiles, products, output)
                            }
                        }
                    }
                    first = last;
                }
            }
        }
    }
}

/// The input pixels under a tile, as offsets of their first channels; `None` in the padding.
fn places(packed: &Packed<'_>, [image, y, x]: [usize; 3]) -> [Option<usize>; POINTS] {
    core::array::from_fn(|point| {
        packed
            .geometry
            .pixel(image, [y, x], [point / SPAN, point % SPAN])
    })
}

/// 16 channels of the pixels under a tile, as words.
///
/// # Safety
/// Every place must have 16 bytes of `input` from `channel` on.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn patch(
    input: &[u8],
    places: &[Option<usize>; POINTS],
    channel: usize,
    zero_point: u8,
) -> [__m256i; POINTS] {
    let mut patch = [_mm256_set1_epi16(i16::from(zero_point)); POINTS];
    for (point, place) in places.iter().enumerate() {
        if let Some(place) = place {
            // SAFETY: the caller's promise.
            let bytes = unsafe { _mm_loadu_si128(input.as_ptr().add(place + channel).cast()) };
            patch[point] = _mm256_cvtepu8_epi16(bytes);
        }
    }
    patch
}

/// `B^T d B`, written as words, `step` bytes from point to point.
///
/// # Safety
/// `to` must be writable for 32 bytes at each of 36 steps.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn transform_patch(patch: &[__m256i; POINTS], to: *mut u8, step: usize) {
    let mut half = [_mm256_setzero_si256(); POINTS];
    for x in 0..SPAN {
        let column = core::array::from_fn(|y| patch[y * SPAN + x]);
        for (y, v) in values(column).into_iter().enumerate() {
            half[y * SPAN + x] = v;
        }
    }
    for y in 0..SPAN {
        let row = core::array::from_fn(|x| half[y * SPAN + x]);
        for (x, v) in values(row).into_iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { _mm256_storeu_si256(to.add((y * SPAN + x) * step).cast(), v) };
        }
    }
}

/// `B^T` times six words.
#[inline]
#[target_feature(enable = "avx2")]
fn values(d: [__m256i; SPAN]) -> [__m256i; SPAN] {
    let (add, sub) = (|a, b| _mm256_add_epi16(a, b), |a, b| _mm256_sub_epi16(a, b));
    let four = |a| _mm256_slli_epi16::<2>(a);
    // 4 a - 5 b + c
    let ends = |a, b, c| add(four(sub(a, b)), sub(c, b));
    let (even, odd) = (sub(d[4], four(d[2])), sub(d[3], four(d[1])));
    let (near, far) = (sub(d[4], d[2]), _mm256_slli_epi16::<1>(sub(d[3], d[1])));
    [
        ends(d[0], d[2], d[4]),
        add(even, odd),
        sub(even, odd),
        add(near, far),
        sub(near, far),
        ends(d[1], d[3], d[5]),
    ]
}

/// `G' w G'^T` of 16 columns of a panel, as [`sums`] takes them at each of 36 points, `step` bytes apart.
///
/// # Safety
/// `from` must have 64 bytes at each of `9 * groups` steps of `4 * width` bytes, `to` `128 * groups` at
/// each of 36 points.
#[target_feature(enable = "avx2")]
unsafe fn transform_slice(from: &[u8], width: usize, groups: usize, to: &mut [u8], step: usize) {
    const TAPS: usize = 9;
    let (from, to) = (from.as_ptr(), to.as_mut_ptr());
    for group in 0..groups {
        for half in 0..2 {
            // columns 0 1 | 2 3 and 4 5 | 6 7 of a half, each with four channels
            let mut parts = [[_mm256_setzero_si256(); POINTS]; 2];
            for (side, part) in parts.iter_mut().enumerate() {
                let mut taps = [_mm256_setzero_si256(); TAPS];
                for (tap, w) in taps.iter_mut().enumerate() {
                    let at = (tap * groups + group) * width * DEPTH + half * 32 + side * 16;
                    // SAFETY: the caller's promise.
                    *w = unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(from.add(at).cast())) };
                }
                let mut tall = [[_mm256_setzero_si256(); 3]; SPAN];
                for x in 0..3 {
                    for (y, v) in filter([taps[x], taps[3 + x], taps[6 + x]])
                        .into_iter()
                        .enumerate()
                    {
                        tall[y][x] = v;
                    }
                }
                for y in 0..SPAN {
                    for (x, v) in filter(tall[y]).into_iter().enumerate() {
                        part[y * SPAN + x] = v;
                    }
                }
            }
            for point in 0..POINTS {
                let [first, second] = pairs(parts[0][point], parts[1][point]);
                let at = point * step + group * SLICE * DEPTH * 2 + half * 32;
                // SAFETY: the caller's promise.
                unsafe {
                    _mm256_storeu_si256(to.add(at).cast(), first);
                    _mm256_storeu_si256(to.add(at + 64).cast(), second);
                }
            }
        }
    }
}

/// `G'` times three words.
#[inline]
#[target_feature(enable = "avx2")]
fn filter([a, b, c]: [__m256i; 3]) -> [__m256i; SPAN] {
    let (add, sub) = (|a, b| _mm256_add_epi16(a, b), |a, b| _mm256_sub_epi16(a, b));
    let (sum, weighted) = (add(a, c), add(a, _mm256_slli_epi16::<2>(c)));
    let twice = add(b, b);
    [
        a,
        add(sum, b),
        sub(sum, b),
        add(weighted, twice),
        sub(weighted, twice),
        c,
    ]
}

/// Transformed values and a transformed slice of weights.
struct Slice<'a> {
    plan: &'a Winograd,
    values: &'a [u8],
    weights: &'a [u8],
    /// Its first column.
    column: usize,
    /// Columns that exist.
    count: usize,
}

impl Slice<'_> {
    /// The products of `count` tiles from `first` on, summed over the channels: `[36][GROUP][16]` as `i32`.
    ///
    /// # Safety
    /// The values of these tiles must be there, `count` at most [`GROUP`], and `products` as planned.
    #[target_feature(enable = "avx2")]
    unsafe fn products(&self, first: usize, count: usize, products: &mut [u8]) {
        let channels = self.plan.channels;
        let depth = channels / DEPTH;
        for point in 0..POINTS {
            let a = self.values[point * self.plan.values + first * channels * 2..].as_ptr();
            let b = self.weights[point * self.plan.weights..].as_ptr();
            let to = products[point * GROUP * SLICE * 4..].as_mut_ptr();
            // SAFETY: the caller's promise.
            unsafe {
                match count {
                    1 => point_sums::<1>(a, channels * 2, b, depth, to),
                    2 => point_sums::<2>(a, channels * 2, b, depth, to),
                    3 => point_sums::<3>(a, channels * 2, b, depth, to),
                    4 => point_sums::<4>(a, channels * 2, b, depth, to),
                    5 => point_sums::<5>(a, channels * 2, b, depth, to),
                    _ => point_sums::<6>(a, channels * 2, b, depth, to),
                }
            }
        }
    }

    /// `A'^T p A'` of each tile, brought back to the true sums and requantized to the outputs.
    ///
    /// # Safety
    /// `products` must hold the tiles' products, `output` the job's part; `WHOLE` says whether all 16 columns
    /// exist, `BIASED` whether the columns have biases.
    #[target_feature(enable = "avx2")]
    unsafe fn finish<R, const WHOLE: bool, const BIASED: bool>(
        &self,
        job: &Job<'_, R>,
        tiles: &[[usize; 3]],
        products: &[u8],
        output: &mut [u8],
    ) {
        let packed = job.packed;
        let geometry = &packed.geometry;
        let Finish::Requantize {
            zero_point,
            low,
            high,
        } = job.finish
        else {
            return;
        };
        let narrow = Narrow::new(zero_point, low, high);
        let (columns, at) = (packed.columns(0), self.column * 4);
        // SAFETY: column sections are as wide as the padded panels.
        let (init, scale): ([__m256i; 2], [__m256i; 2]) =
            unsafe { (load(columns.init, at), load(columns.scale, at)) };
        // SAFETY: as above.
        let bias = unsafe { load_biases::<2, BIASED>(columns.bias.get(at..).unwrap_or_default()) };
        for (index, tile) in tiles.iter().enumerate() {
            let mut rounded = [[_mm256_setzero_si256(); OUTPUTS]; 2];
            for v in 0..2 {
                let from = products[(index * SLICE + v * LANES) * 4..].as_ptr();
                // SAFETY: the caller's promise.
                let sums = unsafe { outputs(from, GROUP * SLICE * 4) };
                for (to, sum) in rounded[v].iter_mut().zip(sums) {
                    let acc = _mm256_add_epi32(sum, init[v]);
                    let x = real::<BIASED>(acc, bias[v]);
                    *to = narrow.round(_mm256_mul_ps(x, _mm256_castsi256_ps(scale[v])));
                }
            }
            let [lines, width] = geometry.tile_extent(*tile);
            for y in 0..lines {
                for x in (0..TILE).step_by(2) {
                    let of = |x: usize, v: usize| rounded[v][y * TILE + x];
                    let bytes = narrow.bytes([of(x, 0), of(x, 1), of(x + 1, 0), of(x + 1, 1)]);
                    let pair = [
                        _mm256_castsi256_si128(bytes),
                        _mm256_extracti128_si256::<1>(bytes),
                    ];
                    for (next, bytes) in pair.into_iter().enumerate() {
                        if x + next < width {
                            let row = geometry.tile_row(*tile, [y, x + next]);
                            let to = &mut output[job.output(row, 0, self.column)..][..self.count];
                            if WHOLE {
                                // SAFETY: the slice has `count` bytes: 16.
                                unsafe { put::<2>(bytes, to.as_mut_ptr()) };
                            } else {
                                let mut all = [0; SLICE];
                                // SAFETY: the array has 16 bytes.
                                unsafe { put::<2>(bytes, all.as_mut_ptr()) };
                                to.copy_from_slice(&all[..self.count]);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// One point of a group of tiles.
///
/// # Safety
/// As [`sums`]; `to` must be writable for `64 * MR` bytes.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn point_sums<const MR: usize>(
    a: *const u8,
    pitch: usize,
    b: *const u8,
    depth: usize,
    to: *mut u8,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let acc = sums::<MR, 2>(a, pitch, b, depth, [_mm256_setzero_si256(); 2]);
        for (i, acc) in acc.as_flattened().iter().enumerate() {
            _mm256_storeu_si256(to.add(i * 32).cast(), *acc);
        }
    }
}

/// The 16 true sums of a tile, eight columns each.
///
/// # Safety
/// `from` must have 32 bytes at each of 36 steps.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn outputs(from: *const u8, step: usize) -> [__m256i; OUTPUTS] {
    let mut half = [[_mm256_setzero_si256(); SPAN]; TILE];
    for x in 0..SPAN {
        let mut column = [_mm256_setzero_si256(); SPAN];
        for (y, v) in column.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *v = unsafe { _mm256_loadu_si256(from.add((y * SPAN + x) * step).cast()) };
        }
        for (y, v) in reduced(column).into_iter().enumerate() {
            half[y][x] = v;
        }
    }
    let ninth = _mm256_set1_epi32(NINTH);
    let mut sums = [_mm256_setzero_si256(); OUTPUTS];
    for y in 0..TILE {
        for (x, v) in reduced(half[y]).into_iter().enumerate() {
            sums[y * TILE + x] = _mm256_srai_epi32::<6>(_mm256_mullo_epi32(v, ninth));
        }
    }
    sums
}

/// `A'^T` times six sums.
#[inline]
#[target_feature(enable = "avx2")]
fn reduced(p: [__m256i; SPAN]) -> [__m256i; TILE] {
    let (add, sub) = (|a, b| _mm256_add_epi32(a, b), |a, b| _mm256_sub_epi32(a, b));
    let (two, four) = (|a| _mm256_slli_epi32::<1>(a), |a| _mm256_slli_epi32::<2>(a));
    let (t, d) = (add(p[1], p[2]), four(sub(p[1], p[2])));
    let (u, e) = (add(p[3], p[4]), two(sub(p[3], p[4])));
    let t = four(t);
    // 6 p0 = 2 (p0 + 2 p0), 24 p5 = 8 (p5 + 2 p5)
    let six = two(add(p[0], two(p[0])));
    let twentyfour = _mm256_slli_epi32::<3>(add(p[5], two(p[5])));
    [
        add(sub(six, t), u),
        sub(e, d),
        sub(four(u), t),
        add(sub(four(e), d), twentyfour),
    ]
}
