//! The shapes of a lookup.

use qconfig_core::DType::{self, float32, int32, int64, quint4x2, quint8};
use qconfig_core::kernel::{Activation, BagMode, BlobError, NodeOp, NodeSpec, Refusal, Split};

use crate::blob::{self, Words};
use crate::units::word;

const NIBBLES: u32 = 1;
const WIDE_INDICES: u32 = 2;
const OFFSETS: u32 = 4;
const WIDE_OFFSETS: u32 = 8;
const LAST_OFFSET: u32 = 16;
const WEIGHTS: u32 = 32;
const PADDING: u32 = 64;
const FLOATS: u32 = 128;

/// Bytes read from the table for which waking another thread pays.
const GRAIN: usize = 1 << 15;

/// How a row is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    /// Eight bits a value, scale and bias behind.
    Bytes,
    /// Four bits.
    Nibbles,
    /// `float32`.
    Floats,
}

/// Shapes that fit each other; counts below 2^32 each, so that no byte offset overflows once
/// [`Shape::table`] and [`Shape::split`] could count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// How bags are reduced; `None` for lookups, each a bag of one.
    pub(super) mode: Option<BagMode>,
    pub(super) bags: usize,
    pub(super) indices: usize,
    pub(super) format: Format,
    pub(super) wide_indices: bool,
    pub(super) has_offsets: bool,
    pub(super) wide_offsets: bool,
    pub(super) last_offset: bool,
    pub(super) has_weights: bool,
    pub(super) padding: Option<usize>,
}

fn wide(place: &'static str, dtype: DType) -> Result<bool, Refusal> {
    match dtype {
        int64 => Ok(true),
        int32 => Ok(false),
        dtype => Err(Refusal::DType { place, dtype }),
    }
}

impl Shape {
    pub(super) fn of(node: &NodeSpec<'_>) -> Result<Shape, Refusal> {
        let (mode, last_offset, padding) = match node.op {
            NodeOp::Embedding => (None, false, None),
            NodeOp::EmbeddingBag {
                mode,
                include_last_offset,
                padding_idx,
            } => (Some(mode), include_last_offset, padding_idx),
            _ => {
                return Err(Refusal::Operator("this kernel looks up rows of a table"));
            }
        };
        if node.activation != Activation::None {
            return Err(Refusal::Operator("nothing is fused behind a lookup"));
        }
        let Some(weight) = node.weight else {
            return Err(Refusal::Shape("a lookup has a table"));
        };
        let format = match weight.dtype {
            quint8 => Format::Bytes,
            quint4x2 => Format::Nibbles,
            float32 => Format::Floats,
            dtype => {
                let place = "weight";
                return Err(Refusal::DType { place, dtype });
            }
        };
        if node.output.dtype != float32 {
            return Err(Refusal::DType {
                place: "output",
                dtype: node.output.dtype,
            });
        }
        let (&[rows, columns], Some((list, more))) = (weight.shape, node.inputs.split_first())
        else {
            return Err(Refusal::Shape(
                "a table is [rows, columns], and there are indices",
            ));
        };
        let wide_indices = wide("indices", list.dtype)?;
        let (weights, offsets) = match more {
            [] => (None, None),
            [one] if one.dtype == float32 => (Some(one), None),
            [one] => (None, Some(one)),
            [offsets, weights] => (Some(weights), Some(offsets)),
            _ => return Err(Refusal::Shape("a lookup has at most three inputs")),
        };
        let unfit = Refusal::Shape("the shapes of indices, offsets, weights and output do not fit");
        let indices = list.elements().ok_or(unfit.clone())?;
        let bags = match (mode, offsets, list.shape) {
            (None, None, _) if weights.is_none() && !last_offset => indices,
            (Some(_), None, &[bags, _]) if !last_offset => bags,
            (Some(_), Some(offsets), &[_]) => match *offsets.shape {
                [count] => count
                    .checked_sub(usize::from(last_offset))
                    .ok_or(unfit.clone())?,
                _ => return Err(unfit),
            },
            _ => return Err(unfit),
        };
        if let Some(weights) = weights {
            if weights.dtype != float32 {
                return Err(Refusal::DType {
                    place: "weights of the indices",
                    dtype: weights.dtype,
                });
            }
            if mode != Some(BagMode::Sum) {
                return Err(Refusal::Operator("only sums of rows have weights"));
            }
            if weights.shape != list.shape {
                return Err(unfit);
            }
        }
        if rows == 0 || columns == 0 || padding.is_some_and(|row| row >= rows) {
            return Err(Refusal::Shape(
                "a table has rows and columns, and its padding row is one of them",
            ));
        }
        let expected = bags.checked_mul(columns);
        if expected.is_none() || node.output.elements() != expected {
            return Err(unfit);
        }
        let shape = Shape {
            rows,
            columns,
            mode,
            bags,
            indices,
            format,
            wide_indices,
            has_offsets: offsets.is_some(),
            wide_offsets: match offsets {
                Some(offsets) => wide("offsets", offsets.dtype)?,
                None => false,
            },
            last_offset,
            has_weights: weights.is_some(),
            padding,
        };
        shape.words()?;
        Ok(shape)
    }

    pub(super) fn words(&self) -> Result<Words, Refusal> {
        let flag = |is: bool, bit: u32| if is { bit } else { 0 };
        let mut words = [0; 15];
        words[..7].copy_from_slice(&[
            word(self.rows)?,
            word(self.columns)?,
            match self.mode {
                None => 0,
                Some(BagMode::Sum) => 1,
                Some(BagMode::Mean) => 2,
                Some(BagMode::Max) => 3,
            },
            word(self.bags)?,
            word(self.indices)?,
            flag(self.format == Format::Nibbles, NIBBLES)
                | flag(self.format == Format::Floats, FLOATS)
                | flag(self.wide_indices, WIDE_INDICES)
                | flag(self.has_offsets, OFFSETS)
                | flag(self.wide_offsets, WIDE_OFFSETS)
                | flag(self.last_offset, LAST_OFFSET)
                | flag(self.has_weights, WEIGHTS)
                | flag(self.padding.is_some(), PADDING),
            word(self.padding.unwrap_or(0))?,
        ]);
        Ok(words)
    }

    pub(super) fn from_words(words: &Words) -> Option<Shape> {
        let [rows, columns, mode, bags, indices, flags, padding, ..] = *words;
        let has = |bit: u32| flags & bit != 0;
        if flags >= 2 * FLOATS || (has(NIBBLES) && has(FLOATS)) || rows == 0 || columns == 0 {
            return None;
        }
        let shape = Shape {
            rows: rows as usize,
            columns: columns as usize,
            mode: match mode {
                0 => None,
                1 => Some(BagMode::Sum),
                2 => Some(BagMode::Mean),
                3 => Some(BagMode::Max),
                _ => return None,
            },
            bags: bags as usize,
            indices: indices as usize,
            format: match (has(NIBBLES), has(FLOATS)) {
                (true, _) => Format::Nibbles,
                (_, true) => Format::Floats,
                _ => Format::Bytes,
            },
            wide_indices: has(WIDE_INDICES),
            has_offsets: has(OFFSETS),
            wide_offsets: has(WIDE_OFFSETS),
            last_offset: has(LAST_OFFSET),
            has_weights: has(WEIGHTS),
            padding: has(PADDING).then_some(padding as usize),
        };
        // without offsets all bags have the same length
        let even = shape.has_offsets
            || (shape.bags == 0 && shape.indices == 0)
            || (shape.bags > 0 && shape.indices.is_multiple_of(shape.bags));
        let lookups = shape.mode.is_some() || (shape.bags == shape.indices && !shape.has_offsets);
        (even && lookups).then_some(shape)
    }

    /// Bytes of a row.
    pub(super) fn pitch(&self) -> usize {
        match self.format {
            Format::Nibbles => self.columns.div_ceil(2) + 4,
            Format::Bytes => self.columns.saturating_add(8),
            Format::Floats => self.columns.saturating_mul(4),
        }
    }

    /// Bytes of the table, `None` where they cannot be counted.
    pub(super) fn table(&self) -> Option<usize> {
        let bytes = self.rows.checked_mul(self.pitch())?;
        isize::try_from(bytes).ok().map(|_| bytes)
    }

    /// How many offsets there are.
    pub(super) fn offsets(&self) -> usize {
        self.bags + usize::from(self.last_offset)
    }

    pub(super) fn split(&self, inputs: &[usize]) -> Result<Split, BlobError> {
        let damaged = BlobError::Header(super::TAG.kernel);
        let count = 1 + usize::from(self.has_offsets) + usize::from(self.has_weights);
        blob::exact("the list of inputs", inputs.len(), count)?;
        let bytes =
            |count: usize, wide: bool| count.checked_mul(if wide { 8 } else { 4 }).ok_or(damaged);
        let mut inputs = inputs.iter().copied();
        let mut next = |what: &'static str, expected: usize| {
            blob::exact(what, inputs.next().unwrap_or(0), expected)
        };
        next("the indices", bytes(self.indices, self.wide_indices)?)?;
        if self.has_offsets {
            next("the offsets", bytes(self.offsets(), self.wide_offsets)?)?;
        }
        if self.has_weights {
            next("the weights", bytes(self.indices, false)?)?;
        }
        let unit_bytes = self.columns.checked_mul(4).ok_or(damaged)?;
        let output_bytes = unit_bytes.checked_mul(self.bags).ok_or(damaged)?;
        let read = self.pitch().saturating_mul(self.indices) / self.bags.max(1);
        Ok(Split {
            units: self.bags,
            unit_bytes,
            output_bytes,
            grain: GRAIN.div_ceil(read.max(1)),
        })
    }
}
