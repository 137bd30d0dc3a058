//! Rows as torch packs them.

use half::f16;
use qconfig_core::DType;
use qconfig_core::kernel::{NodeSpec, Refusal, WeightData};

use super::shape::{Format, Shape};
use crate::affine::round_ties_even;

/// The rows of a blob.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows<'a> {
    pub(super) table: &'a [u8],
    pub(super) pitch: usize,
    pub(super) columns: usize,
    pub(super) nibbles: bool,
}

/// One row: its integers, packed as they are, and how to read them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    pub(super) data: &'a [u8],
    pub(super) scale: f32,
    pub(super) bias: f32,
}

impl<'a> Rows<'a> {
    pub(super) fn new(shape: &Shape, table: &'a [u8]) -> Self {
        Self {
            table,
            pitch: shape.pitch(),
            columns: shape.columns,
            nibbles: shape.format == Format::Nibbles,
        }
    }

    /// A row that a table of floats has.
    #[inline]
    pub(super) fn floats(&self, index: usize) -> &'a [[u8; 4]] {
        self.table[index * self.pitch..][..self.pitch].as_chunks().0
    }

    /// A row that the table has.
    #[inline]
    pub(super) fn row(&self, index: usize) -> Row<'a> {
        let row = &self.table[index * self.pitch..][..self.pitch];
        if self.nibbles {
            let (data, ends) = row.split_at(self.pitch - 4);
            let half = |at: usize| f16::from_le_bytes([ends[at], ends[at + 1]]).to_f32();
            Row {
                data,
                scale: half(0),
                bias: half(2),
            }
        } else {
            let (data, ends) = row.split_at(self.columns);
            let float = |at: usize| {
                f32::from_le_bytes([ends[at], ends[at + 1], ends[at + 2], ends[at + 3]])
            };
            Row {
                data,
                scale: float(0),
                bias: float(4),
            }
        }
    }

    /// A column of a row.
    pub(super) fn value(&self, row: &Row<'_>, column: usize) -> f32 {
        f32::from(if self.nibbles {
            row.data[column / 2] >> (4 * (column % 2)) & 15
        } else {
            row.data[column]
        })
    }
}

/// Refuses tables that are not what their shape says.
pub(super) fn check(node: &NodeSpec<'_>, shape: &Shape) -> Result<(), Refusal> {
    let Some(weight) = node.weight else {
        return Err(Refusal::Shape("a lookup has a table"));
    };
    let elements = shape.rows.checked_mul(shape.columns);
    let unfit = Refusal::Shape("the table has not as many values as its shape");
    match weight.data {
        WeightData::F32(values) => {
            if Some(values.len()) != elements {
                return Err(unfit);
            }
            if !values.iter().all(|x| x.is_finite()) {
                return Err(Refusal::NotFinite("weight"));
            }
            if !node.parameters.is_empty() {
                return Err(Refusal::Shape("a table of floats has no zero points"));
            }
        }
        WeightData::U8(values) => {
            if Some(values.len()) != elements {
                return Err(unfit);
            }
            let zero_points = zero_points(node)?;
            if weight.scales.len() != shape.rows || zero_points.len() != shape.rows {
                return Err(Refusal::Shape(
                    "a table of integers has a scale and a zero point for each row",
                ));
            }
            let ends = weight.scales.iter().chain(zero_points);
            if !ends.into_iter().all(|x| x.is_finite()) {
                return Err(Refusal::NotFinite("weight"));
            }
            if shape.format == Format::Nibbles && values.iter().any(|q| *q > 15) {
                return Err(Refusal::Shape("a 4-bit table holds values above 15"));
            }
        }
        WeightData::I8(_) => {
            return Err(Refusal::DType {
                place: "weight",
                dtype: DType::qint8,
            });
        }
    }
    Ok(())
}

fn zero_points<'a>(node: &NodeSpec<'a>) -> Result<&'a [f32], Refusal> {
    match node.parameters {
        [one] => match one.data {
            WeightData::F32(zero_points) => Ok(zero_points),
            _ => Err(Refusal::DType {
                place: "zero points",
                dtype: one.dtype,
            }),
        },
        _ => Err(Refusal::Shape("a table of integers has zero points")),
    }
}

/// Writes all rows.
pub(super) fn pack(node: &NodeSpec<'_>, shape: &Shape, table: &mut [u8]) -> Result<(), Refusal> {
    let Some(weight) = node.weight else {
        return Err(Refusal::Shape("a lookup has a table"));
    };
    let rows = table.chunks_exact_mut(shape.pitch());
    match weight.data {
        WeightData::F32(values) => {
            for (row, values) in rows.zip(values.chunks_exact(shape.columns)) {
                if shape.format == Format::Nibbles {
                    floats_to_nibbles(values, row);
                } else {
                    floats_to_bytes(values, row);
                }
            }
        }
        WeightData::U8(values) => {
            let ends = weight.scales.iter().zip(zero_points(node)?);
            for ((row, values), (scale, zero_point)) in
                rows.zip(values.chunks_exact(shape.columns)).zip(ends)
            {
                let bias = -(zero_point * scale);
                if shape.format == Format::Nibbles {
                    let ends = [f16::from_f32(*scale), f16::from_f32(bias)];
                    nibbles(values.iter().copied(), ends, row);
                } else {
                    bytes(values.iter().copied(), [*scale, bias], row);
                }
            }
        }
        WeightData::I8(_) => {}
    }
    Ok(())
}

fn least_and_greatest(values: &[f32]) -> (f32, f32) {
    let first = values.first().copied().unwrap_or(0.0);
    values.iter().fold((first, first), |(low, high), x| {
        (
            if *x < low { *x } else { low },
            if *x > high { *x } else { high },
        )
    })
}

/// `FloatOrHalfToFused8BitRowwiseQuantizedSBFloat`.
fn floats_to_bytes(values: &[f32], row: &mut [u8]) {
    let (low, high) = least_and_greatest(values);
    let range = high - low;
    let inverse = 255.0 / (range + 1e-8);
    let q = values
        .iter()
        .map(|x| round_ties_even((x - low) * inverse) as u8);
    bytes(q, [range / 255.0, low], row);
}

/// `FloatOrHalfToFusedNBitRowwiseQuantizedSBHalf`, four bits.
fn floats_to_nibbles(values: &[f32], row: &mut [u8]) {
    let (low, high) = least_and_greatest(values);
    let bias = f16::from_f32(low);
    let low = bias.to_f32();
    let range = high - low;
    let mut scale = f16::from_f32(if range == 0.0 { 1.0 } else { range / 15.0 });
    if scale.to_f32() == 0.0 {
        scale = f16::ONE;
    }
    let mut inverse = 1.0 / scale.to_f32();
    if inverse.is_infinite() {
        scale = f16::ONE;
        inverse = 1.0;
    }
    let q = values
        .iter()
        .map(|x| round_ties_even((x - low) * inverse).clamp(0.0, 15.0) as u8);
    nibbles(q, [scale, bias], row);
}

fn bytes(values: impl Iterator<Item = u8>, ends: [f32; 2], row: &mut [u8]) {
    let at = row.len() - 8;
    for (cell, q) in row.iter_mut().zip(values) {
        *cell = q;
    }
    row[at..at + 4].copy_from_slice(&ends[0].to_le_bytes());
    row[at + 4..].copy_from_slice(&ends[1].to_le_bytes());
}

fn nibbles(values: impl Iterator<Item = u8>, ends: [f16; 2], row: &mut [u8]) {
    let at = row.len() - 4;
    row[..at].fill(0);
    for (column, q) in values.enumerate() {
        row[column / 2] |= q << (4 * (column % 2));
    }
    row[at..at + 2].copy_from_slice(&ends[0].to_le_bytes());
    row[at + 2..].copy_from_slice(&ends[1].to_le_bytes());
}
