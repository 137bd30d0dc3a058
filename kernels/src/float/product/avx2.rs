//! Tiles of up to six rows by sixteen columns; one row takes four slices at once.

use core::arch::x86_64::*;

use super::{Product, SLICE, STEP};

const LANES: usize = 8;
const TALLEST: usize = 6;

/// Computes the product.
///
/// # Safety
/// The CPU must have AVX2 and FMA; the lengths must be those that [`Product::run`] checks.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn run(product: &Product<'_>, out: &mut [u8], pitch: usize) {
    let (k, rows) = (product.k, product.rows);
    let slices = product.columns.div_ceil(SLICE);
    // tiles of nearly the same height
    let tiles = rows.div_ceil(TALLEST);
    let mut slice = 0;
    while slice < slices {
        let several = rows == 1 && slices - slice >= 4;
        let first = slice * SLICE;
        let mut from = 0;
        for tile in 0..tiles {
            let to = rows * (tile + 1) / tiles;
            let call = Tile {
                x: &product.x[from * product.row_bytes..],
                row_bytes: product.row_bytes,
                k,
                weight: &product.weight[slice * k * STEP..],
                bias: &product.bias[first * 4..],
                bounds: [product.low, product.high],
                out: &mut out[from * pitch + first * 4..],
                pitch,
                count: product.columns - first,
            };
            // SAFETY: the rows from `from` to `to` lie in `x` and `out`, and the slices from `slice` on in
            // weight and bias, by the caller's promise.
            unsafe {
                match to - from {
                    1 if several => call.run::<1, 4>(),
                    1 => call.run::<1, 1>(),
                    2 => call.run::<2, 1>(),
                    3 => call.run::<3, 1>(),
                    4 => call.run::<4, 1>(),
                    5 => call.run::<5, 1>(),
                    _ => call.tall(),
                }
            }
            from = to;
        }
        slice += if several { 4 } else { 1 };
    }
}

/// The products of six rows and sixteen columns, in just the sixteen registers there are: a compiler that
/// moves loads ahead spills sums.
///
/// # Safety
/// The CPU must have AVX2 and FMA; `x` must have `k` values in each of six rows `row_bytes` apart, `weight`
/// sixteen for each of `k` steps.
#[target_feature(enable = "avx2,fma")]
#[inline]
pub(crate) unsafe fn six_rows(
    x: *const u8,
    row_bytes: usize,
    weight: *const u8,
    k: usize,
) -> [[__m256; 2]; TALLEST] {
    let mut acc = [[_mm256_setzero_ps(); 2]; TALLEST];
    if k > 0 {
        // SAFETY: the caller's promise: `k` steps of both sides are there.
        unsafe {
            core::arch::asm!(
                "2:",
                "vmovups {w}, ymmword ptr [{b}]",
                "vmovups {v}, ymmword ptr [{b} + 32]",
                "vbroadcastss {t}, dword ptr [{a}]",
                "vbroadcastss {u}, dword ptr [{a} + {p}]",
                "vfmadd231ps {a0}, {t}, {w}",
                "vfmadd231ps {b0}, {t}, {v}",
                "vbroadcastss {t}, dword ptr [{a} + 2*{p}]",
                "vfmadd231ps {a1}, {u}, {w}",
                "vfmadd231ps {b1}, {u}, {v}",
                "vbroadcastss {u}, dword ptr [{d}]",
                "vfmadd231ps {a2}, {t}, {w}",
                "vfmadd231ps {b2}, {t}, {v}",
                "vbroadcastss {t}, dword ptr [{d} + {p}]",
                "vfmadd231ps {a3}, {u}, {w}",
                "vfmadd231ps {b3}, {u}, {v}",
                "vbroadcastss {u}, dword ptr [{d} + 2*{p}]",
                "vfmadd231ps {a4}, {t}, {w}",
                "vfmadd231ps {b4}, {t}, {v}",
                "vfmadd231ps {a5}, {u}, {w}",
                "vfmadd231ps {b5}, {u}, {v}",
                "add {a}, 4",
                "add {d}, 4",
                "add {b}, 64",
                "dec {n}",
                "jnz 2b",
                a = inout(reg) x => _,
                d = inout(reg) x.wrapping_add(3 * row_bytes) => _,
                p = in(reg) row_bytes,
                b = inout(reg) weight => _,
                n = inout(reg) k => _,
                w = out(ymm_reg) _,
                v = out(ymm_reg) _,
                t = out(ymm_reg) _,
                u = out(ymm_reg) _,
                a0 = inout(ymm_reg) acc[0][0],
                b0 = inout(ymm_reg) acc[0][1],
                a1 = inout(ymm_reg) acc[1][0],
                b1 = inout(ymm_reg) acc[1][1],
                a2 = inout(ymm_reg) acc[2][0],
                b2 = inout(ymm_reg) acc[2][1],
                a3 = inout(ymm_reg) acc[3][0],
                b3 = inout(ymm_reg) acc[3][1],
                a4 = inout(ymm_reg) acc[4][0],
                b4 = inout(ymm_reg) acc[4][1],
                a5 = inout(ymm_reg) acc[5][0],
                b5 = inout(ymm_reg) acc[5][1],
                options(readonly, nostack),
            );
        }
    }
    acc
}

struct Tile<'a> {
    x: &'a [u8],
    row_bytes: usize,
    k: usize,
    weight: &'a [u8],
    bias: &'a [u8],
    bounds: [f32; 2],
    out: &'a mut [u8],
    pitch: usize,
    count: usize,
}

impl Tile<'_> {
    /// # Safety
    /// `x` must have `MR` rows of `k` values, `weight` `NS` slices of `k` steps, `bias` `16 * NS` values, and
    /// `out` `count` values, or `16 * NS` if that is fewer, in each of `MR` rows `pitch` bytes apart.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn run<const MR: usize, const NS: usize>(self) {
        let mut acc = [[[_mm256_setzero_ps(); 2]; NS]; MR];
        let mut weight = self.weight.as_ptr();
        let mut x = self.x.as_ptr();
        let slice = self.k * STEP;
        for _ in 0..self.k {
            for s in 0..NS {
                // SAFETY: the caller's promise.
                let w: [__m256; 2] = unsafe {
                    let from: *const f32 = weight.add(s * slice).cast();
                    [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(LANES))]
                };
                for (r, acc) in acc.iter_mut().enumerate() {
                    // SAFETY: the caller's promise.
                    let x: f32 =
                        unsafe { x.add(r * self.row_bytes).cast::<f32>().read_unaligned() };
                    let x = _mm256_set1_ps(x);
                    for (acc, w) in acc[s].iter_mut().zip(w) {
                        *acc = _mm256_fmadd_ps(x, w, *acc);
                    }
                }
            }
            // one past the last is never read
            x = x.wrapping_add(4);
            weight = weight.wrapping_add(STEP);
        }
        // SAFETY: the caller's promise.
        unsafe { self.finish(&acc) }
    }

    /// The tallest tile.
    ///
    /// # Safety
    /// As [`Tile::run`] for six rows and one slice.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn tall(self) {
        let (x, weight) = (self.x.as_ptr(), self.weight.as_ptr());
        // SAFETY: the caller's promise.
        unsafe {
            let acc = six_rows(x, self.row_bytes, weight, self.k);
            self.finish(&acc.map(|row| [row]));
        }
    }

    /// Adds the bias, clamps and writes.
    ///
    /// # Safety
    /// As [`Tile::run`] for `bias` and `out`.
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    unsafe fn finish<const MR: usize, const NS: usize>(self, acc: &[[[__m256; 2]; NS]; MR]) {
        let [low, high] = self.bounds;
        let (low, high) = (_mm256_set1_ps(low), _mm256_set1_ps(high));
        let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        for v in 0..2 * NS {
            // SAFETY: the caller's promise.
            let bias = unsafe { _mm256_loadu_ps(self.bias.as_ptr().add(v * 32).cast()) };
            let live = self.count.saturating_sub(v * LANES).min(LANES);
            let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(live as i32), lanes);
            for (r, acc) in acc.iter().enumerate() {
                let y = _mm256_add_ps(acc[v / 2][v % 2], bias);
                // both give their second operand where one is NaN
                let y = _mm256_min_ps(high, _mm256_max_ps(low, y));
                // SAFETY: the caller's promise; masked lanes are not touched.
                unsafe {
                    let to = self.out.as_mut_ptr().wrapping_add(r * self.pitch + v * 32);
                    if live == LANES {
                        _mm256_storeu_ps(to.cast(), y);
                    } else {
                        _mm256_maskstore_ps(to.cast(), mask, y);
                    }
                }
            }
        }
    }
}
