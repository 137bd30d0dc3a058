//! NEON: what every level shares, and the products of the level without a dot product.
//!
//! Rows are read where they lie if they are whole groups of four; else they are gathered into the block
//! first. A level's sums come out of its loop as 32-bit lanes in order of the columns; the rest is the
//! same for all.
//!
//! The first two levels multiply unsigned numbers: the sign bit of a weight is flipped as it is loaded,
//! which adds 128 to it, and 128 times the sum of the row is taken off at the end. `umull` is then exact
//! in 16 bits (`255 * 255 < 2^16`), and `uadalp` adds pairs of products to 32-bit lanes.

use core::arch::aarch64::*;
use core::ptr;

use super::finish::Finish;
use super::packed::Columns;
use super::panels::{DEPTH, Panel};
use super::{BLOCK, Job, Rows, Scratch, neondot, neoni8mm};
use crate::neon::{Narrow, clamp_f32, round};

/// Columns of a vector.
const LANES: usize = 4;

/// Whose products.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Level {
    /// `umull` and `uadalp`.
    Neon,
    /// `udot`.
    Dot,
    /// `usmmla`, two rows at a time.
    I8mm,
}

impl Level {
    /// Rows of the tallest tile.
    fn tallest(self) -> usize {
        match self {
            Level::Neon => 4,
            Level::Dot | Level::I8mm => 8,
        }
    }

    /// Rows that lie interleaved.
    fn rows(self) -> usize {
        match self {
            Level::Neon | Level::Dot => 1,
            Level::I8mm => neoni8mm::ROWS,
        }
    }
}

/// Computes the job's part.
///
/// # Safety
/// The CPU must have the level. `output` must have the bytes of the job's part, `row` and `block` those of
/// the plan, whose `k` must be the job's.
#[target_feature(enable = "neon")]
pub(super) unsafe fn run<R: Rows>(
    job: &Job<'_, R>,
    output: &mut [u8],
    row: &mut [u8],
    block: &mut [u8],
    plan: &Scratch,
    level: Level,
) {
    let packed = job.packed;
    let (k, depth) = (packed.panels.k, packed.panels.depth());
    let asymmetric = !packed.columns(0).zero_points.is_empty();
    // half of a pair of rows would be of no use
    let level = match level {
        Level::I8mm if job.part.rows.len() == 1 => Level::Dot,
        level => level,
    };
    let mut sums = [0i32; BLOCK];
    let mut table = [ptr::null::<u8>(); BLOCK];
    let mut start = job.part.rows.start;
    while start < job.part.rows.end {
        let rows = (job.part.rows.end - start).min(plan.block);
        for group in 0..packed.geometry.groups {
            let cells = block.chunks_mut(plan.pitch * level.rows());
            for (r, cells) in (0..rows).step_by(level.rows()).zip(cells) {
                if level == Level::I8mm {
                    for i in 0..neoni8mm::ROWS {
                        let a = if r + i < rows {
                            job.rows.row(start + r + i, group, k, row)
                        } else {
                            &[]
                        };
                        if asymmetric {
                            sums[r + i] = sum(a);
                        }
                        neoni8mm::interleave(a, i, depth, cells);
                    }
                    table[r] = cells.as_ptr();
                    continue;
                }
                let lying = job.rows.lying(start + r, group);
                let a = match lying.filter(|a| a.len().is_multiple_of(DEPTH)) {
                    Some(a) => a,
                    None => {
                        let cells = &mut cells[..depth * DEPTH];
                        job.rows.gather(start + r, group, &mut cells[..k]);
                        cells[k..].fill(0);
                        cells
                    }
                };
                sums[r] = sum(a);
                table[r] = a.as_ptr();
            }
            for panel in job.panels().map(|index| packed.panels.panel(index)) {
                let mut from = 0;
                // tiles of nearly the same height
                let steps = rows.div_ceil(level.rows());
                let tiles = rows.div_ceil(level.tallest());
                for tile in 0..tiles {
                    let to = (steps * (tile + 1) / tiles * level.rows()).min(rows);
                    let at = job.output(start + from, group, panel.column) * job.finish.element();
                    let call = Tile {
                        a: &table[from..],
                        sums: &sums[from..],
                        weights: &packed.group(group)[panel.start..],
                        panel,
                        columns: packed.columns(group),
                        depth,
                        finish: job.finish,
                        offset: if level == Level::I8mm { 0 } else { 128 },
                        out: &mut output[at..],
                        out_pitch: packed.geometry.out_channels * job.finish.element(),
                    };
                    // SAFETY: the table points to `depth` groups for each row, or pair of rows, from
                    // `from` to `to`; the panel lies in the weights and the part's outputs in `output`.
                    unsafe { call.run(level, to - from) };
                    from = to;
                }
            }
        }
        start += rows;
    }
}

/// The sum of a row: at most `65_793 * 255`.
#[inline]
#[target_feature(enable = "neon")]
fn sum(row: &[u8]) -> i32 {
    let (cells, rest) = row.as_chunks();
    let mut sums = vdupq_n_u32(0);
    for cell in cells {
        sums = vpadalq_u16(sums, vpaddlq_u8(crate::neon::load(cell)));
    }
    let rest: i32 = rest.iter().map(|x| i32::from(*x)).sum();
    (vaddvq_u32(sums) as i32).wrapping_add(rest)
}

/// Some rows of a block times one panel.
struct Tile<'a> {
    /// Each row's elements; of rows that lie interleaved, at the first.
    a: &'a [*const u8],
    sums: &'a [i32],
    weights: &'a [u8],
    panel: Panel,
    columns: Columns<'a>,
    /// Groups of four.
    depth: usize,
    finish: Finish,
    /// What the level added to each weight.
    offset: i32,
    out: &'a mut [u8],
    out_pitch: usize,
}

/// What a level's loop is handed.
#[derive(Clone, Copy)]
pub(super) struct Products<'a> {
    /// As [`Tile::a`].
    pub(super) a: &'a [*const u8],
    /// The first group of four of the first column.
    pub(super) b: *const u8,
    /// Bytes from one group to the next.
    pub(super) step: usize,
    /// Groups of four.
    pub(super) depth: usize,
}

impl Tile<'_> {
    /// # Safety
    /// The CPU must have the level. `a` must point to `depth` groups for each of `rows` rows (at most
    /// [`Level::tallest`]), or for each pair of them, `weights` have as many for the panel, `out` the
    /// panel's columns in `rows` rows.
    #[target_feature(enable = "neon")]
    unsafe fn run(mut self, level: Level, rows: usize) {
        let vectors = if rows == 1 && level != Level::I8mm {
            4
        } else {
            2
        };
        let mut column = 0;
        while column < self.panel.columns {
            let products = Products {
                a: self.a,
                b: self.weights.as_ptr().wrapping_add(column * DEPTH),
                step: self.panel.width * DEPTH,
                depth: self.depth,
            };
            // SAFETY: the caller's promise; the panel's width is a multiple of 16.
            unsafe {
                match (level, rows) {
                    (Level::Neon, 1) => self.finish(column, &products.sums::<1, 4>()),
                    (Level::Neon, 2) => self.finish(column, &products.sums::<2, 2>()),
                    (Level::Neon, 3) => self.finish(column, &products.sums::<3, 2>()),
                    (Level::Neon, _) => self.finish(column, &products.sums::<4, 2>()),
                    (Level::Dot, 1) => self.finish(column, &neondot::row(products)),
                    (Level::Dot, 2) => self.finish(column, &neondot::sums::<2>(products)),
                    (Level::Dot, 3) => self.finish(column, &neondot::sums::<3>(products)),
                    (Level::Dot, 4) => self.finish(column, &neondot::sums::<4>(products)),
                    (Level::Dot, 5) => self.finish(column, &neondot::sums::<5>(products)),
                    (Level::Dot, 6) => self.finish(column, &neondot::sums::<6>(products)),
                    (Level::Dot, 7) => self.finish(column, &neondot::sums::<7>(products)),
                    (Level::Dot, _) => self.finish(column, &neondot::sums::<8>(products)),
                    (Level::I8mm, 1 | 2) => {
                        self.pairs(column, rows, &neoni8mm::sums::<1>(products))
                    }
                    (Level::I8mm, 3 | 4) => {
                        self.pairs(column, rows, &neoni8mm::sums::<2>(products));
                    }
                    (Level::I8mm, 5 | 6) => {
                        self.pairs(column, rows, &neoni8mm::sums::<3>(products));
                    }
                    (Level::I8mm, _) => self.pairs(column, rows, &neoni8mm::sums::<4>(products)),
                }
            }
            column += LANES * vectors;
        }
    }

    /// As [`Tile::finish`] for rows in pairs.
    ///
    /// # Safety
    /// As [`Tile::finish`], for `rows` rows.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn pairs(&mut self, column: usize, rows: usize, acc: &[[[int32x4_t; 2]; 2]]) {
        let acc = acc.as_flattened();
        // SAFETY: the caller's promise.
        unsafe { self.finish(column, &acc[..rows.min(acc.len())]) };
    }

    /// From sums to the output, `4 * NV` columns of as many rows as `acc` has.
    ///
    /// # Safety
    /// `out` must have the panel's columns in that many rows; `column` is a multiple of `4 * NV` below the
    /// panel's width, which is one as well.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn finish<const NV: usize>(&mut self, column: usize, acc: &[[int32x4_t; NV]]) {
        let at = (self.panel.column + column) * 4;
        let count = (self.panel.columns - column).min(LANES * NV);
        // SAFETY: the caller's promise; column sections are as wide as the padded panels.
        unsafe {
            let mut init: [uint8x16_t; NV] = load(self.columns.init, at);
            let mut offset = [vdupq_n_s32(self.offset); NV];
            if !self.columns.zero_points.is_empty() {
                let zero_points: [uint8x16_t; NV] = load(self.columns.zero_points, at);
                for (offset, zero_point) in offset.iter_mut().zip(zero_points) {
                    *offset = vaddq_s32(*offset, vreinterpretq_s32_u8(zero_point));
                }
            }
            if !matches!(self.finish, Finish::Requantize { .. }) {
                for init in &mut init {
                    let factor = vdupq_n_s32(self.finish.factor());
                    *init = vreinterpretq_u8_s32(vmulq_s32(vreinterpretq_s32_u8(*init), factor));
                }
            }
            let scale: [uint8x16_t; NV] = load(self.columns.scale, at);
            let out = self
                .out
                .as_mut_ptr()
                .wrapping_add(column * self.finish.element());
            for (r, (acc, sum)) in acc.iter().zip(self.sums).enumerate() {
                let mut acc = *acc;
                let sum = vdupq_n_s32(*sum);
                for ((acc, init), offset) in acc.iter_mut().zip(init).zip(offset) {
                    let with = vaddq_s32(*acc, vreinterpretq_s32_u8(init));
                    *acc = vmlsq_s32(with, sum, offset);
                }
                let to = out.wrapping_add(r * self.out_pitch);
                match self.finish {
                    Finish::Requantize {
                        zero_point,
                        low,
                        high,
                    } => {
                        let bias = if self.columns.bias.is_empty() {
                            None
                        } else {
                            Some(load(self.columns.bias, at))
                        };
                        let bounds = [zero_point, low, high];
                        requantize(&real(&acc, bias), &scale, bounds, to, count);
                    }
                    Finish::Dequantize {
                        scale: input,
                        low,
                        high,
                        is_fused,
                        ..
                    } => {
                        let bias: [uint8x16_t; NV] = load(self.columns.bias, at);
                        let real = dequantized(&acc, &scale, &bias, input, is_fused);
                        write(&real, [low, high], to, count);
                    }
                }
            }
        }
    }
}

impl Products<'_> {
    /// The sums of `MR` rows and `4 * NV` columns.
    ///
    /// # Safety
    /// `a` must point to `depth` groups for each of `MR` rows, `b` to as many for `4 * NV` columns.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn sums<const MR: usize, const NV: usize>(mut self) -> [[int32x4_t; NV]; MR] {
        let flip = vdupq_n_u8(0x80);
        // of four columns, the sums of the first two beside those of the others, two lanes a column
        let mut halves = [[[vdupq_n_u32(0); 2]; NV]; MR];
        for group in 0..self.depth {
            let mut w = [flip; NV];
            for (v, w) in w.iter_mut().enumerate() {
                // SAFETY: the caller's promise.
                *w = veorq_u8(*w, unsafe { vld1q_u8(self.b.add(v * 16)) });
            }
            for (halves, row) in halves.iter_mut().zip(self.a) {
                // SAFETY: the caller's promise.
                let x = unsafe { row.add(group * DEPTH).cast::<u32>().read_unaligned() };
                let x = vreinterpretq_u8_u32(vdupq_n_u32(x));
                for ([low, high], w) in halves.iter_mut().zip(w) {
                    *low = vpadalq_u16(*low, vmull_u8(vget_low_u8(x), vget_low_u8(w)));
                    *high = vpadalq_u16(*high, vmull_high_u8(x, w));
                }
            }
            // one past the last is never read
            self.b = self.b.wrapping_add(self.step);
        }
        halves.map(|row| row.map(|[low, high]| vreinterpretq_s32_u32(vpaddq_u32(low, high))))
    }
}

/// `NV` vectors of a column section.
///
/// # Safety
/// `section` must have `16 * NV` bytes from `at` on.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn load<const NV: usize>(section: &[u8], at: usize) -> [uint8x16_t; NV] {
    let mut vectors = [vdupq_n_u8(0); NV];
    for (v, vector) in vectors.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *vector = unsafe { vld1q_u8(section.as_ptr().add(at + v * 16)) };
    }
    vectors
}

/// Sums as `f32`, with the columns' biases where there are any.
#[inline]
#[target_feature(enable = "neon")]
fn real<const NV: usize>(
    acc: &[int32x4_t; NV],
    bias: Option<[uint8x16_t; NV]>,
) -> [float32x4_t; NV] {
    let mut real = [vdupq_n_f32(0.0); NV];
    for (x, acc) in real.iter_mut().zip(acc) {
        *x = vcvtq_f32_s32(*acc);
    }
    if let Some(bias) = bias {
        for (x, bias) in real.iter_mut().zip(bias) {
            *x = vaddq_f32(*x, vreinterpretq_f32_u8(bias));
        }
    }
    real
}

/// Writes `count` columns of a row as `u8`.
///
/// # Safety
/// `to` must be writable for `count` bytes, at most `4 * NV`; `NV` is at most 4.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn requantize<const NV: usize>(
    real: &[float32x4_t; NV],
    scale: &[uint8x16_t; NV],
    [zero_point, low, high]: [u8; 3],
    to: *mut u8,
    count: usize,
) {
    let narrow = Narrow::new(zero_point, low, high);
    let mut four = [vdupq_n_s32(0); 4];
    for ((rounded, x), scale) in four.iter_mut().zip(real).zip(scale) {
        *rounded = round(vmulq_f32(*x, vreinterpretq_f32_u8(*scale)));
    }
    let bytes = narrow.bytes(four);
    // SAFETY: the caller's promise.
    unsafe {
        match count {
            16 => vst1q_u8(to, bytes),
            8 => vst1_u8(to, vget_low_u8(bytes)),
            _ => {
                let mut cells = [0; 16];
                crate::neon::store(&mut cells, bytes);
                to.copy_from_nonoverlapping(cells.as_ptr(), count);
            }
        }
    }
}

/// What sums stand for, of inputs with the scale `input`: in two roundings behind the scale, or in one where
/// `is_fused`.
#[inline]
#[target_feature(enable = "neon")]
fn dequantized<const NV: usize>(
    acc: &[int32x4_t; NV],
    scale: &[uint8x16_t; NV],
    bias: &[uint8x16_t; NV],
    input: f32,
    is_fused: bool,
) -> [float32x4_t; NV] {
    let mut real = [vdupq_n_f32(0.0); NV];
    for (v, real) in real.iter_mut().enumerate() {
        let scale = vmulq_f32(vdupq_n_f32(input), vreinterpretq_f32_u8(scale[v]));
        let (x, bias) = (vcvtq_f32_s32(acc[v]), vreinterpretq_f32_u8(bias[v]));
        *real = if is_fused {
            vfmaq_f32(bias, x, scale)
        } else {
            vaddq_f32(vmulq_f32(x, scale), bias)
        };
    }
    real
}

/// Writes `count` columns of a row as `f32`, within bounds.
///
/// # Safety
/// `to` must be writable for `4 * count` bytes, at most `16 * NV`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn write<const NV: usize>(
    real: &[float32x4_t; NV],
    [low, high]: [f32; 2],
    to: *mut u8,
    count: usize,
) {
    let (low, high) = (vdupq_n_f32(low), vdupq_n_f32(high));
    let mut cells = [[0; 16]; NV];
    for (cell, x) in cells.iter_mut().zip(real) {
        crate::neon::store_f32(cell, clamp_f32(*x, low, high));
    }
    // SAFETY: the caller's promise.
    unsafe { to.copy_from_nonoverlapping(cells.as_flattened().as_ptr(), 4 * count) };
}
