//! `f16_linear_dynamic`: `float32` rows times a `float16` weight, summed in `float32`.
//!
//! The header's words are rows, columns, `k` and the bits of the lower and the upper bound. Sections:
//! the weight in panels of 64 columns, the last one as wide as what is left rounded up to 16, each
//! `[k][width]` little-endian `float16` with zeros beyond the last column; then the bias (`f32`), as
//! wide as the panels together.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512f;
#[cfg(target_arch = "aarch64")]
mod neon;
mod reference;

use half::f16;
use qconfig_core::DType::{float16, float32};
use qconfig_core::KernelFamily;
use qconfig_core::kernel::{
    BlobError, Call, Kernel, NodeSpec, Refusal, Signature, Sizes, Split, WeightData,
};

use crate::blob::{self, HEADER, Tag};
use crate::gemm::{self, Cut, Geometry, PANEL, Panels, Part};
use crate::q8_linear;
use crate::q8_linear_dynamic::{float_bounds, floats};

const TAG: Tag = Tag {
    word: *b"HLD1",
    kernel: "f16_linear_dynamic",
};

/// Linear layer, `float32` in and out, `float16` weight, `float32` bias.
///
/// Weights beyond the largest `float16` become it, the others are rounded to nearest even. Each output
/// is one chain of fused multiply-adds over `k`, in order, on every instruction set; the bias is added
/// at the end.
#[derive(Clone, Copy, Debug)]
pub struct F16LinearDynamic;

impl KernelFamily for F16LinearDynamic {
    const KERNEL: &'static Kernel = &Kernel {
        name: TAG.kernel,
        signature: Signature {
            input: &[float16],
            output: &[float32],
            weight: &[float16],
            bias: &[float32],
            is_dynamic: true,
            weight_range: None,
            scale_min: None,
        },
        sizes,
        pack,
        split,
        run,
        variant: |_, isa| match isa.level() {
            level if level.has_avx512bw() => "6x64__avx512f",
            level if level.has_avx2() => "6x16__avx2",
            level if level.has_neon() => "6x16__neon",
            _ => "1x1__scalar",
        },
    };
}

/// A blob whose sections have the lengths that its header asks for.
struct Packed<'a> {
    rows: usize,
    panels: Panels,
    low: f32,
    high: f32,
    weight: &'a [u8],
    bias: &'a [u8],
}

/// `weight end`, `bias start` and the length of a blob; `None` where that overflows.
fn layout(panels: &Panels) -> Option<[usize; 3]> {
    let end = panels.padded().checked_mul(panels.k)?.checked_mul(2)?;
    let end = end.checked_add(HEADER)?;
    let bias = end.checked_next_multiple_of(blob::ALIGN)?;
    let len = bias.checked_add(panels.padded().checked_mul(4)?)?;
    Some([end, bias, len])
}

impl<'a> Packed<'a> {
    fn read(blob: &'a [u8]) -> Result<Packed<'a>, BlobError> {
        let damaged = BlobError::Header(TAG.kernel);
        let [rows, columns, k, low, high, ..] = TAG.read(blob)?;
        let (rows, columns, k) = (rows as usize, columns as usize, k as usize);
        // for its checks against overflow
        Geometry::linear(rows, k, columns).ok_or(damaged)?;
        let panels = Panels { columns, k };
        let [end, bias, len] = layout(&panels).ok_or(damaged)?;
        blob::exact("blob", blob.len(), len)?;
        Ok(Packed {
            rows,
            panels,
            low: f32::from_bits(low),
            high: f32::from_bits(high),
            weight: &blob[HEADER..end],
            bias: &blob[bias..],
        })
    }

    fn cut(&self) -> Cut {
        Cut::new(self.rows, self.panels.columns, self.panels.k, 4, true)
    }

    /// Where panel `index` begins in the weight; its number of columns, and its width.
    fn panel(&self, index: usize) -> (usize, usize, usize) {
        let panel = self.panels.panel(index);
        (panel.column * self.panels.k * 2, panel.columns, panel.width)
    }
}

/// A product: weights, all rows, and which part of it.
struct Job<'a> {
    packed: &'a Packed<'a>,
    input: &'a [u8],
    part: Part,
}

impl Job<'_> {
    /// The byte where output `(row, column)` begins.
    fn output(&self, row: usize, column: usize) -> usize {
        let skipped =
            self.part.rows.start * self.packed.panels.columns + self.part.panels.start * PANEL;
        (row * self.packed.panels.columns + column - skipped) * 4
    }

    /// The panels of this part.
    fn panels(&self) -> core::ops::Range<usize> {
        let count = self.packed.panels.count();
        self.part.panels.start.min(count)..self.part.panels.end.min(count)
    }
}

fn checked<'a>(node: &NodeSpec<'a>) -> Result<(Geometry, &'a [f32]), Refusal> {
    floats(node)?;
    let geometry = q8_linear::geometry(node)?;
    let Some(weight) = node.weight else {
        return Err(Refusal::Shape("the node has no weight"));
    };
    let (float16, WeightData::F32(data)) = (weight.dtype, weight.data) else {
        return Err(Refusal::DType {
            place: "weight",
            dtype: weight.dtype,
        });
    };
    if geometry.out_channels.checked_mul(geometry.k) != Some(data.len()) {
        return Err(Refusal::Shape(
            "the weight has not as many values as its shape",
        ));
    }
    if !data.iter().all(|w| w.is_finite()) {
        return Err(Refusal::NotFinite("weight"));
    }
    if let Some(bias) = node.bias {
        if bias.len() != geometry.out_channels {
            return Err(Refusal::Shape("the bias has not one value for each output"));
        }
        if !bias.iter().all(|b| b.is_finite()) {
            return Err(Refusal::NotFinite("bias"));
        }
    }
    Ok((geometry, data))
}

fn sizes(node: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    let (geometry, _) = checked(node)?;
    let panels = Panels {
        columns: geometry.out_channels,
        k: geometry.k,
    };
    let len = layout(&panels).map(|[.., len]| len);
    let words = [geometry.rows, geometry.out_channels, geometry.k].map(u32::try_from);
    match len {
        Some(blob) if words.iter().all(Result::is_ok) => Ok(Sizes {
            blob,
            scratch: slice_bytes(geometry.rows, geometry.k),
        }),
        _ => Err(Refusal::Shape("the node is too large")),
    }
}

fn pack(node: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let (geometry, data) = checked(node)?;
    if sizes(node)?.blob != blob.len() {
        return Err(Refusal::Shape(
            "the blob has not the size that was asked for",
        ));
    }
    let panels = Panels {
        columns: geometry.out_channels,
        k: geometry.k,
    };
    let Some([_, bias, _]) = layout(&panels) else {
        return Err(Refusal::Shape("the node is too large"));
    };
    let (low, high) = float_bounds(node.activation);
    let mut words = [0; 15];
    words[..5].copy_from_slice(&[
        geometry.rows as u32,
        geometry.out_channels as u32,
        geometry.k as u32,
        low.to_bits(),
        high.to_bits(),
    ]);
    blob.fill(0);
    TAG.write(blob, &words);
    let largest = f16::MAX.to_f32();
    for panel in (0..panels.count()).map(|index| panels.panel(index)) {
        let start = HEADER + panel.column * panels.k * 2;
        for column in 0..panel.columns {
            let row = &data[(panel.column + column) * panels.k..][..panels.k];
            for (step, w) in row.iter().enumerate() {
                let at = start + (step * panel.width + column) * 2;
                let w = f16::from_f32(w.clamp(-largest, largest));
                blob[at..at + 2].copy_from_slice(&w.to_le_bytes());
            }
        }
    }
    let cells = blob[bias..].as_chunks_mut::<4>().0;
    for (cell, b) in cells.iter_mut().zip(node.bias.unwrap_or_default()) {
        *cell = b.to_le_bytes();
    }
    Ok(())
}

/// Rows from which widening a slice of weights to `f32` pays.
const SLICE_ROWS: usize = 12;
/// Bytes that a widened slice may take.
const SLICE_BUDGET: usize = 512 * 1024;

/// Bytes of 16 columns of weights as `f32`; 0 where widening them does not pay.
fn slice_bytes(rows: usize, k: usize) -> usize {
    let slice = k.saturating_mul(16 * 4);
    if rows >= SLICE_ROWS && slice <= SLICE_BUDGET {
        slice
    } else {
        0
    }
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    let packed = Packed::read(blob)?;
    let expected = packed.rows * packed.panels.k * 4;
    blob::exact("input", gemm::single(inputs)?, expected)?;
    Ok(packed.cut().split())
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    let packed = Packed::read(call.blob)?;
    let input = gemm::single(call.inputs)?;
    blob::exact("input", input.len(), packed.rows * packed.panels.k * 4)?;
    let part = packed.cut().part(&call.units, call.output.len())?;
    let needed = slice_bytes(packed.rows, packed.panels.k);
    blob::at_least("scratch", call.scratch.len(), needed)?;
    #[cfg(target_arch = "x86_64")]
    let slice = &mut call.scratch[..needed];
    let job = Job {
        packed: &packed,
        input,
        part,
    };
    match call.isa.level() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the `Isa` proves AVX-512 F; input and output were checked against the blob.
        level if level.has_avx512bw() => unsafe { avx512f::run(&job, call.output) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above, with an `Isa` that proves AVX2, FMA and F16C; the slice is as long as its function says.
        level if level.has_avx2() => unsafe { avx2::run(&job, call.output, slice) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: an `Isa` of such a level proves that the CPU has NEON.
        level if level.has_neon() => unsafe { neon::run(&job, call.output) },
        _ => reference::run(&job, call.output),
    }
    Ok(())
}
