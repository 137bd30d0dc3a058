//! Windows over `[N, H, W, C]`: which cells of the input an output position sees.

use core::ops::Range;

use qconfig_core::kernel::{Refusal, TensorSpec, Window};

use crate::units::word;

/// Header words that a [`Geometry`] takes.
pub(crate) const WORDS: usize = 11;

/// Shapes and window of a spatial operator; every product of its sizes fits `usize`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Geometry {
    /// Images.
    pub(crate) batch: usize,
    /// Input `[height, width]`.
    pub(crate) input: [usize; 2],
    /// Input channels.
    pub(crate) channels: usize,
    /// Output `[height, width]`.
    pub(crate) output: [usize; 2],
    /// The window; all of it below 2^16, kernel, stride and dilation at least 1.
    pub(crate) window: Window,
}

/// `[batch, height, width, channels]` of `[N, H, W, C]` or `[N, L, C]`.
fn dimensions(shape: &[usize]) -> Result<[usize; 4], Refusal> {
    match *shape {
        [n, l, c] => Ok([n, 1, l, c]),
        [n, h, w, c] => Ok([n, h, w, c]),
        _ => Err(Refusal::Shape("a window takes [N, H, W, C] or [N, L, C]")),
    }
}

impl Geometry {
    /// Shapes that agree on the batch, with the output's channels beside.
    pub(crate) fn new(
        window: Window,
        input: &TensorSpec<'_>,
        output: &TensorSpec<'_>,
    ) -> Result<(Self, usize), Refusal> {
        let [batch, height, width, channels] = dimensions(input.shape)?;
        let [out_batch, out_height, out_width, out_channels] = dimensions(output.shape)?;
        if batch != out_batch || input.shape.len() != output.shape.len() {
            return Err(Refusal::Shape(
                "input and output differ in their batch or rank",
            ));
        }
        let geometry = Self {
            batch,
            input: [height, width],
            channels,
            output: [out_height, out_width],
            window,
        };
        // what cannot be read back does not fit the header
        match Self::read(&geometry.words()?) {
            Some(same) if same == geometry => Ok((geometry, out_channels)),
            _ => Err(Refusal::Shape(
                "a window, stride or dilation is 0, or sizes overflow",
            )),
        }
    }

    pub(crate) fn words(&self) -> Result<[u32; WORDS], Refusal> {
        let Window {
            kernel,
            stride,
            padding: [top, left, bottom, right],
            dilation,
        } = self.window;
        let pair = |[y, x]: [usize; 2]| match (u16::try_from(y), u16::try_from(x)) {
            (Ok(y), Ok(x)) => Ok(u32::from(y) << 16 | u32::from(x)),
            _ => Err(Refusal::Shape(
                "a window, stride, padding or dilation beyond 16 bits",
            )),
        };
        Ok([
            word(self.batch)?,
            word(self.input[0])?,
            word(self.input[1])?,
            word(self.channels)?,
            word(self.output[0])?,
            word(self.output[1])?,
            pair(kernel)?,
            pair(stride)?,
            pair(dilation)?,
            pair([top, left])?,
            pair([bottom, right])?,
        ])
    }

    /// `None` where the words are no geometry.
    pub(crate) fn read(words: &[u32; WORDS]) -> Option<Self> {
        let [batch, height, width, channels, out_height, out_width] =
            [0, 1, 2, 3, 4, 5].map(|i| words[i] as usize);
        let pair = |word: u32| [(word >> 16) as usize, (word & 0xFFFF) as usize];
        let [kernel, stride, dilation] = [6, 7, 8].map(|i| pair(words[i]));
        let ([top, left], [bottom, right]) = (pair(words[9]), pair(words[10]));
        if [kernel, stride, dilation].as_flattened().contains(&0) {
            return None;
        }
        let product = |sizes: [usize; 4]| {
            sizes
                .iter()
                .try_fold(1usize, |n, size| n.checked_mul(*size))
        };
        product([batch, height, width, channels])?;
        product([batch, out_height, out_width, channels])?;
        let window = Window {
            kernel,
            stride,
            padding: [top, left, bottom, right],
            dilation,
        };
        Some(Self {
            batch,
            input: [height, width],
            channels,
            output: [out_height, out_width],
            window,
        })
    }

    /// Bytes of the input.
    pub(crate) fn input_len(&self) -> usize {
        self.batch * self.input[0] * self.input[1] * self.channels
    }

    /// Output positions of all images.
    pub(crate) fn pixels(&self) -> usize {
        self.batch * self.output[0] * self.output[1]
    }

    /// Cells from the start of the input to the first tap of an output position; negative in the padding.
    pub(crate) fn origin(&self, axis: usize, at: usize) -> i64 {
        at as i64 * self.window.stride[axis] as i64 - self.window.padding[axis] as i64
    }

    /// The taps of an output position that lie inside the input.
    pub(crate) fn taps(&self, axis: usize, at: usize) -> Range<usize> {
        let (origin, size) = (self.origin(axis, at), self.input[axis] as i64);
        let (kernel, dilation) = (
            self.window.kernel[axis] as i64,
            self.window.dilation[axis] as i64,
        );
        // the first tap at or behind `cell`; a division costs more than a small window
        let from = |cell: i64| {
            let ahead = (cell - origin).max(0);
            let taps = if dilation == 1 {
                ahead
            } else {
                (ahead + dilation - 1) / dilation
            };
            taps.min(kernel) as usize
        };
        let (start, end) = (from(0), from(size));
        start..end.max(start)
    }

    /// The cells inside the input that an output position sees.
    pub(crate) fn cells(&self, at: Pixel) -> Cells {
        let (y, x) = (self.taps(0, at.y), self.taps(1, at.x));
        if y.is_empty() || x.is_empty() {
            return Cells::NONE;
        }
        let [step_y, step_x] = self.window.dilation;
        let cell = |axis: usize, index: usize, tap: usize| {
            (self.origin(axis, index) + (tap * self.window.dilation[axis]) as i64) as usize
        };
        let row = at.image * self.input[0] + cell(0, at.y, y.start);
        Cells {
            start: (row * self.input[1] + cell(1, at.x, x.start)) * self.channels,
            planes: 1,
            plane_step: 0,
            rows: y.len(),
            row_step: step_y.saturating_mul(self.input[1] * self.channels),
            columns: x.len(),
            column_step: step_x.saturating_mul(self.channels),
        }
    }

    /// The output positions of a range of units, one unit a position.
    pub(crate) fn walk(&self, units: Range<usize>) -> impl Iterator<Item = Pixel> {
        let [height, width] = self.output.map(|size| size.max(1));
        let mut next = Pixel {
            image: units.start / width / height,
            y: units.start / width % height,
            x: units.start % width,
        };
        units.map(move |_| {
            let at = next;
            next.x += 1;
            if next.x == width {
                next = Pixel {
                    image: at.image,
                    y: at.y + 1,
                    x: 0,
                };
            }
            if next.y == height {
                next = Pixel {
                    image: at.image + 1,
                    y: 0,
                    x: 0,
                };
            }
            at
        })
    }
}

/// An output position.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pixel {
    pub(crate) image: usize,
    pub(crate) y: usize,
    pub(crate) x: usize,
}

/// A grid of input cells, planes of rows of columns: byte offsets of their first channels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cells {
    pub(crate) start: usize,
    pub(crate) planes: usize,
    pub(crate) plane_step: usize,
    pub(crate) rows: usize,
    pub(crate) row_step: usize,
    pub(crate) columns: usize,
    pub(crate) column_step: usize,
}

impl Cells {
    /// None.
    pub(crate) const NONE: Cells = Cells {
        start: 0,
        planes: 0,
        plane_step: 0,
        rows: 0,
        row_step: 0,
        columns: 0,
        column_step: 0,
    };

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.planes * self.rows * self.columns
    }

    /// The bytes from the first to the end of `channels` channels of the last, where all are inside.
    pub(crate) fn view<'a>(&self, input: &'a [u8], channels: usize) -> Option<&'a [u8]> {
        let planes = self.planes.checked_sub(1)?.checked_mul(self.plane_step)?;
        let rows = self.rows.checked_sub(1)?.checked_mul(self.row_step)?;
        let columns = self.columns.checked_sub(1)?.checked_mul(self.column_step)?;
        let cells = planes.checked_add(rows)?.checked_add(columns)?;
        let len = cells.checked_add(channels)?;
        input.get(self.start..self.start.checked_add(len)?)
    }
}
