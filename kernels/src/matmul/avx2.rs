use core::arch::x86_64::*;

use super::Right;
use crate::gemm::{DEPTH, Panels, STEP};
use crate::vector::{load, store};

/// What stands for a value that is not there: 128, which becomes 0.
const NOTHING: u8 = 0x80;

/// As [`reference::pack`](super::reference::pack).
#[target_feature(enable = "avx2")]
pub(super) fn pack(
    right: &Right<'_>,
    first: usize,
    panels: &Panels,
    weights: &mut [u8],
    sums: &mut [[u8; 4]],
) {
    for panel in (0..panels.count()).map(|index| panels.panel(index)) {
        let cells = &mut weights[panel.start..][..panel.width * panels.depth() * DEPTH];
        let columns = first + panel.column..first + panel.column + panel.columns;
        let sums = &mut sums[panel.column..][..panel.width];
        if right.product.transposed {
            for column in (0..panel.width).step_by(8) {
                let live = columns.len().saturating_sub(column).min(8);
                let from = columns.start + column;
                eight_rows(
                    right,
                    from..from + live,
                    panel.width,
                    &mut cells[column * DEPTH..],
                )
                .write(&mut sums[column..]);
            }
            continue;
        }
        let rows = Lines {
            right,
            start: columns.start,
            len: columns.len(),
        };
        match panel.width / STEP {
            1 => rows.interleave::<1>(cells, sums),
            2 => rows.interleave::<2>(cells, sums),
            3 => rows.interleave::<3>(cells, sums),
            _ => rows.interleave::<4>(cells, sums),
        }
    }
}

/// Sums of eight columns.
#[derive(Clone, Copy)]
struct Sums(__m256i);

impl Sums {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn zero() -> Self {
        Self(_mm256_setzero_si256())
    }

    /// Adds four taps of each column: at most `4 * 128`, so that no step overflows.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn add(&mut self, taps: __m256i) {
        let pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), taps);
        let fours = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
        self.0 = _mm256_add_epi32(self.0, fours);
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn write(self, to: &mut [[u8; 4]]) {
        if let Some(to) = to.as_flattened_mut().first_chunk_mut() {
            store(to, self.0);
        }
    }
}

/// A part of the rows of a right matrix that lies as `[k, n]`.
struct Lines<'a> {
    right: &'a Right<'a>,
    start: usize,
    len: usize,
}

impl<'a> Lines<'a> {
    /// Empty where there is no such row.
    fn line(&self, row: usize) -> &'a [u8] {
        let (product, bytes) = (self.right.product, self.right.bytes);
        if row < product.k {
            &bytes[row * product.n + self.start..][..self.len]
        } else {
            &[]
        }
    }

    /// Four rows at a time: `[k / 4][16 * NV][4]`.
    #[target_feature(enable = "avx2")]
    fn interleave<const NV: usize>(&self, to: &mut [u8], sums: &mut [[u8; 4]]) {
        let flip = _mm256_set1_epi8(NOTHING as i8);
        let mut totals = [[Sums::zero(); 2]; NV];
        for (step, to) in to.chunks_exact_mut(NV * STEP * DEPTH).enumerate() {
            let rows: [&[u8]; DEPTH] = core::array::from_fn(|i| self.line(step * DEPTH + i));
            let cells = to.as_chunks_mut::<64>().0.iter_mut();
            for ((at, cell), totals) in cells.enumerate().zip(&mut totals) {
                let [r0, r1, r2, r3] = rows.map(|row| sixteen(row, at * STEP));
                let low = [_mm_unpacklo_epi8(r0, r1), _mm_unpacklo_epi8(r2, r3)];
                let high = [_mm_unpackhi_epi8(r0, r1), _mm_unpackhi_epi8(r2, r3)];
                let taps = [low, high].map(|[a, b]| {
                    let (first, second) = (_mm_unpacklo_epi16(a, b), _mm_unpackhi_epi16(a, b));
                    _mm256_xor_si256(_mm256_set_m128i(second, first), flip)
                });
                for ((taps, to), sums) in taps
                    .into_iter()
                    .zip(cell.as_chunks_mut::<32>().0)
                    .zip(totals)
                {
                    sums.add(taps);
                    store(to, taps);
                }
            }
        }
        for (sums, to) in totals
            .as_flattened()
            .iter()
            .zip(sums.as_chunks_mut::<8>().0)
        {
            sums.write(to);
        }
    }
}

/// Sixteen bytes, [`NOTHING`] behind the end.
#[inline]
#[target_feature(enable = "avx2")]
fn sixteen(row: &[u8], at: usize) -> __m128i {
    let rest = row.get(at..).unwrap_or_default();
    let mut padded = [NOTHING; 16];
    let bytes = rest.first_chunk().unwrap_or_else(|| {
        padded[..rest.len()].copy_from_slice(rest);
        &padded
    });
    // SAFETY: the array has 16 readable bytes and the load asks for no alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

/// Thirty-two bytes, likewise.
#[inline]
#[target_feature(enable = "avx2")]
fn thirty_two(row: &[u8], at: usize) -> __m256i {
    let rest = row.get(at..).unwrap_or_default();
    let mut padded = [NOTHING; 32];
    load(rest.first_chunk().unwrap_or_else(|| {
        padded[..rest.len()].copy_from_slice(rest);
        &padded
    }))
}

/// Up to eight columns of a right matrix that lies as `[n, k]`: their taps by fours, `width` columns apart.
#[target_feature(enable = "avx2")]
fn eight_rows(
    right: &Right<'_>,
    columns: core::ops::Range<usize>,
    width: usize,
    to: &mut [u8],
) -> Sums {
    let k = right.product.k;
    let rows: [&[u8]; 8] = core::array::from_fn(|i| match columns.start + i {
        column if column < columns.end => &right.bytes[column * k..][..k],
        _ => &[],
    });
    let flip = _mm256_set1_epi8(NOTHING as i8);
    let mut sums = Sums::zero();
    let mut cells = to.chunks_mut(width * DEPTH);
    for at in (0..k).step_by(32) {
        let taps = transpose(rows.map(|row| thirty_two(row, at)));
        for (taps, cell) in taps.into_iter().zip(&mut cells) {
            let taps = _mm256_xor_si256(taps, flip);
            sums.add(taps);
            if let Some(cell) = cell.first_chunk_mut() {
                store(cell, taps);
            }
        }
    }
    sums
}

/// Eight vectors of eight words of 32 bits, rows for columns.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose(rows: [__m256i; 8]) -> [__m256i; 8] {
    let [a, b, c, d, e, f, g, h] = rows;
    let quad = |a, b, c, d| {
        let (low, high) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
        let (low2, high2) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
        [
            _mm256_unpacklo_epi64(low, low2),
            _mm256_unpackhi_epi64(low, low2),
            _mm256_unpacklo_epi64(high, high2),
            _mm256_unpackhi_epi64(high, high2),
        ]
    };
    let (first, second) = (quad(a, b, c, d), quad(e, f, g, h));
    core::array::from_fn(|i| {
        let (low, high) = (first[i % 4], second[i % 4]);
        if i < 4 {
            _mm256_permute2x128_si256::<0x20>(low, high)
        } else {
            _mm256_permute2x128_si256::<0x31>(low, high)
        }
    })
}
