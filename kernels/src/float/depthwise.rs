//! Depthwise convolution: each channel by itself.

use super::loops::{Cells, Loop, cells, cells_mut, clamp, get};
use crate::volume::Geometry;

/// Output positions from `first` on, as many as `output` holds. Channels of the geometry are bytes.
pub(super) struct Depthwise<'a> {
    pub(super) geometry: &'a Geometry,
    pub(super) input: &'a [u8],
    /// `[taps][channels]`.
    pub(super) weight: &'a [u8],
    pub(super) bias: &'a [u8],
    pub(super) bounds: [f32; 2],
    pub(super) first: usize,
    pub(super) output: &'a mut [u8],
}

/// The taps inside the input along an axis, which follow each other: the first one, the cell under it, how
/// many there are, and the cells from one to the next.
#[derive(Clone, Copy, Default)]
struct Inside {
    tap: usize,
    cell: usize,
    count: usize,
    step: usize,
}

impl Inside {
    fn new(geometry: &Geometry, axis: usize, at: usize) -> Self {
        let taps = 0..geometry.kernel[axis];
        let mut cells = taps.filter_map(|tap| Some((tap, geometry.tap(axis, at, tap)?)));
        let Some((tap, cell)) = cells.next() else {
            return Self::default();
        };
        let (mut count, mut step) = (1, 0);
        for (_, next) in cells {
            if count == 1 {
                step = next - cell;
            }
            count += 1;
        }
        Self {
            tap,
            cell,
            count,
            step,
        }
    }
}

/// Floats that one instruction takes, or fewer.
type Lanes<const L: usize> = [[u8; 4]; L];

/// `V` times `L` floats from a place on, which is inside.
#[inline(always)]
fn part<const V: usize, const L: usize>(cells: &Cells, at: usize) -> Option<&[Lanes<L>; V]> {
    cells.get(at..)?.as_chunks().0.first_chunk()
}

/// What an output position sees.
struct Window<'a> {
    input: &'a Cells,
    weight: &'a Cells,
    bias: &'a Cells,
    bounds: [f32; 2],
    channels: usize,
    /// Along depth, height and width.
    inside: [Inside; 3],
    /// Cells of a plane and of a line; taps likewise.
    cells: [usize; 2],
    taps: [usize; 2],
    /// The image's first cell.
    image: usize,
}

impl Window<'_> {
    /// `V` times `L` channels from `start` on.
    #[inline(always)]
    fn channels<const V: usize, const L: usize>(&self, start: usize, to: &mut [Lanes<L>; V]) {
        let [z, y, x] = self.inside;
        let mut sums = [[0.0f32; L]; V];
        for i in 0..z.count {
            for j in 0..y.count {
                let line = self.image
                    + (z.cell + i * z.step) * self.cells[0]
                    + (y.cell + j * y.step) * self.cells[1];
                let tap = (z.tap + i) * self.taps[0] + (y.tap + j) * self.taps[1] + x.tap;
                let mut at = (line + x.cell) * self.channels + start;
                let mut weight = tap * self.channels + start;
                for _ in 0..x.count {
                    let (Some(cells), Some(weights)) = (
                        part::<V, L>(self.input, at),
                        part::<V, L>(self.weight, weight),
                    ) else {
                        return;
                    };
                    for (sums, (cells, weights)) in sums.iter_mut().zip(cells.iter().zip(weights)) {
                        for (sum, (x, w)) in sums.iter_mut().zip(cells.iter().zip(weights)) {
                            *sum += get(x) * f32::from_le_bytes(*w);
                        }
                    }
                    at += x.step * self.channels;
                    weight += self.channels;
                }
            }
        }
        let [low, high] = self.bounds;
        let Some(bias) = part::<V, L>(self.bias, start) else {
            return;
        };
        for (to, (sums, bias)) in to.iter_mut().zip(sums.iter().zip(bias)) {
            for (to, (sum, bias)) in to.iter_mut().zip(sums.iter().zip(bias)) {
                *to = clamp(sum + f32::from_le_bytes(*bias), low, high).to_ne_bytes();
            }
        }
    }
}

impl Loop for Depthwise<'_> {
    #[inline(always)]
    fn run(self) {
        let geometry = self.geometry;
        let channels = geometry.channels / 4;
        let [depth, height, width] = geometry.input;
        let [_, lines, taps] = geometry.kernel;
        let mut window = Window {
            input: cells(self.input),
            weight: cells(self.weight),
            bias: cells(self.bias),
            bounds: self.bounds,
            channels,
            inside: [Inside::default(); 3],
            cells: [height * width, width],
            taps: [lines * taps, taps],
            image: 0,
        };
        let mut line = None;
        let pixels = cells_mut(self.output).chunks_exact_mut(channels.max(1));
        for (pixel, output) in pixels.enumerate() {
            let [image, z, y, x] = geometry.position(self.first + pixel);
            if line != Some([image, z, y]) {
                line = Some([image, z, y]);
                window.image = image * depth * height * width;
                window.inside[0] = Inside::new(geometry, 0, z);
                window.inside[1] = Inside::new(geometry, 1, y);
            }
            window.inside[2] = Inside::new(geometry, 2, x);
            let (vectors, rest) = output.as_chunks_mut::<8>();
            let mut start = 0;
            let (wide, narrow) = vectors.as_chunks_mut::<4>();
            for to in wide {
                window.channels(start, to);
                start += 32;
            }
            for to in narrow {
                window.channels(start, core::array::from_mut(to));
                start += 8;
            }
            for to in rest.as_chunks_mut::<1>().0 {
                window.channels(start, core::array::from_mut(to));
                start += 1;
            }
        }
    }
}
