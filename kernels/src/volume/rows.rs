//! A volume as the rows of a product.

use super::Geometry;
use crate::gemm::{Rows, Taps};

/// Bytes of [`Geometry::input_len`].
#[derive(Debug)]
pub(crate) struct Volume<'a> {
    pub(crate) geometry: &'a Geometry,
    pub(crate) groups: usize,
    pub(crate) input: &'a [u8],
    /// What padding holds: the input's zero point.
    pub(crate) zero_point: u8,
}

impl Volume<'_> {
    /// The taps along the width, at the line of the input whose first cell is number `line`.
    fn gather_line(&self, line: usize, x: usize, group: usize, to: &mut [u8]) {
        let geometry = self.geometry;
        let (channels, taps) = (geometry.channels, geometry.kernel[2]);
        let run = channels / self.groups;
        let cell = |at: usize| (line + at) * channels + group * run;
        if geometry.has_lines() && self.groups == 1 {
            // those inside the input are one run
            let inside = |tap: &usize| geometry.tap(2, x, *tap).is_some();
            if let Some(first) = (0..taps).find(inside) {
                let last = (first..taps).rev().find(inside).unwrap_or(first) + 1;
                let (before, rest) = to.split_at_mut(first * channels);
                let (here, after) = rest.split_at_mut((last - first) * channels);
                let start = cell(geometry.tap(2, x, first).unwrap_or(0));
                before.fill(self.zero_point);
                here.copy_from_slice(&self.input[start..start + here.len()]);
                after.fill(self.zero_point);
                return;
            }
        }
        for (tap, to) in to.chunks_exact_mut(run).enumerate() {
            match geometry.tap(2, x, tap) {
                Some(at) => to.copy_from_slice(&self.input[cell(at)..cell(at) + run]),
                None => to.fill(self.zero_point),
            }
        }
    }
}

impl Rows for Volume<'_> {
    fn lying(&self, _: usize, _: usize) -> Option<&[u8]> {
        None
    }

    fn gather(&self, row: usize, group: usize, to: &mut [u8]) {
        let geometry = self.geometry;
        let [image, z, y, x] = geometry.position(row);
        let [depth, height, width] = geometry.input;
        let [_, lines, taps] = geometry.kernel;
        let line_len = taps * (geometry.channels / self.groups);
        for (tap_z, plane) in to.chunks_exact_mut(lines * line_len).enumerate() {
            let Some(z) = geometry.tap(0, z, tap_z) else {
                plane.fill(self.zero_point);
                continue;
            };
            for (tap_y, line) in plane.chunks_exact_mut(line_len).enumerate() {
                match geometry.tap(1, y, tap_y) {
                    Some(y) => {
                        let first = ((image * depth + z) * height + y) * width;
                        self.gather_line(first, x, group, line);
                    }
                    None => line.fill(self.zero_point),
                }
            }
        }
    }

    fn image(&self) -> Option<Taps<'_>> {
        None
    }
}
