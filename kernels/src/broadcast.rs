//! Two operands of one shape, or of shapes that numpy's rules make one: aligned at the last axis, an axis
//! of size 1 repeats.
//!
//! What is left after merging is a short list of axes, each with whether it moves in each operand. Work
//! goes over it in spans: slices of both operands as far as they are contiguous, else a block of copies,
//! so that a kernel sees two slices of one length.

use qconfig_core::kernel::{BlobError, Refusal, TensorSpec};

use crate::blob::exact;
use crate::units::{self, word};

/// Axes that are left at most: a 4-D tensor needs no more than four.
const AXES: usize = 7;
/// Bytes of the section in a blob: number of axes, their sizes, and a bit for each in each operand.
pub(crate) const SECTION: usize = 64;
/// Elements of a block of copies.
const BLOCK: usize = 1024;

/// One axis after merging.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Axis {
    size: usize,
    /// For each operand, whether it has the axis; else it repeats along it.
    moves: [bool; 2],
}

/// How two operands make one output.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Broadcast {
    /// The last is the innermost; those beyond `rank` are empty.
    axes: [Axis; AXES],
    rank: usize,
}

impl Broadcast {
    /// Of two inputs and the output, if the output has the shape that the inputs have together.
    pub(crate) fn new(
        [a, b]: &[TensorSpec<'_>; 2],
        output: &TensorSpec<'_>,
    ) -> Result<Self, Refusal> {
        // counts the output's elements, which no operand exceeds
        units::same_shape(output, output)?;
        let rank = output.shape.len();
        let unfit = Refusal::Shape("the operands do not broadcast to the output's shape");
        if a.shape.len().max(b.shape.len()) != rank {
            return Err(unfit);
        }
        let at = |shape: &[usize], axis: usize| {
            let missing = rank - shape.len();
            axis.checked_sub(missing)
                .and_then(|axis| shape.get(axis).copied())
                .unwrap_or(1)
        };
        let mut merged = Self::default();
        for (axis, size) in output.shape.iter().copied().enumerate() {
            let sizes = [at(a.shape, axis), at(b.shape, axis)];
            let moves = sizes.map(|operand| operand == size);
            let fits = |(operand, moves)| moves || operand == 1;
            if !sizes.into_iter().zip(moves).all(fits) || moves == [false; 2] {
                return Err(unfit);
            }
            if size != 1 {
                merged.push(Axis { size, moves })?;
            }
        }
        Ok(merged)
    }

    fn push(&mut self, axis: Axis) -> Result<(), Refusal> {
        let last = self.rank.checked_sub(1);
        match last.and_then(|last| self.axes.get_mut(last)) {
            Some(last) if last.moves == axis.moves => last.size *= axis.size,
            _ => {
                *self.axes.get_mut(self.rank).ok_or(Refusal::Shape(
                    "the operands repeat along too many axes, one by one",
                ))? = axis;
                self.rank += 1;
            }
        }
        Ok(())
    }

    fn axes(&self) -> &[Axis] {
        self.axes.get(..self.rank).unwrap_or_default()
    }

    /// Writes the section, of [`SECTION`] bytes.
    pub(crate) fn write(&self, section: &mut [u8]) -> Result<(), Refusal> {
        let mut words = [0; 2 + AXES];
        words[0] = self.rank as u32;
        for (at, axis) in self.axes().iter().enumerate() {
            let [a, b] = axis.moves.map(u32::from);
            words[1] |= (a | b << 1) << (2 * at);
            words[2 + at] = word(axis.size)?;
        }
        section.fill(0);
        for (to, word) in section.as_chunks_mut().0.iter_mut().zip(words) {
            *to = word.to_le_bytes();
        }
        Ok(())
    }

    /// Reads the section back; `None` where it makes no sense.
    pub(crate) fn read(section: &[u8]) -> Option<Self> {
        let mut words = [0; 2 + AXES];
        for (word, from) in words.iter_mut().zip(section.get(..SECTION)?.as_chunks().0) {
            *word = u32::from_le_bytes(*from);
        }
        let [rank, moves, sizes @ ..] = words;
        let mut axes = [Axis::default(); AXES];
        let rank = rank as usize;
        for (at, (axis, size)) in axes.get_mut(..rank)?.iter_mut().zip(sizes).enumerate() {
            let moves = moves >> (2 * at);
            *axis = Axis {
                size: size as usize,
                moves: [moves & 1 != 0, moves & 2 != 0],
            };
        }
        let whole = Self { axes, rank };
        // operands are never longer than the output, so that what counts it counts them
        let elements = axes.get(..rank)?.iter().try_fold(1usize, |n, axis| {
            n.checked_mul(axis.size).filter(|n| *n <= u32::MAX as usize)
        });
        elements.map(|_| whole)
    }

    /// Elements of the output.
    pub(crate) fn elements(&self) -> usize {
        self.axes().iter().map(|axis| axis.size).product()
    }

    /// Elements of each operand.
    pub(crate) fn operands(&self) -> [usize; 2] {
        [0, 1].map(|operand| {
            let axes = self.axes().iter().filter(|axis| axis.moves[operand]);
            axes.map(|axis| axis.size).product()
        })
    }

    /// Holds the lengths of both inputs against the operands.
    pub(crate) fn check(&self, [a, b]: [usize; 2]) -> Result<(), BlobError> {
        let [first, second] = self.operands();
        exact("the first input", a, first)?;
        exact("the second input", b, second)
    }

    /// The element of each operand that makes an element of the output.
    pub(crate) fn elements_at(&self, mut index: usize) -> [usize; 2] {
        let (mut offsets, mut strides) = ([0; 2], [1; 2]);
        for axis in self.axes().iter().rev() {
            let size = axis.size.max(1);
            for operand in 0..2 {
                if axis.moves[operand] {
                    offsets[operand] += index % size * strides[operand];
                    strides[operand] *= size;
                }
            }
            index /= size;
        }
        offsets
    }

    /// Calls `f` with slices of one length for all of `output`, whose first element is the one at `start`
    /// of the whole output. The inputs have passed [`Broadcast::check`].
    pub(crate) fn spans<T: Copy + Default>(
        &self,
        start: usize,
        inputs: [&[T]; 2],
        output: &mut [T],
        mut f: impl FnMut(&[T], &[T], &mut [T]),
    ) {
        let (mut first, mut second) = (Block::default(), Block::default());
        let (mut at, mut rest) = (start, output);
        while !rest.is_empty() {
            let span = self.span(at, rest.len());
            let (now, behind) = rest.split_at_mut(span.elements().clamp(1, rest.len()));
            let a = first.operand(inputs[0], &span, 0);
            let b = second.operand(inputs[1], &span, 1);
            let len = now.len();
            if let (Some(a), Some(b)) = (a.get(..len), b.get(..len)) {
                f(a, b, now);
            }
            at += len;
            rest = behind;
        }
    }

    /// What comes next at an element of the output, of `rest` elements at most.
    fn span(&self, at: usize, rest: usize) -> Span {
        let (rows, row) = match *self.axes() {
            [] => (
                Axis::default(),
                Axis {
                    size: rest,
                    moves: [true; 2],
                },
            ),
            [row] => (
                Axis {
                    size: 1,
                    moves: [true; 2],
                },
                row,
            ),
            [.., rows, row] => (rows, row),
        };
        // the position along the two innermost axes
        let x = at % row.size.max(1);
        let y = at / row.size.max(1) % rows.size.max(1);
        let offsets = self.elements_at(at);
        let size = row.size.max(1);
        let whole = (BLOCK / size)
            .min(rest / size)
            .min(rows.size - y.min(rows.size));
        let is_whole = x == 0 && whole > 1;
        let limit = if row.moves == [true; 2] { rest } else { BLOCK };
        Span {
            rows: if is_whole { whole } else { 1 },
            columns: if is_whole {
                size
            } else {
                (size - x).min(rest).min(limit)
            },
            moves: [0, 1].map(|operand| [rows.moves[operand], row.moves[operand]]),
            offsets,
        }
    }
}

/// Rows of the two innermost axes: whole ones, or a part of one.
#[derive(Clone, Copy, Debug)]
struct Span {
    rows: usize,
    columns: usize,
    /// For each operand, whether it moves from row to row and from column to column.
    moves: [[bool; 2]; 2],
    /// Where each operand stands.
    offsets: [usize; 2],
}

impl Span {
    fn elements(&self) -> usize {
        self.rows * self.columns
    }
}

/// Copies of an operand that repeats.
struct Block<T> {
    elements: [T; BLOCK],
    /// The row that the block repeats, and how many copies there are.
    row: (usize, usize),
    filled: usize,
}

impl<T: Copy + Default> Default for Block<T> {
    fn default() -> Self {
        Self {
            elements: [T::default(); BLOCK],
            row: (0, 0),
            filled: 0,
        }
    }
}

impl<T: Copy + Default> Block<T> {
    /// The operand's values for a span: its own where they are contiguous, else copies.
    fn operand<'a>(&'a mut self, input: &'a [T], span: &Span, operand: usize) -> &'a [T] {
        let (len, columns) = (span.elements(), span.columns);
        let from = input.get(span.offsets[operand]..).unwrap_or_default();
        match span.moves[operand] {
            [_, true] if span.rows == 1 => from,
            [true, true] => from,
            [false, true] => {
                let row = (span.offsets[operand], columns);
                if self.row != row || self.filled < len {
                    let copies = self.elements.chunks_exact_mut(columns).take(span.rows);
                    for (to, from) in
                        copies.zip(core::iter::repeat(from.get(..columns).unwrap_or_default()))
                    {
                        if to.len() == from.len() {
                            to.copy_from_slice(from);
                        }
                    }
                    (self.row, self.filled) = (row, len);
                }
                &self.elements
            }
            [true, false] => {
                for (to, from) in self.elements.chunks_mut(columns).take(span.rows).zip(from) {
                    to.fill(*from);
                }
                self.filled = 0;
                &self.elements
            }
            [false, false] => {
                let value = from.first().copied().unwrap_or_default();
                if let Some(to) = self.elements.get_mut(..len) {
                    to.fill(value);
                }
                self.filled = 0;
                &self.elements
            }
        }
    }
}
