//! Integer matrix products `u8 * i8 -> i32` with a fused last step, shared by linear and convolution.
//!
//! One [`Packed`] blob serves every instruction set. Rows of the left matrix come from [`Rows`], so
//! that an image is read where it lies, gathered, or quantized on the way. What follows the sum is
//! [`Finish`].

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512bw;
#[cfg(target_arch = "x86_64")]
mod avx512vnni;
#[cfg(target_arch = "x86_64")]
mod avxvnni;
mod finish;
mod geometry;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "aarch64")]
mod neondot;
#[cfg(target_arch = "aarch64")]
mod neoni8mm;
mod packed;
mod panels;
#[cfg(target_arch = "x86_64")]
mod pointers;
mod reference;
mod rows;
mod weight;

use core::ops::Range;

use qconfig_core::kernel::{BlobError, Call, Sizes, Split};
use qconfig_core::{Isa, IsaLevel};

use crate::blob;

pub(crate) use finish::{Finish, clamp};
pub(crate) use geometry::{Geometry, Image, Taps};
pub(crate) use packed::{Family, Packed, Params, Strip};
#[cfg(target_arch = "x86_64")]
pub(crate) use panels::STEP;
pub(crate) use panels::{DEPTH, PANEL, Panels};
pub(crate) use rows::Rows;
pub(crate) use weight::Weight;

/// Rows that share one pass over a panel of weights.
const BLOCK: usize = 96;
/// The tallest tile of any instruction set.
const TILE: usize = 12;
/// Multiply-adds that a thread should have, so that waking it pays.
const GRAIN: usize = 64 * 1024;
/// Rows of a unit where there are many rows.
const UNIT: usize = 6;

/// The part of a product that one call computes.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// GEMM rows.
    pub(crate) rows: Range<usize>,
    /// Panels of each group.
    pub(crate) panels: Range<usize>,
}

/// Units of so many outputs, with `k` products each, that a thread should have.
fn grain(outputs: usize, k: usize) -> usize {
    GRAIN.div_ceil(outputs.saturating_mul(k).max(1))
}

/// How the output is cut: rows, or panels where there is one row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    rows: usize,
    unit_rows: usize,
    element: usize,
    split: Split,
}

impl Cut {
    /// The cut of `rows x columns` outputs of `element` bytes with `k` products each, where one row
    /// may be cut into panels.
    pub(crate) fn new(rows: usize, columns: usize, k: usize, element: usize, panels: bool) -> Cut {
        if rows == 1 && panels {
            let unit_bytes = PANEL * element;
            let split = Split {
                units: columns.div_ceil(PANEL),
                unit_bytes,
                output_bytes: columns * element,
                grain: grain(PANEL, k),
            };
            return Cut {
                rows,
                unit_rows: 0,
                element,
                split,
            };
        }
        let unit = if rows >= BLOCK { UNIT } else { 1 };
        Cut::of_rows(rows, unit, columns, k, element)
    }

    /// The cut into units of so many rows.
    pub(crate) fn of_rows(
        rows: usize,
        unit: usize,
        columns: usize,
        k: usize,
        element: usize,
    ) -> Cut {
        let split = Split {
            units: rows.div_ceil(unit),
            unit_bytes: unit * columns * element,
            output_bytes: rows * columns * element,
            grain: grain(unit * columns, k),
        };
        Cut {
            rows,
            unit_rows: unit,
            element,
            split,
        }
    }

    /// The same cut, with units enough for so many outputs as the least a thread should take.
    pub(crate) fn at_least(mut self, outputs: usize) -> Cut {
        let unit = (self.split.unit_bytes / self.element).max(1);
        self.split.grain = self.split.grain.max(outputs.div_ceil(unit));
        self
    }

    /// As the contract tells it.
    pub(crate) fn split(&self) -> Split {
        self.split
    }

    /// What a range of units computes, if the output has just its bytes.
    pub(crate) fn part(&self, units: &Range<usize>, output: usize) -> Result<Part, BlobError> {
        blob::at_least("units", self.split.units, units.end)?;
        blob::at_least("units", units.end, units.start)?;
        blob::exact("output", output, self.split.bytes(units).len())?;
        Ok(if self.unit_rows == 0 {
            Part {
                rows: 0..1,
                panels: units.clone(),
            }
        } else {
            let row = |unit: usize| (unit * self.unit_rows).min(self.rows);
            Part {
                rows: row(units.start)..row(units.end),
                panels: 0..usize::MAX,
            }
        })
    }
}

/// Scratch memory: one row, then a block of rows widened to 16 bits, then a slice of 16 columns of
/// weights widened likewise.
#[derive(Clone, Copy, Debug)]
struct Scratch {
    row: usize,
    /// Bytes from one widened row to the next: an odd number of cache lines, so that the rows of a
    /// tile do not share cache sets.
    pitch: usize,
    block: usize,
    /// 0 where there are too few rows, or the reduction is too long, for a slice to pay.
    slice: usize,
}

impl Scratch {
    /// Bytes that a block of widened rows may take: half of a small second-level cache.
    const BUDGET: usize = 256 * 1024;
    /// Bytes that a widened slice may take.
    const SLICE_BUDGET: usize = 256 * 1024;
    /// Bytes of a widened slice of one group of four reduction steps.
    const SLICE_STEP: usize = 16 * DEPTH * 2;
    /// Rows from which widening a slice pays.
    const SLICE_ROWS: usize = 12;

    fn new(k: usize, rows: usize) -> Scratch {
        let row = blob::align(k);
        let pitch = odd_lines(2 * row);
        let fit = (Self::BUDGET / pitch).clamp(TILE, BLOCK) / TILE * TILE;
        let slice = k.div_ceil(DEPTH).saturating_mul(Self::SLICE_STEP);
        let pays = rows >= Self::SLICE_ROWS && slice <= Self::SLICE_BUDGET;
        Scratch {
            row,
            pitch,
            block: fit.min(rows.max(1)),
            slice: if pays { slice } else { 0 },
        }
    }

    fn bytes(&self) -> usize {
        self.row + self.pitch * self.block + self.slice
    }
}

/// Scratch memory of a 3 x 3 convolution that is made from tiles (`avx2::winograd`): transformed values,
/// a transformed slice of 16 columns of weights, and products.
#[cfg_attr(
    not(target_arch = "x86_64"),
    expect(
        dead_code,
        reason = "only AVX2 computes tiles; the scratch is the same for all"
    )
)]
#[derive(Clone, Copy, Debug)]
struct Winograd {
    channels: usize,
    /// Tiles that share a transformed slice.
    block: usize,
    /// Bytes from one point's values to the next.
    values: usize,
    /// Bytes from one point's weights to the next.
    weights: usize,
}

impl Winograd {
    /// Most tiles of a block.
    const BLOCK: usize = 240;
    /// Tiles that are multiplied together: the height of the widest tile of a product.
    const GROUP: usize = 6;
    /// Bytes that the values of a block may take.
    const BUDGET: usize = 1 << 20;
    /// Products of a tile.
    const POINTS: usize = geometry::SPAN * geometry::SPAN;

    /// `None` where the convolution is computed tap by tap.
    fn new(geometry: &Geometry) -> Option<Winograd> {
        if !geometry.is_winograd() {
            return None;
        }
        let channels = geometry.channels();
        let tile = (Self::POINTS * 2).checked_mul(channels)?;
        let tiles = geometry.rows.div_ceil(geometry::TILE) + Self::GROUP;
        let block = (Self::BUDGET / tile)
            .clamp(Self::GROUP, Self::BLOCK)
            .min(tiles);
        Some(Winograd {
            channels,
            block,
            values: odd_lines(channels * 2 * block),
            weights: odd_lines(channels.checked_mul(16 * 2)?),
        })
    }

    fn bytes(&self) -> usize {
        Self::POINTS * (self.values + self.weights + Self::GROUP * 16 * 4)
    }
}

/// At least so many bytes, in an odd number of cache lines: what lies that far apart does not share the sets
/// of a cache.
fn odd_lines(bytes: usize) -> usize {
    blob::align(bytes) | blob::ALIGN
}

/// A product: weights, rows, what part, and what follows.
#[derive(Debug)]
struct Job<'a, R> {
    packed: &'a Packed<'a>,
    rows: &'a R,
    part: Part,
    finish: Finish,
}

impl<R> Job<'_, R> {
    /// The panels of this part.
    fn panels(&self) -> Range<usize> {
        let count = self.packed.panels.count();
        self.part.panels.start.min(count)..self.part.panels.end.min(count)
    }

    /// Where output `(row, column)` of a group begins, in elements.
    fn output(&self, row: usize, group: usize, column: usize) -> usize {
        let geometry = &self.packed.geometry;
        (row - self.part.rows.start) * geometry.out_channels
            + group * geometry.group_outputs()
            + column
            - self.part.panels.start * PANEL
    }
}

/// Bytes of blob and scratch.
pub(crate) fn sizes(packed_bytes: usize, geometry: &Geometry) -> Sizes {
    let tiles = Winograd::new(geometry).map_or(0, |plan| plan.bytes());
    Sizes {
        blob: packed_bytes,
        scratch: Scratch::new(geometry.k, geometry.rows).bytes().max(tiles),
    }
}

/// Computes a range of units.
pub(crate) fn run<R: Rows>(
    packed: &Packed<'_>,
    rows: &R,
    finish: Finish,
    units: &Range<usize>,
    output: &mut [u8],
    scratch: &mut [u8],
    isa: Isa,
) -> Result<(), BlobError> {
    let part = packed.cut().part(units, output.len())?;
    compute(packed, rows, finish, part, output, scratch, isa)
}

/// Computes some rows of a matrix times packed columns that are fewer than an output row has: `output`
/// begins with the first of them and goes on as the whole output does.
pub(crate) fn run_columns(
    packed: &Packed<'_>,
    matrix: &Image<'_>,
    rows: Range<usize>,
    output: &mut [u8],
    scratch: &mut [u8],
    isa: Isa,
) -> Result<(), BlobError> {
    let geometry = &packed.geometry;
    blob::at_least("rows", geometry.rows, rows.end)?;
    let Some(before) = rows.len().checked_sub(1) else {
        return Ok(());
    };
    let end = (before * geometry.out_channels + packed.panels.columns) * packed.finish.element();
    blob::at_least("output", output.len(), end)?;
    let part = Part {
        rows,
        panels: 0..usize::MAX,
    };
    compute(packed, matrix, packed.finish, part, output, scratch, isa)
}

/// Scratch memory of a product with so many rows.
pub(crate) fn scratch(k: usize, rows: usize) -> usize {
    Scratch::new(k, rows).bytes()
}

/// Computes a part, whose bytes `output` has.
fn compute<R: Rows>(
    packed: &Packed<'_>,
    rows: &R,
    finish: Finish,
    part: Part,
    output: &mut [u8],
    scratch: &mut [u8],
    isa: Isa,
) -> Result<(), BlobError> {
    let plan = Scratch::new(packed.geometry.k, packed.geometry.rows);
    let tiles = packed.winograd();
    let needed = plan.bytes().max(tiles.map_or(0, |plan| plan.bytes()));
    blob::at_least("scratch", scratch.len(), needed)?;
    let job = Job {
        packed,
        rows,
        part,
        finish,
    };
    #[cfg(target_arch = "x86_64")]
    if let (Some(tiles), Some(image)) = (&tiles, rows.image())
        && isa.level().has_avx2()
        && isa.level() != IsaLevel::Avx512Vnni
    {
        // SAFETY: `isa` proves AVX2, FMA and F16C; `output` was checked against the part, `scratch`
        // against the plan, and the image against the geometry, which is one that has tiles.
        unsafe { avx2::winograd(&job, image.input, output, scratch, tiles) };
        return Ok(());
    }
    let (row, block) = scratch.split_at_mut(plan.row);
    match isa.level() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `isa` proves AVX-512 F, BW, VL, DQ and VNNI; `output` was checked against the part,
        // `block` against the plan, and `Packed` against the geometry.
        IsaLevel::Avx512Vnni => unsafe { avx512vnni::run(&job, output, row, block, &plan) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above, with `isa` proving all of these but VNNI.
        IsaLevel::Avx512Bw => unsafe { avx512bw::run(&job, output, row, block, &plan) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above, with `isa` proving AVX2, FMA, F16C and AVX-VNNI.
        IsaLevel::AvxVnni => unsafe { avxvnni::run(&job, output, row, block, &plan) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above, with `isa` proving AVX2, FMA and F16C.
        level if level.has_avx2() => unsafe { avx2::run(&job, output, row, block, &plan) },
        #[cfg(target_arch = "aarch64")]
        level if level.has_neon() => {
            let level = match level {
                IsaLevel::NeonI8mm => neon::Level::I8mm,
                IsaLevel::NeonDot => neon::Level::Dot,
                _ => neon::Level::Neon,
            };
            // SAFETY: as above, with `isa` proving the level.
            unsafe { neon::run(&job, output, row, block, &plan, level) }
        }
        _ => reference::run(&job, output, row),
    }
    Ok(())
}

/// [`qconfig_core::Kernel::split`] of a family that reads a quantized image.
pub(crate) fn split_image(
    family: Family,
    blob: &[u8],
    inputs: &[usize],
) -> Result<Split, BlobError> {
    let packed = Packed::read(family, blob)?;
    blob::exact("input", single(inputs)?, packed.geometry.input_elements())?;
    Ok(packed.cut().split())
}

/// [`qconfig_core::Kernel::run`] of a family that reads a quantized image.
pub(crate) fn run_image(family: Family, call: Call<'_>) -> Result<(), BlobError> {
    let packed = Packed::read(family, call.blob)?;
    let input = single(call.inputs)?;
    blob::exact("input", input.len(), packed.geometry.input_elements())?;
    let image = Image::new(packed.geometry, input, packed.input_zero_point);
    run(
        &packed,
        &image,
        packed.finish,
        &call.units,
        call.output,
        call.scratch,
        call.isa,
    )
}

/// The only one.
pub(crate) fn single<T: Copy>(inputs: &[T]) -> Result<T, BlobError> {
    match inputs {
        [input] => Ok(*input),
        _ => Err(BlobError::Length {
            what: "inputs",
            expected: 1,
            found: inputs.len(),
        }),
    }
}

/// The name of the variant for a blob and an instruction set.
pub(crate) fn variant_of(family: Family, blob: &[u8], isa: Isa) -> &'static str {
    match (isa.level(), Packed::read(family, blob)) {
        #[cfg(target_arch = "x86_64")]
        (level, Ok(packed))
            if level.has_avx2() && level != IsaLevel::Avx512Vnni && packed.winograd().is_some() =>
        {
            "f4x4_6x16__avx2"
        }
        #[cfg(target_arch = "x86_64")]
        (IsaLevel::Avx2, Ok(packed)) if avx2::is_narrow(&packed) => "6x16c4_pairs__avx2",
        _ => variant(isa),
    }
}

/// The name of the variant for an instruction set.
pub(crate) fn variant(isa: Isa) -> &'static str {
    match isa.level() {
        #[cfg(target_arch = "x86_64")]
        IsaLevel::Avx512Vnni => "6x64c4__avx512vnni",
        #[cfg(target_arch = "x86_64")]
        IsaLevel::Avx512Bw => "12x16c4__avx512bw",
        #[cfg(target_arch = "x86_64")]
        IsaLevel::AvxVnni => "6x16c4__avxvnni",
        #[cfg(target_arch = "x86_64")]
        level if level.has_avx2() => "6x16c2__avx2",
        #[cfg(target_arch = "aarch64")]
        IsaLevel::NeonI8mm => "8x8c8__neoni8mm",
        #[cfg(target_arch = "aarch64")]
        IsaLevel::NeonDot => "8x8c4__neondot",
        #[cfg(target_arch = "aarch64")]
        IsaLevel::Neon => "4x8c4__neon",
        _ => "1x1c4__scalar",
    }
}
