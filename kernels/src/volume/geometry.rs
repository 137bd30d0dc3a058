//! Windows over `[N, D, H, W, C]`.

use qconfig_core::kernel::{Refusal, TensorSpec, Window3};

use crate::blob::Words;
use crate::units::word;

/// Which way a window goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    /// An output gathers the inputs under its window.
    Forward,
    /// An input adds to the outputs under its window.
    Transposed,
}

/// `[N, D, H, W, C]` of a shape with one to three dimensions between; those it lacks are 1. Weights
/// `[O, k.., I / groups]` too.
pub(crate) fn ndhwc(shape: &[usize]) -> Option<[usize; 5]> {
    match *shape {
        [n, l, c] => Some([n, 1, 1, l, c]),
        [n, h, w, c] => Some([n, 1, h, w, c]),
        [n, d, h, w, c] => Some([n, d, h, w, c]),
        _ => None,
    }
}

/// Shapes and window; the bytes of the input fit `isize`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Geometry {
    pub(crate) batch: usize,
    /// `[depth, height, width]`.
    pub(crate) input: [usize; 3],
    /// Input channels.
    pub(crate) channels: usize,
    pub(crate) output: [usize; 3],
    /// Below 2^16 and at least 1, as stride and dilation are.
    pub(crate) kernel: [usize; 3],
    stride: [usize; 3],
    dilation: [usize; 3],
    /// Padding before; where the output ends is known.
    before: [usize; 3],
    direction: Direction,
}

impl Geometry {
    /// The geometry of a node whose output has the size that its window says, `more` at the end.
    pub(crate) fn new(
        window: Window3,
        more: [usize; 3],
        direction: Direction,
        input: &TensorSpec<'_>,
        output: &TensorSpec<'_>,
    ) -> Result<Self, Refusal> {
        let (Some([batch, in_size @ .., channels]), Some([out_batch, out_size @ .., _])) =
            (ndhwc(input.shape), ndhwc(output.shape))
        else {
            return Err(Refusal::Shape(
                "a convolution has one to three spatial dimensions",
            ));
        };
        let unfit = Refusal::Shape("the shapes of input, window and output do not fit each other");
        if batch != out_batch || input.shape.len() != output.shape.len() {
            return Err(unfit);
        }
        let Window3 {
            kernel,
            stride,
            padding: [front, top, left, back, bottom, right],
            dilation,
        } = window;
        let (before, after) = ([front, top, left], [back, bottom, right]);
        for axis in 0..3 {
            if kernel[axis] == 0 || stride[axis] == 0 || dilation[axis] == 0 {
                return Err(Refusal::Operator("a window, stride or dilation is 0"));
            }
            let size = || {
                let span = dilation[axis].checked_mul(kernel[axis] - 1)?;
                let padding = before[axis].checked_add(after[axis])?;
                match direction {
                    Direction::Forward => {
                        let room = in_size[axis].checked_add(padding)?.checked_sub(1)?;
                        Some(room.checked_sub(span)? / stride[axis] + 1)
                    }
                    Direction::Transposed => {
                        let steps = in_size[axis].checked_sub(1)?.checked_mul(stride[axis])?;
                        let end = steps.checked_add(span)?.checked_add(1)?;
                        end.checked_add(more[axis])?.checked_sub(padding)
                    }
                }
            };
            if size() != Some(out_size[axis]) {
                return Err(unfit);
            }
        }
        let geometry = Self {
            batch,
            input: in_size,
            channels,
            output: out_size,
            kernel,
            stride,
            dilation,
            before,
            direction,
        };
        // what cannot be read back does not fit the header
        match Self::read(&geometry.words()?, direction) {
            Some(same) if same == geometry => Ok(geometry),
            _ => Err(Refusal::Shape("sizes overflow")),
        }
    }

    /// Header words: batch, input, channels, output, then 16 bits each: kernel, stride, dilation,
    /// padding before.
    pub(crate) fn words(&self) -> Result<Words, Refusal> {
        let mut words = [0; 15];
        let sizes = [self.batch]
            .into_iter()
            .chain(self.input)
            .chain([self.channels])
            .chain(self.output);
        for (to, size) in words.iter_mut().zip(sizes) {
            *to = word(size)?;
        }
        let numbers = [self.kernel, self.stride, self.dilation, self.before];
        for (to, pair) in words[8..]
            .iter_mut()
            .zip(numbers.as_flattened().chunks_exact(2))
        {
            let [high, low] = [pair[0], pair[1]].map(|number| u16::try_from(number).ok());
            let (Some(high), Some(low)) = (high, low) else {
                return Err(Refusal::Shape(
                    "a window, stride, padding or dilation beyond 16 bits",
                ));
            };
            *to = u32::from(high) << 16 | u32::from(low);
        }
        Ok(words)
    }

    /// `None` where the words are no geometry.
    pub(crate) fn read(words: &Words, direction: Direction) -> Option<Self> {
        let size = |at: usize| words[at] as usize;
        let mut numbers = [0usize; 12];
        for (pair, word) in numbers.chunks_exact_mut(2).zip(&words[8..]) {
            pair.copy_from_slice(&[(word >> 16) as usize, (word & 0xFFFF) as usize]);
        }
        let three = |from: usize| [numbers[from], numbers[from + 1], numbers[from + 2]];
        let geometry = Self {
            batch: size(0),
            input: [size(1), size(2), size(3)],
            channels: size(4),
            output: [size(5), size(6), size(7)],
            kernel: three(0),
            stride: three(3),
            dilation: three(6),
            before: three(9),
            direction,
        };
        let Self {
            batch,
            input: [d, h, w],
            channels,
            ..
        } = geometry;
        let bytes = [d, h, w, channels]
            .iter()
            .try_fold(batch, |n, size| n.checked_mul(*size));
        isize::try_from(bytes?).ok()?;
        let used = [geometry.kernel, geometry.stride, geometry.dilation];
        let zero = used.as_flattened().contains(&0) || channels == 0;
        (!zero && words[14] == 0).then_some(geometry)
    }

    /// Bytes of the input.
    pub(crate) fn input_len(&self) -> usize {
        self.batch * self.input.iter().product::<usize>() * self.channels
    }

    /// Output positions of the whole batch.
    pub(crate) fn pixels(&self) -> Option<usize> {
        self.output
            .iter()
            .try_fold(self.batch, |n, size| n.checked_mul(*size))
    }

    /// Cells of the window.
    pub(crate) fn taps(&self) -> Option<usize> {
        self.kernel
            .iter()
            .try_fold(1usize, |n, size| n.checked_mul(*size))
    }

    /// `[image, z, y, x]` of an output position.
    pub(crate) fn position(&self, pixel: usize) -> [usize; 4] {
        let [depth, height, width] = self.output;
        let (line, x) = (pixel / width, pixel % width);
        let (plane, y) = (line / height, line % height);
        [plane / depth, plane % depth, y, x]
    }

    /// The input along an axis that a tap of an output sees; `None` in the padding, or between the inputs
    /// of a transposed convolution.
    pub(crate) fn tap(&self, axis: usize, output: usize, tap: usize) -> Option<usize> {
        let [stride, dilation, before] =
            [self.stride, self.dilation, self.before].map(|numbers| numbers[axis] as i64);
        let (output, tap) = (output as i64, tap as i64);
        let at = match self.direction {
            Direction::Forward => output * stride + tap * dilation - before,
            Direction::Transposed => {
                let at = output + before - tap * dilation;
                if at % stride != 0 {
                    return None;
                }
                at / stride
            }
        };
        usize::try_from(at).ok().filter(|at| *at < self.input[axis])
    }

    /// Whether outputs gather inputs.
    pub(crate) fn is_forward(&self) -> bool {
        self.direction == Direction::Forward
    }

    /// Whether each output sees the one input at its own place.
    pub(crate) fn is_point(&self) -> bool {
        (self.kernel, self.stride, self.before, self.input) == ([1; 3], [1; 3], [0; 3], self.output)
    }

    /// Whether the taps along the width lie beside each other in memory.
    pub(crate) fn has_lines(&self) -> bool {
        self.direction == Direction::Forward && self.dilation[2] == 1
    }
}
