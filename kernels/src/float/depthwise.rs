//! Depthwise convolution: each channel by itself.

use super::loops::{Loop, cells, cells_mut, clamp, get};
use crate::volume::Geometry;

/// Channels summed together: as many as a few vectors hold.
const WIDTH: usize = 32;

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

impl Loop for Depthwise<'_> {
    #[inline(always)]
    fn run(self) {
        let geometry = self.geometry;
        let channels = geometry.channels / 4;
        let (input, weight, bias) = (cells(self.input), cells(self.weight), cells(self.bias));
        let [depth, height, width] = geometry.input;
        let [planes, lines, taps] = geometry.kernel;
        let [low, high] = self.bounds;
        let pixels = cells_mut(self.output).chunks_exact_mut(channels.max(1));
        for (pixel, output) in pixels.enumerate() {
            let [image, z, y, x] = geometry.position(self.first + pixel);
            for (chunk, to) in output.chunks_mut(WIDTH).enumerate() {
                let start = chunk * WIDTH;
                let mut sums = [0.0f32; WIDTH];
                for tap_z in 0..planes {
                    let Some(z) = geometry.tap(0, z, tap_z) else {
                        continue;
                    };
                    for tap_y in 0..lines {
                        let Some(y) = geometry.tap(1, y, tap_y) else {
                            continue;
                        };
                        let line = ((image * depth + z) * height + y) * width;
                        let first_tap = (tap_z * lines + tap_y) * taps;
                        for tap_x in 0..taps {
                            let Some(x) = geometry.tap(2, x, tap_x) else {
                                continue;
                            };
                            let x = &input[(line + x) * channels + start..][..to.len()];
                            let w = &weight[(first_tap + tap_x) * channels + start..][..to.len()];
                            for (sum, (x, w)) in sums.iter_mut().zip(x.iter().zip(w)) {
                                *sum += get(x) * f32::from_le_bytes(*w);
                            }
                        }
                    }
                }
                let bias = &bias[start..][..to.len()];
                for (to, (sum, bias)) in to.iter_mut().zip(sums.iter().zip(bias)) {
                    let y = clamp(sum + f32::from_le_bytes(*bias), low, high);
                    *to = y.to_ne_bytes();
                }
            }
        }
    }
}
