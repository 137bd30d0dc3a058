//! Integer matrix products `u8 * i8 -> i32` with a fused last step, shared by linear and convolution.
//!
//! One [`Packed`] blob serves every instruction set. Rows of the left matrix come from [`Rows`], so
//! that an image is read where it lies, gathered, or quantized on the way. What follows the sum is
//! [`Finish`].

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512vnni;
mod finish;
mod geometry;
mod packed;
mod panels;
mod reference;
mod rows;
mod weight;

use core::ops::Range;

use qconfig_core::kernel::{BlobError, Call, Sizes, Split};
use qconfig_core::{Isa, IsaLevel};

use crate::blob;

pub(crate) use finish::{Finish, clamp};
pub(crate) use geometry::{Geometry, Image, Taps};
pub(crate) use packed::{Family, Packed, Params};
pub(crate) use panels::{PANEL, Panels, STEP};
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
        let output_bytes = rows * columns * element;
        let grain = |outputs: usize| GRAIN.div_ceil(outputs.saturating_mul(k).max(1));
        let (unit_rows, split) = if rows == 1 && panels {
            let units = columns.div_ceil(PANEL);
            let unit_bytes = PANEL * element;
            (
                0,
                Split {
                    units,
                    unit_bytes,
                    output_bytes,
                    grain: grain(PANEL),
                },
            )
        } else {
            let unit = if rows >= BLOCK { UNIT } else { 1 };
            let units = rows.div_ceil(unit);
            let unit_bytes = unit * columns * element;
            (
                unit,
                Split {
                    units,
                    unit_bytes,
                    output_bytes,
                    grain: grain(unit * columns),
                },
            )
        };
        Cut {
            rows,
            unit_rows,
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

/// Scratch memory: one row, then a block of rows widened to 16 bits.
#[derive(Clone, Copy, Debug)]
struct Scratch {
    row: usize,
    /// Bytes from one widened row to the next: an odd number of cache lines, so that the rows of a
    /// tile do not share cache sets.
    pitch: usize,
    block: usize,
}

impl Scratch {
    /// Bytes that a block of widened rows may take: half of a small second-level cache.
    const BUDGET: usize = 256 * 1024;

    fn new(k: usize, rows: usize) -> Scratch {
        let row = blob::align(k);
        let pitch = blob::align(2 * row) | blob::ALIGN;
        let fit = (Self::BUDGET / pitch).clamp(TILE, BLOCK) / TILE * TILE;
        Scratch {
            row,
            pitch,
            block: fit.min(rows.max(1)),
        }
    }

    fn bytes(&self) -> usize {
        self.row + self.pitch * self.block
    }
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
    Sizes {
        blob: packed_bytes,
        scratch: Scratch::new(geometry.k, geometry.rows).bytes(),
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
    let plan = Scratch::new(packed.geometry.k, packed.geometry.rows);
    blob::at_least("scratch", scratch.len(), plan.bytes())?;
    let (row, block) = scratch.split_at_mut(plan.row);
    let job = Job {
        packed,
        rows,
        part,
        finish,
    };
    match isa.level() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `isa` proves AVX-512 F, BW, VL, DQ and VNNI; `output` was checked against the part,
        // `block` against the plan, and `Packed` against the geometry.
        IsaLevel::Avx512Vnni => unsafe { avx512vnni::run(&job, output, row, block, &plan) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above, with `isa` proving AVX2, FMA and F16C.
        level if level.has_avx2() => unsafe { avx2::run(&job, output, row, block, &plan) },
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

/// The name of the variant for an instruction set.
pub(crate) fn variant(isa: Isa) -> &'static str {
    match isa.level() {
        #[cfg(target_arch = "x86_64")]
        IsaLevel::Avx512Vnni => "6x64c4__avx512vnni",
        #[cfg(target_arch = "x86_64")]
        level if level.has_avx2() => "6x8c4__avx2",
        _ => "1x1c4__scalar",
    }
}
