//! Rows widened to 16 bits once, for all columns.
//!
//! What lies behind the end of a row, up to the next group of four taps, meets weights that are 0: whole
//! vectors are read and written there.

use core::arch::x86_64::*;

use super::super::geometry::Taps;
use super::super::panels::DEPTH;

/// Elements of a vector.
const VECTOR: usize = 16;

/// Widens some GEMM rows of one group, the first of them `start`, to cells `pitch` bytes apart.
#[target_feature(enable = "avx2")]
pub(super) fn block(
    image: &Taps<'_>,
    (start, rows): (usize, usize),
    group: usize,
    block: &mut [u8],
    pitch: usize,
) {
    let geometry = image.geometry;
    if !geometry.has_lines() {
        for (r, wide) in block.chunks_exact_mut(pitch).take(rows).enumerate() {
            taps(image, start + r, group, wide);
        }
        return;
    }
    let (mut row, end) = (start, start + rows);
    while row < end {
        let count = geometry.line_rows(row).min(end - row);
        let Some((cells, _)) = block
            .get_mut((row - start) * pitch..)
            .and_then(|block| block.split_at_mut_checked(count * pitch))
        else {
            return;
        };
        line(image, row, cells, pitch);
        row += count;
    }
}

/// Widens rows whose windows follow each other along a line of outputs.
#[target_feature(enable = "avx2")]
fn line(image: &Taps<'_>, row: usize, block: &mut [u8], pitch: usize) {
    let (geometry, rows) = (image.geometry, block.len() / pitch);
    let (len, lines) = (geometry.line(), geometry.lines());
    let vectors = len.div_ceil(VECTOR);
    let (mut inside, first, [down, right]) = geometry.inside(row, rows);
    // whole vectors are read and written: the next line is written over what is too much
    let last = (lines - 1) * down + vectors * VECTOR;
    while !inside.is_empty() && first + (inside.len() - 1) * right + last > image.input.len() {
        inside.end -= 1;
    }
    if ((lines - 1) * len + vectors * VECTOR) * 2 > pitch {
        inside.end = inside.start;
    }
    for (r, wide) in block.chunks_exact_mut(pitch).enumerate() {
        if !inside.contains(&r) {
            one(image, row + r, wide);
        }
    }
    if inside.is_empty() {
        return;
    }
    let from = image.input[first..].as_ptr();
    let to = block[inside.start * pitch..].as_mut_ptr();
    let copy = Copy {
        count: inside.len(),
        lines,
        vectors,
        from: [right, down],
        to: [pitch, 2 * len],
    };
    // SAFETY: the last vector of the last line of the last row was seen to be inside both.
    unsafe {
        match vectors {
            1 => copy.run::<1>(from, to),
            2 => copy.run::<2>(from, to),
            3 => copy.run::<3>(from, to),
            _ => copy.run::<0>(from, to),
        }
    }
}

/// Rows of lines of vectors.
struct Copy {
    count: usize,
    lines: usize,
    vectors: usize,
    /// Bytes from row to row, and from line to line.
    from: [usize; 2],
    /// Likewise.
    to: [usize; 2],
}

impl Copy {
    /// `V` is the number of vectors, or 0.
    ///
    /// # Safety
    /// All vectors must be readable and, twice as long, writable.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn run<const V: usize>(&self, from: *const u8, to: *mut u8) {
        for row in 0..self.count {
            for line in 0..self.lines {
                let from = from.wrapping_add(row * self.from[0] + line * self.from[1]);
                let to = to.wrapping_add(row * self.to[0] + line * self.to[1]);
                for v in 0..if V == 0 { self.vectors } else { V } {
                    // SAFETY: the caller's promise.
                    unsafe {
                        let x = _mm_loadu_si128(from.add(v * VECTOR).cast());
                        let x = _mm256_cvtepu8_epi16(x);
                        _mm256_storeu_si256(to.add(v * 2 * VECTOR).cast(), x);
                    }
                }
            }
        }
    }
}

/// Widens a row to 16 bits, with zeros up to the next group of four.
#[target_feature(enable = "avx2")]
pub(in crate::gemm) fn widen(row: &[u8], wide: &mut [u8]) {
    let (whole, rest) = row.as_chunks::<16>();
    let (cells, tail) = wide.split_at_mut(whole.len() * 32);
    for (x, y) in whole.iter().zip(cells.as_chunks_mut::<32>().0) {
        // SAFETY: both have the bytes of the access.
        unsafe {
            let x = _mm256_cvtepu8_epi16(_mm_loadu_si128(x.as_ptr().cast()));
            _mm256_storeu_si256(y.as_mut_ptr().cast(), x);
        }
    }
    let steps = rest.len().next_multiple_of(DEPTH);
    let taps = rest.iter().copied().chain(core::iter::repeat(0));
    for (y, x) in tail.as_chunks_mut::<2>().0.iter_mut().take(steps).zip(taps) {
        *y = [x, 0];
    }
}

/// Widens the taps of a row where they lie, each a whole number of vectors.
#[target_feature(enable = "avx2")]
fn taps(image: &Taps<'_>, row: usize, group: usize, wide: &mut [u8]) {
    let geometry = image.geometry;
    let corner = geometry.corner(row);
    let cells = wide.chunks_exact_mut(2 * geometry.tap_channels());
    for (tap, cell) in geometry.window_taps().zip(cells) {
        match geometry.tap(corner, group, tap) {
            Some(elements) => widen(&image.input[elements], cell),
            None => cell.as_chunks_mut().0.fill([image.zero_point, 0]),
        }
    }
}

/// Widens a row kernel line by kernel line, of which some taps may lie in the padding.
#[target_feature(enable = "avx2")]
fn one(image: &Taps<'_>, row: usize, wide: &mut [u8]) {
    let geometry = image.geometry;
    let corner = geometry.corner(row);
    let (len, lines) = (geometry.line(), geometry.lines());
    for (ky, cells) in (0..lines).zip(wide.chunks_exact_mut(len * 2)) {
        let (line, inside) = geometry.line_taps(corner, ky);
        let (before, rest) = cells.split_at_mut(inside.start * 2);
        let (inside, after) = rest.split_at_mut(inside.len() * 2);
        for padding in [before, after] {
            padding.as_chunks_mut().0.fill([image.zero_point, 0]);
        }
        widen(&image.input[line], inside);
    }
    // zeros up to the next group of four
    let k = len * lines;
    let tail = &mut wide.as_chunks_mut::<2>().0[k..k.next_multiple_of(DEPTH)];
    tail.fill([0; 2]);
}
