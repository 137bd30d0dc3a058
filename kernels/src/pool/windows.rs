//! Windows over images, and over volumes: planes along the depth, each an image.

use core::ops::Range;

use qconfig_core::kernel::{BlobError, Refusal, TensorSpec, Window, Window3};

use crate::blob::{HEADER, Tag, Words, exact};
use crate::spatial::{Cells, Geometry, Pixel, WORDS};
use crate::units;

/// The second section of a volume's blob.
const DEPTH: Tag = Tag {
    word: *b"dep1",
    kernel: "pool",
};

/// The tags of one kernel's blobs.
#[derive(Clone, Copy)]
pub(super) struct Tags {
    /// Of images.
    pub(super) plane: Tag,
    /// Of volumes.
    pub(super) volume: Tag,
}

/// Which cells of the input each output position sees.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    /// Of one plane; its batch counts the input planes of all volumes.
    pub(super) plane: Geometry,
    /// Along the depth of a volume, seen as an image of one column and one channel.
    pub(super) depth: Option<Geometry>,
}

impl Windows {
    /// Over images or lines.
    pub(super) fn over_images(
        window: Window,
        input: &TensorSpec<'_>,
        output: &TensorSpec<'_>,
    ) -> Result<Self, Refusal> {
        let (plane, channels) = Geometry::new(window, input, output)?;
        Self { plane, depth: None }.checked(channels)
    }

    /// Over volumes `[N, D, H, W, C]`.
    pub(super) fn over_volumes(
        window: Window3,
        input: &TensorSpec<'_>,
        output: &TensorSpec<'_>,
    ) -> Result<Self, Refusal> {
        let (&[n, d, h, w, c], &[out_n, out_d, out_h, out_w, out_c]) = (input.shape, output.shape)
        else {
            return Err(Refusal::Shape("a volume is [N, D, H, W, C]"));
        };
        if n != out_n {
            return Err(Refusal::Shape("input and output differ in their batch"));
        }
        let Some(planes) = n.checked_mul(d) else {
            return Err(Refusal::Shape("too many elements"));
        };
        let Window3 {
            kernel,
            stride,
            padding: [front, top, left, back, bottom, right],
            dilation,
        } = window;
        let plane = Window {
            kernel: [kernel[1], kernel[2]],
            stride: [stride[1], stride[2]],
            padding: [top, left, bottom, right],
            dilation: [dilation[1], dilation[2]],
        };
        let depth = Window {
            kernel: [kernel[0], 1],
            stride: [stride[0], 1],
            padding: [front, 0, back, 0],
            dilation: [dilation[0], 1],
        };
        let geometry = |window, from: &[usize], to: &[usize]| {
            let part = |shape| TensorSpec { shape, ..*input };
            Geometry::new(window, &part(from), &part(to))
        };
        let (plane, channels) =
            geometry(plane, &[planes, h, w, c], &[planes, out_h, out_w, out_c])?;
        let (depth, _) = geometry(depth, &[n, d, 1, 1], &[n, out_d, 1, 1])?;
        let depth = Some(depth);
        Self { plane, depth }.checked(channels)
    }

    /// Every window has to start inside the padded input, as the last one does in ceil mode.
    fn checked(self, out_channels: usize) -> Result<Self, Refusal> {
        if out_channels != self.plane.channels {
            return Err(Refusal::Shape("a pool keeps the channels of its input"));
        }
        for geometry in [Some(self.plane), self.depth].into_iter().flatten() {
            let padding = geometry.window.padding;
            for axis in 0..2 {
                let padded = geometry.input[axis] + padding[axis] + padding[axis + 2];
                let last = geometry.output[axis]
                    .saturating_sub(1)
                    .saturating_mul(geometry.window.stride[axis]);
                if geometry.output[axis] > 0 && last >= padded {
                    return Err(Refusal::Shape(
                        "an output position whose window starts behind the padded input",
                    ));
                }
            }
        }
        match self.output_len() {
            Some(_) => Ok(self),
            None => Err(Refusal::Shape("too many elements")),
        }
    }

    /// Whether the taps lie beside each other.
    pub(super) fn is_dense(&self) -> bool {
        let one = |geometry: Geometry| geometry.window.dilation == [1, 1];
        one(self.plane) && self.depth.is_none_or(one)
    }

    /// Bytes of the blob.
    pub(super) fn blob_len(&self) -> usize {
        if self.depth.is_some() {
            2 * HEADER
        } else {
            HEADER
        }
    }

    /// Writes the blob; `words` are what the kernel has beside its windows.
    pub(super) fn write(&self, tags: Tags, words: &[u32], blob: &mut [u8]) -> Result<(), Refusal> {
        units::blob_length(blob, self.blob_len())?;
        let (header, rest) = blob.split_at_mut(HEADER);
        let mut all = [0; 15];
        all[..WORDS].copy_from_slice(&self.plane.words()?);
        for (to, word) in all[WORDS..].iter_mut().zip(words) {
            *to = *word;
        }
        match &self.depth {
            None => tags.plane.write(header, &all),
            Some(depth) => {
                tags.volume.write(header, &all);
                let mut all = [0; 15];
                all[..WORDS].copy_from_slice(&depth.words()?);
                DEPTH.write(rest, &all);
            }
        }
        Ok(())
    }

    /// Reads a blob from anywhere, and the words that the kernel has beside its windows.
    pub(super) fn read(
        tags: Tags,
        blob: &[u8],
        inputs: &[usize],
    ) -> Result<(Self, [u32; 4]), BlobError> {
        let damaged = BlobError::Header(tags.plane.kernel);
        let geometry = |words: &Words| words.first_chunk().and_then(Geometry::read).ok_or(damaged);
        let is_volume = blob.starts_with(&tags.volume.word);
        let tag = if is_volume { tags.volume } else { tags.plane };
        let words = tag.read(blob)?;
        let depth = if is_volume {
            let depth = geometry(&DEPTH.read(blob.get(HEADER..).ok_or(damaged)?)?)?;
            if (depth.channels, depth.input[1], depth.output[1]) != (1, 1, 1) {
                return Err(damaged);
            }
            Some(depth)
        } else {
            None
        };
        let windows = Self {
            plane: geometry(&words)?,
            depth,
        };
        exact("the blob", blob.len(), windows.blob_len())?;
        let planes = depth.map_or(windows.plane.batch, |depth| depth.input_len());
        if planes != windows.plane.batch || windows.output_len().is_none() {
            return Err(damaged);
        }
        let [input] = units::lengths(inputs)?;
        exact("the input", input, windows.plane.input_len())?;
        Ok((windows, [11, 12, 13, 14].map(|i| words[i])))
    }

    /// Output planes of the whole batch.
    fn planes(&self) -> usize {
        self.depth.map_or(self.plane.batch, |depth| depth.pixels())
    }

    /// Output positions of the whole batch.
    pub(super) fn pixels(&self) -> usize {
        self.planes() * self.plane.output[0] * self.plane.output[1]
    }

    /// Bytes of the output, if they can be counted.
    fn output_len(&self) -> Option<usize> {
        let [height, width] = self.plane.output;
        let positions = self.planes().checked_mul(height)?.checked_mul(width)?;
        positions.checked_mul(self.plane.channels)
    }

    /// Cells of a window.
    pub(super) fn kernel_cells(&self) -> usize {
        let [height, width] = self.plane.window.kernel;
        let depth = self.depth.map_or(1, |depth| depth.window.kernel[0]);
        (height * width).saturating_mul(depth)
    }

    /// Calls with each output position of a range of units, one unit a position, the cells it sees and the
    /// channels to write.
    #[inline(always)]
    pub(super) fn each<T>(
        &self,
        units: Range<usize>,
        output: &mut [T],
        mut of: impl FnMut(Position, Cells, &mut [T]),
    ) {
        let pixels = output.chunks_exact_mut(self.plane.channels.max(1));
        let positions = self.plane.walk(units).zip(pixels);
        let Some(depth) = self.depth else {
            for (pixel, output) in positions {
                of(Position { pixel, z: 0 }, self.plane.cells(pixel), output);
            }
            return;
        };
        let size = depth.output[0].max(1);
        for (pixel, output) in positions {
            let image = pixel.image / size * depth.input[0];
            let at = Position {
                pixel: Pixel { image, ..pixel },
                z: pixel.image % size,
            };
            of(at, self.volume_cells(&depth, at), output);
        }
    }

    /// The cells of a volume that an output position sees.
    fn volume_cells(&self, depth: &Geometry, at: Position) -> Cells {
        let taps = depth.taps(0, at.z);
        if taps.is_empty() {
            return Cells::NONE;
        }
        let step = depth.window.dilation[0];
        let first = (depth.origin(0, at.z) + (taps.start * step) as i64) as usize;
        let image = at.pixel.image + first;
        let cells = self.plane.cells(Pixel { image, ..at.pixel });
        if cells.planes == 0 {
            return cells;
        }
        let [height, width] = self.plane.input;
        Cells {
            planes: taps.len(),
            plane_step: step.saturating_mul(height * width * self.plane.channels),
            ..cells
        }
    }

    /// The product over the axes of a count for each: the geometry, the axis in it, the output there.
    pub(super) fn product(
        &self,
        at: Position,
        count: impl Fn(&Geometry, usize, usize) -> usize,
    ) -> usize {
        let depth = self.depth.as_ref().map_or(1, |depth| count(depth, 0, at.z));
        depth * count(&self.plane, 0, at.pixel.y) * count(&self.plane, 1, at.pixel.x)
    }
}

/// An output position: of its plane, whose image is the first input plane of its volume, and the depth.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    pixel: Pixel,
    z: usize,
}
