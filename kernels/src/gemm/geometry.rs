//! The shapes of a convolution; a linear layer is a pointwise one over a row of pixels.

use core::ops::Range;

use qconfig_core::kernel::Window;

#[cfg(target_arch = "x86_64")]
use super::panels::DEPTH;
use super::rows::Rows;

/// The longest reduction whose `u8 * i8` products cannot overflow an `i32`: `K * 255 * 128 < 2^31`.
pub(crate) const MAX_K: usize = 65_793;

/// Outputs of a Winograd tile in each direction.
pub(crate) const TILE: usize = 4;
/// Inputs of a Winograd tile in each direction.
pub(crate) const SPAN: usize = TILE + 2;
/// Tiles from which transforming the weights pays.
const TILES: usize = 4;

/// Shapes that fit each other; made by [`Geometry::new`] only, so that offsets computed from them lie
/// inside buffers of [`Geometry::input_elements`] and `rows * out_channels`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Geometry {
    batch: usize,
    height: usize,
    width: usize,
    channels: usize,
    out_height: usize,
    out_width: usize,
    /// Output channels of all groups.
    pub(crate) out_channels: usize,
    /// Channel groups, each a GEMM of its own.
    pub(crate) groups: usize,
    window: Window,
    /// GEMM rows: output pixels of the whole batch.
    pub(crate) rows: usize,
    /// Length of the reduction of one group.
    pub(crate) k: usize,
    input_elements: usize,
}

/// The words a geometry takes in a header.
pub(crate) const WORDS: usize = 11;

/// `[N, H, W, C]`.
pub(crate) type Nhwc = [usize; 4];

/// A window of one pixel, and nothing around it.
pub(crate) const POINT: Window = Window {
    kernel: [1; 2],
    stride: [1; 2],
    padding: [0; 4],
    dilation: [1; 2],
};

impl Geometry {
    /// The geometry, unless the shapes do not fit each other or a size overflows.
    pub(crate) fn new(
        [batch, height, width, channels]: Nhwc,
        out_channels: usize,
        groups: usize,
        window: Window,
    ) -> Option<Geometry> {
        let Window {
            kernel,
            stride,
            padding: [top, left, bottom, right],
            dilation,
        } = window;
        let sizes = [height, width, channels, out_channels, groups];
        let steps = kernel.iter().chain(&stride).chain(&dilation);
        if sizes.iter().chain(steps).any(|n| *n == 0)
            || !channels.is_multiple_of(groups)
            || !out_channels.is_multiple_of(groups)
        {
            return None;
        }
        let extent = |axis: usize, size: usize, before: usize, after: usize| {
            let span = dilation[axis].checked_mul(kernel[axis] - 1)?;
            let room = size
                .checked_add(before)?
                .checked_add(after)?
                .checked_sub(1)?;
            // offsets are computed in `isize`
            isize::try_from(room).ok()?;
            Some(room.checked_sub(span)? / stride[axis] + 1)
        };
        let out_height = extent(0, height, top, bottom)?;
        let out_width = extent(1, width, left, right)?;
        let product = |factors: &[usize]| factors.iter().try_fold(1usize, |n, f| n.checked_mul(*f));
        let input_elements = product(&[batch, height, width, channels])?;
        let rows = product(&[batch, out_height, out_width])?;
        let k = product(&[kernel[0], kernel[1], channels / groups])?;
        // four bytes an output, for float outputs
        product(&[rows, out_channels, 4])?;
        isize::try_from(input_elements.checked_mul(4)?).ok()?;
        Some(Geometry {
            batch,
            height,
            width,
            channels,
            out_height,
            out_width,
            out_channels,
            groups,
            window,
            rows,
            k,
            input_elements,
        })
    }

    /// A matrix `[rows, k]` times `[out_channels, k]` transposed.
    pub(crate) fn linear(rows: usize, k: usize, out_channels: usize) -> Option<Geometry> {
        Geometry::grouped(rows, k, out_channels, 1)
    }

    /// As [`Geometry::linear`] for each group: its `k` columns of the left matrix, its outputs.
    pub(crate) fn grouped(
        rows: usize,
        k: usize,
        out_channels: usize,
        groups: usize,
    ) -> Option<Geometry> {
        // an empty batch is a batch of no pixels
        let [batch, width] = if rows == 0 { [0, 1] } else { [1, rows] };
        let channels = k.checked_mul(groups)?;
        Geometry::new([batch, 1, width, channels], out_channels, groups, POINT)
    }

    /// Header words: `N H W C O groups`, then pairs of 16 bits: kernel, stride, dilation, padding
    /// before, padding after. `None` where a number does not fit.
    pub(crate) fn to_words(self) -> Option<[u32; WORDS]> {
        let word = |n: usize| u32::try_from(n).ok();
        let pair = |a: usize, b: usize| {
            Some(u32::from(u16::try_from(a).ok()?) << 16 | u32::from(u16::try_from(b).ok()?))
        };
        let Window {
            kernel,
            stride,
            padding: [top, left, bottom, right],
            dilation,
        } = self.window;
        Some([
            word(self.batch)?,
            word(self.height)?,
            word(self.width)?,
            word(self.channels)?,
            word(self.out_channels)?,
            word(self.groups)?,
            pair(kernel[0], kernel[1])?,
            pair(stride[0], stride[1])?,
            pair(dilation[0], dilation[1])?,
            pair(top, left)?,
            pair(bottom, right)?,
        ])
    }

    /// The inverse of [`Geometry::to_words`], checked like [`Geometry::new`].
    pub(crate) fn from_words(words: &[u32; WORDS]) -> Option<Geometry> {
        let [
            batch,
            height,
            width,
            channels,
            out,
            groups,
            kernel,
            stride,
            dilation,
            before,
            after,
        ] = words.map(|word| word as usize);
        let pair = |word: usize| [word >> 16, word & 0xffff];
        let ([top, left], [bottom, right]) = (pair(before), pair(after));
        let window = Window {
            kernel: pair(kernel),
            stride: pair(stride),
            padding: [top, left, bottom, right],
            dilation: pair(dilation),
        };
        Geometry::new([batch, height, width, channels], out, groups, window)
    }

    /// Elements of the input.
    pub(crate) fn input_elements(&self) -> usize {
        self.input_elements
    }

    /// `[N, H, W, O]` of the output.
    pub(crate) fn output_shape(&self) -> Nhwc {
        [
            self.batch,
            self.out_height,
            self.out_width,
            self.out_channels,
        ]
    }

    /// Output channels of one group.
    pub(crate) fn group_outputs(&self) -> usize {
        self.out_channels / self.groups
    }

    /// Input channels of one group: the length of one tap.
    pub(crate) fn tap_channels(&self) -> usize {
        self.channels / self.groups
    }

    /// Taps of the window.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn taps(&self) -> usize {
        self.window.kernel[0] * self.window.kernel[1]
    }

    /// Whether a GEMM row is a run of input bytes as they lie.
    pub(crate) fn is_pointwise(&self) -> bool {
        self.window == POINT
    }

    /// The window's top left corner for GEMM row `row`.
    pub(crate) fn corner(&self, row: usize) -> Corner {
        let (line, x) = (row / self.out_width, row % self.out_width);
        let (image, y) = (line / self.out_height, line % self.out_height);
        let Window {
            stride, padding, ..
        } = self.window;
        Corner {
            image,
            y: (y * stride[0]) as isize - padding[0] as isize,
            x: (x * stride[1]) as isize - padding[1] as isize,
        }
    }

    /// GEMM rows from `row` to the end of its line of outputs.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn line_rows(&self, row: usize) -> usize {
        self.out_width - row % self.out_width
    }

    /// Of `count` windows along a line of outputs, the first that of GEMM row `row`: those that lie wholly
    /// inside the input, where the first of them begins, and the elements from a line of a window to the
    /// next, and from a window to the next.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn inside(&self, row: usize, count: usize) -> (Range<usize>, usize, [usize; 2]) {
        let Window {
            kernel,
            dilation,
            stride,
            ..
        } = self.window;
        let corner = self.corner(row);
        let steps = [
            dilation[0] * self.width * self.channels,
            stride[1] * self.channels,
        ];
        let [below, right] = [0, 1].map(|axis| ((kernel[axis] - 1) * dilation[axis]) as isize);
        // windows whose first tap is at 0 or behind, and whose last is not behind the last pixel
        let windows = |pixels: isize| pixels.max(0).unsigned_abs().div_ceil(stride[1]).min(count);
        let inside = windows(-corner.x)..windows(self.width as isize - right - corner.x);
        if corner.y < 0 || corner.y + below >= self.height as isize || inside.is_empty() {
            return (0..0, 0, steps);
        }
        let line = corner.image * self.height + corner.y.unsigned_abs();
        let x = corner.x + (inside.start * stride[1]) as isize;
        let pixel = line * self.width + x.unsigned_abs();
        (inside, pixel * self.channels, steps)
    }

    /// The input elements under a tap, one group's channels; `None` in the padding.
    pub(crate) fn tap(
        &self,
        corner: Corner,
        group: usize,
        tap: [usize; 2],
    ) -> Option<Range<usize>> {
        let [y, x] =
            [(corner.y, 0, self.height), (corner.x, 1, self.width)].map(|(at, axis, size)| {
                let at = at + (tap[axis] * self.window.dilation[axis]) as isize;
                usize::try_from(at).ok().filter(|at| *at < size)
            });
        let pixel = (corner.image * self.height + y?) * self.width + x?;
        let start = pixel * self.channels + group * self.tap_channels();
        Some(start..start + self.tap_channels())
    }

    /// Whether the taps of one kernel row lie beside each other in memory.
    pub(crate) fn has_lines(&self) -> bool {
        self.groups == 1 && self.window.dilation[1] == 1
    }

    /// Kernel rows.
    pub(crate) fn lines(&self) -> usize {
        self.window.kernel[0]
    }

    /// Elements of one kernel row of taps, where [`Geometry::has_lines`].
    pub(crate) fn line(&self) -> usize {
        self.window.kernel[1] * self.channels
    }

    /// The input elements under kernel row `ky`, and which elements of the line they are: none where all
    /// of it lies in the padding.
    pub(crate) fn line_taps(&self, corner: Corner, ky: usize) -> (Range<usize>, Range<usize>) {
        let taps = self.window.kernel[1];
        // taps kx with 0 <= x + kx < width
        let first = usize::try_from(-corner.x).unwrap_or(0).min(taps);
        let last = usize::try_from(self.width as isize - corner.x)
            .unwrap_or(0)
            .min(taps);
        match self.tap(corner, 0, [ky, first]).filter(|_| first < last) {
            Some(run) => {
                let inside = first * self.channels..last * self.channels;
                (run.start..run.start + inside.len(), inside)
            }
            None => (0..0, 0..0),
        }
    }

    /// Whether tiles of outputs can be made from fewer products (see [`Winograd`](super::Winograd)): a
    /// 3 x 3 window that steps by one over whole vectors of channels.
    pub(crate) fn is_winograd(&self) -> bool {
        let Window {
            kernel,
            stride,
            dilation,
            ..
        } = self.window;
        (kernel, stride, dilation, self.groups) == ([3; 2], [1; 2], [1; 2], 1)
            && self.channels >= 16
            && self.channels.is_multiple_of(4)
            && self.tile_count() >= TILES
    }

    /// Winograd tiles of the whole batch.
    fn tile_count(&self) -> usize {
        self.batch * self.out_height.div_ceil(TILE) * self.out_width.div_ceil(TILE)
    }

    /// Output lines that are cut together: a line of tiles, or an image where there are several.
    pub(crate) fn tile_lines(&self) -> usize {
        if self.batch == 1 {
            TILE
        } else {
            self.out_height
        }
    }

    /// Output pixels of a line.
    pub(crate) fn out_width(&self) -> usize {
        self.out_width
    }

    /// The tiles `[image, y, x]` of a range of GEMM rows that begins and ends with lines of tiles.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn tiles(&self, rows: Range<usize>) -> impl Iterator<Item = [usize; 3]> {
        let (width, height) = (self.out_width, self.out_height);
        let lines = rows.start / width..rows.end / width;
        lines
            .map(move |line| (line / height, line % height))
            .filter(|(_, y)| y.is_multiple_of(TILE))
            .flat_map(move |(image, y)| (0..width).step_by(TILE).map(move |x| [image, y, x]))
    }

    /// Outputs of a tile that exist, `[lines, columns]`.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn tile_extent(&self, [_, y, x]: [usize; 3]) -> [usize; 2] {
        [
            (self.out_height - y).min(TILE),
            (self.out_width - x).min(TILE),
        ]
    }

    /// The GEMM row of an output of a tile.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn tile_row(&self, [image, y, x]: [usize; 3], at: [usize; 2]) -> usize {
        (image * self.out_height + y + at[0]) * self.out_width + x + at[1]
    }

    /// The first channel of the input pixel at `offset` from the window's corner of output `[y, x]`;
    /// `None` in the padding.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn pixel(
        &self,
        image: usize,
        [y, x]: [usize; 2],
        offset: [usize; 2],
    ) -> Option<usize> {
        let [top, left, ..] = self.window.padding;
        let y = (y + offset[0])
            .checked_sub(top)
            .filter(|y| *y < self.height)?;
        let x = (x + offset[1])
            .checked_sub(left)
            .filter(|x| *x < self.width)?;
        Some(((image * self.height + y) * self.width + x) * self.channels)
    }

    /// Input channels.
    pub(crate) fn channels(&self) -> usize {
        self.channels
    }

    /// The `[ky, kx]` of the window, in order.
    pub(crate) fn window_taps(&self) -> impl Iterator<Item = [usize; 2]> {
        let [height, width] = self.window.kernel;
        (0..height).flat_map(move |ky| (0..width).map(move |kx| [ky, kx]))
    }
}

/// Where a window begins: may lie in the padding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Corner {
    image: usize,
    y: isize,
    x: isize,
}

/// An image in memory, as the rows of a GEMM.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Image<'a> {
    geometry: Geometry,
    input: &'a [u8],
    /// What padding holds: the input's zero point.
    zero_point: u8,
}

impl<'a> Image<'a> {
    /// An image of `input`, which must have [`Geometry::input_elements`] bytes.
    pub(crate) fn new(geometry: Geometry, input: &'a [u8], zero_point: u8) -> Image<'a> {
        Image {
            geometry,
            input,
            zero_point,
        }
    }

    /// Copies the taps of one kernel row that lie beside each other in memory.
    fn gather_line(&self, corner: Corner, ky: usize, line: &mut [u8]) {
        let (run, inside) = self.geometry.line_taps(corner, ky);
        let (inside, after) = line.split_at_mut(inside.end);
        let (before, inside) = inside.split_at_mut(inside.len() - run.len());
        before.fill(self.zero_point);
        inside.copy_from_slice(&self.input[run]);
        after.fill(self.zero_point);
    }
}

impl Rows for Image<'_> {
    fn lying(&self, row: usize, group: usize) -> Option<&[u8]> {
        if !self.geometry.is_pointwise() {
            return None;
        }
        let run = self
            .geometry
            .tap(self.geometry.corner(row), group, [0, 0])?;
        Some(&self.input[run])
    }

    fn gather(&self, row: usize, group: usize, to: &mut [u8]) {
        let geometry = &self.geometry;
        let corner = geometry.corner(row);
        if geometry.has_lines() {
            let lines = to.chunks_exact_mut(geometry.line());
            for (ky, line) in (0..geometry.lines()).zip(lines) {
                self.gather_line(corner, ky, line);
            }
        } else {
            let cells = to.chunks_exact_mut(geometry.tap_channels());
            for (tap, cell) in geometry.window_taps().zip(cells) {
                match geometry.tap(corner, group, tap) {
                    Some(run) => cell.copy_from_slice(&self.input[run]),
                    None => cell.fill(self.zero_point),
                }
            }
        }
    }

    fn image(&self) -> Option<Taps<'_>> {
        Some(Taps {
            geometry: &self.geometry,
            input: self.input,
            zero_point: self.zero_point,
        })
    }
}

#[cfg(target_arch = "x86_64")]
impl<'a> Taps<'a> {
    /// Some GEMM rows of one group as they lie, of whole groups of [`DEPTH`] elements, and the elements from one
    /// row to the next; `None` where they do not lie so.
    pub(crate) fn lying(
        &self,
        (start, rows): (usize, usize),
        group: usize,
    ) -> Option<(&'a [u8], usize)> {
        let (pitch, taps) = (self.geometry.channels, self.geometry.tap_channels());
        if !self.geometry.is_pointwise() || !taps.is_multiple_of(DEPTH) {
            return None;
        }
        let first = start * pitch + group * taps;
        let bytes = rows.checked_sub(1)? * pitch + taps;
        Some((self.input.get(first..first + bytes)?, pitch))
    }
}

#[cfg_attr(
    not(target_arch = "x86_64"),
    expect(dead_code, reason = "NEON's products copy the taps")
)]
/// An image whose taps a kernel may read where they lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taps<'a> {
    /// Whose `tap` gives ranges of `input`.
    pub(crate) geometry: &'a Geometry,
    /// The elements.
    pub(crate) input: &'a [u8],
    /// What a tap in the padding holds.
    pub(crate) zero_point: u8,
}
