//! The shapes of a recurrent node, and where its blob has what.

use qconfig_core::Kernel;
use qconfig_core::kernel::{BlobError, RecurrentCell, Refusal, Split};

use super::Family;
use crate::blob::{self, HEADER, Words};
use crate::units::{self, word};

const BIDIRECTIONAL: u32 = 1;
const BATCH_FIRST: u32 = 2;
const STATES: u32 = 4;
const ONE_STEP: u32 = 8;

/// Shapes whose products do not overflow, once [`Shape::checked`] has seen them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) cell: RecurrentCell,
    pub(super) steps: usize,
    pub(super) batch: usize,
    pub(super) features: usize,
    pub(super) hidden: usize,
    pub(super) layers: usize,
    pub(super) bidirectional: bool,
    pub(super) batch_first: bool,
    /// Whether the initial states are inputs; else they are zero.
    pub(super) has_states: bool,
    /// A cell: there is no sequence, only the states after one step.
    pub(super) one_step: bool,
}

impl Shape {
    /// The shapes, unless one is zero or a product of them overflows.
    pub(super) fn checked(self) -> Option<Shape> {
        let Shape {
            steps,
            batch,
            features,
            hidden,
            layers,
            ..
        } = self;
        if [steps, batch, features, hidden, layers].contains(&0) {
            return None;
        }
        if self.one_step && (steps, layers, self.bidirectional) != (1, 1, false) {
            return None;
        }
        // larger than any count below: all gates, all states and what lies between layers
        let width = features.checked_add(hidden.checked_mul(8)?)?;
        let rows = steps.checked_add(1)?.checked_mul(batch)?;
        let count = layers.checked_mul(4)?.checked_add(8)?;
        let all = rows.checked_mul(width)?.checked_mul(count)?;
        isize::try_from(all.checked_mul(4)?).ok()?;
        Some(self)
    }

    pub(super) fn words(&self) -> Result<Words, Refusal> {
        let flag = |is: bool, bit: u32| if is { bit } else { 0 };
        let mut words = [0; 15];
        words[..7].copy_from_slice(&[
            match self.cell {
                RecurrentCell::Lstm => 0,
                RecurrentCell::Gru => 1,
                RecurrentCell::Tanh => 2,
                RecurrentCell::Relu => 3,
            },
            word(self.steps)?,
            word(self.batch)?,
            word(self.features)?,
            word(self.hidden)?,
            word(self.layers)?,
            flag(self.bidirectional, BIDIRECTIONAL)
                | flag(self.batch_first, BATCH_FIRST)
                | flag(self.has_states, STATES)
                | flag(self.one_step, ONE_STEP),
        ]);
        Ok(words)
    }

    fn from_words(words: &Words) -> Option<Shape> {
        let [cell, steps, batch, features, hidden, layers, flags, ..] = *words;
        if flags & !(BIDIRECTIONAL | BATCH_FIRST | STATES | ONE_STEP) != 0 {
            return None;
        }
        Shape {
            cell: match cell {
                0 => RecurrentCell::Lstm,
                1 => RecurrentCell::Gru,
                2 => RecurrentCell::Tanh,
                3 => RecurrentCell::Relu,
                _ => return None,
            },
            steps: steps as usize,
            batch: batch as usize,
            features: features as usize,
            hidden: hidden as usize,
            layers: layers as usize,
            bidirectional: flags & BIDIRECTIONAL != 0,
            batch_first: flags & BATCH_FIRST != 0,
            has_states: flags & STATES != 0,
            one_step: flags & ONE_STEP != 0,
        }
        .checked()
    }

    pub(super) fn directions(&self) -> usize {
        if self.bidirectional { 2 } else { 1 }
    }

    /// Columns of a product: all gates.
    pub(super) fn gates(&self) -> usize {
        self.cell.gates() * self.hidden
    }

    /// Rows of the input: time steps of all sequences.
    pub(super) fn rows(&self) -> usize {
        self.steps * self.batch
    }

    /// Which row a step of a sequence is.
    pub(super) fn row(&self, step: usize, batch: usize) -> usize {
        if self.batch_first {
            batch * self.steps + step
        } else {
            step * self.batch + batch
        }
    }

    /// Elements of a row that leaves a layer.
    pub(super) fn width(&self) -> usize {
        self.directions() * self.hidden
    }

    /// Elements of the sequence that goes out.
    pub(super) fn sequence(&self) -> usize {
        if self.one_step {
            0
        } else {
            self.rows() * self.width()
        }
    }

    /// Elements of the sequence that goes from one layer to the next.
    pub(super) fn between(&self) -> usize {
        if self.layers > 1 {
            self.rows() * self.width()
        } else {
            0
        }
    }

    /// Elements of a state of all layers.
    pub(super) fn state(&self) -> usize {
        self.layers * self.directions() * self.batch * self.hidden
    }

    /// Elements that go out.
    pub(super) fn outputs(&self) -> usize {
        self.sequence() + self.cell.states() * self.state()
    }

    /// Bytes of scratch beside the linear kernel's own.
    pub(super) fn scratch(&self) -> usize {
        let gates = (self.rows() + self.batch) * self.gates();
        blob::align((gates + 2 * self.between()) * 4)
    }

    /// Rows and reduction length of the product of the input (0) or the hidden state (1) of a layer.
    pub(super) fn product(&self, layer: usize, of_hidden: usize) -> (usize, usize) {
        match (of_hidden, layer) {
            (0, 0) => (self.rows(), self.features),
            (0, _) => (self.rows(), self.width()),
            _ => (self.batch, self.hidden),
        }
    }

    /// Products of the node.
    fn count(&self) -> usize {
        self.layers * self.directions() * 2
    }

    /// Where the table of lengths ends.
    pub(super) fn table_end(&self) -> usize {
        HEADER + self.count() * 8
    }
}

/// One product of a blob.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product<'a> {
    pub(super) blob: &'a [u8],
    pub(super) units: usize,
}

/// A blob whose header and table were read.
#[derive(Clone, Copy)]
pub(super) struct Packed<'a> {
    pub(super) shape: Shape,
    family: Family,
    blob: &'a [u8],
}

impl<'a> Packed<'a> {
    pub(super) fn read(family: Family, blob: &'a [u8]) -> Result<Packed<'a>, BlobError> {
        let damaged = BlobError::Header(family.tag.kernel);
        let shape = Shape::from_words(&family.tag.read(blob)?).ok_or(damaged)?;
        blob::at_least("blob", blob.len(), shape.table_end())?;
        Ok(Packed {
            shape,
            family,
            blob,
        })
    }

    /// The blobs of the products, one after the other; fewer where one is not inside.
    fn blobs(&self) -> impl Iterator<Item = &'a [u8]> {
        let blob = self.blob;
        let mut end = self.shape.table_end();
        let table = blob.get(HEADER..end).unwrap_or_default();
        table.as_chunks::<8>().0.iter().map_while(move |len| {
            let len = usize::try_from(u64::from_le_bytes(*len)).ok()?;
            let start = end.checked_next_multiple_of(blob::ALIGN)?;
            end = start.checked_add(len)?;
            blob.get(start..end)
        })
    }

    /// Holds every product against the shapes, and the lengths of the inputs.
    pub(super) fn split(&self, inputs: &[usize]) -> Result<Split, BlobError> {
        let shape = &self.shape;
        let states = if shape.has_states {
            shape.cell.states()
        } else {
            0
        };
        let Some((input, initial)) = inputs.split_first() else {
            units::lengths::<1>(inputs)?;
            return Err(BlobError::Header(self.family.tag.kernel));
        };
        blob::exact("the input", *input, shape.rows() * shape.features * 4)?;
        blob::exact("the list of inputs", inputs.len(), 1 + states)?;
        for state in initial {
            blob::exact("an initial state", *state, shape.state() * 4)?;
        }
        let (mut found, mut end) = (0, shape.table_end());
        for blob in self.blobs() {
            let layer = found / (2 * shape.directions());
            let (rows, k) = shape.product(layer, found % 2);
            let split = (self.family.linear.split)(blob, &[rows * k * 4])?;
            blob::exact("gates", split.output_bytes, rows * shape.gates() * 4)?;
            end = blob::align(end) + blob.len();
            found += 1;
        }
        if found != shape.count() {
            return Err(BlobError::Header(self.family.tag.kernel));
        }
        blob::exact("blob", self.blob.len(), end)?;
        let bytes = shape.outputs() * 4;
        Ok(Split {
            units: 1,
            unit_bytes: bytes,
            output_bytes: bytes,
            // each step needs the one before it
            grain: 1,
        })
    }

    /// The products of the input and of the hidden state of a layer and direction, split before.
    pub(super) fn products(
        &self,
        linear: &Kernel,
        index: usize,
    ) -> Result<[Product<'a>; 2], BlobError> {
        let mut blobs = self.blobs().skip(2 * index);
        let mut next = |of_hidden| {
            let damaged = BlobError::Header(self.family.tag.kernel);
            let blob = blobs.next().ok_or(damaged)?;
            let (rows, k) = self
                .shape
                .product(index / self.shape.directions(), of_hidden);
            let units = (linear.split)(blob, &[rows * k * 4])?.units;
            Ok(Product { blob, units })
        };
        Ok([next(0)?, next(1)?])
    }
}
