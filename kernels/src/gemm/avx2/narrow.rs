//! Many rows times weights of which no two neighbours can saturate `vpmaddubsw`: bytes on both sides, nothing
//! widened, and exact.
//!
//! `vpmaddubsw` sums two products in 16 bits, which holds them if neither the positive nor the negative
//! weights of a pair reach beyond 128: `255 * 128 < 2^15`. Weights of 7 bits are always so. Three instructions
//! then make 32 products, where factors of 16 bits take four.

use core::arch::x86_64::*;

use super::super::panels::{DEPTH, Panel};
use super::wide::{SLICE, Sums};

/// Bytes of a slice of one step.
const STEP_BYTES: usize = SLICE * DEPTH;

/// A slice of 16 columns, `[k / 4][16][4]`.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a> {
    slice: &'a [u8],
    depth: usize,
}

/// Copies a slice from its panel, where other columns lie between its steps.
///
/// # Safety
/// `from` must have 64 bytes at each of `depth` steps of the panel's width, `to` 64 for each.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn slice<'a>(
    from: &[u8],
    panel: &Panel,
    depth: usize,
    to: &'a mut [u8],
) -> Bytes<'a> {
    let mut at = from.as_ptr();
    for cell in to.chunks_exact_mut(STEP_BYTES).take(depth) {
        for (half, cell) in cell.as_chunks_mut().0.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            let w = unsafe { _mm256_loadu_si256(at.add(half * 32).cast()) };
            crate::vector::store(cell, w);
        }
        at = at.wrapping_add(panel.width * DEPTH);
    }
    Bytes { slice: to, depth }
}

/// Four taps of each row times 16 columns, in just the registers there are.
macro_rules! step {
    ($($row:literal $low:ident $high:ident),+) => {
        concat!(
            "vmovdqu {w}, ymmword ptr [{b}]\n",
            $(
                "vpbroadcastd {x}, dword ptr [", $row, "]\n",
                "vpmaddubsw {t}, {x}, {w}\n",
                "vpmaddubsw {x}, {x}, ymmword ptr [{b} + 32]\n",
                "vpmaddwd {t}, {t}, {one}\n",
                "vpmaddwd {x}, {x}, {one}\n",
                "vpaddd {", stringify!($low), "}, {", stringify!($low), "}, {t}\n",
                "vpaddd {", stringify!($high), "}, {", stringify!($high), "}, {x}\n",
            )+
        )
    };
}

/// The loop of [`Bytes::sums`] for a tall tile.
macro_rules! tall {
    ($self:ident, $a:ident, $pitch:ident, $acc:ident, $($index:literal $row:literal $low:ident $high:ident),+) => {
        core::arch::asm!(
            "2:",
            step!($($row $low $high),+),
            "add {a}, 4",
            "add {d}, 4",
            "add {b}, 64",
            "dec {n}",
            "jnz 2b",
            a = inout(reg) $a => _,
            d = inout(reg) $a.wrapping_add(3 * $pitch) => _,
            p = in(reg) $pitch,
            b = inout(reg) $self.slice.as_ptr() => _,
            n = inout(reg) $self.depth => _,
            one = in(ymm_reg) _mm256_set1_epi16(1),
            w = out(ymm_reg) _,
            x = out(ymm_reg) _,
            t = out(ymm_reg) _,
            $(
                $low = inout(ymm_reg) $acc[$index][0],
                $high = inout(ymm_reg) $acc[$index][1],
            )+
            options(readonly, nostack),
        )
    };
}

impl Sums for Bytes<'_> {
    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn sums<const MR: usize, const NV: usize>(
        &self,
        a: *const u8,
        pitch: usize,
        init: [__m256i; NV],
    ) -> [[__m256i; NV]; MR] {
        let mut acc = [init; MR];
        if self.depth == 0 {
            return acc;
        }
        // SAFETY: the caller's promise: rows have the taps of all steps.
        unsafe {
            if MR == 6 && NV == 2 {
                tall!(
                    self, a, pitch, acc,
                    0 "{a}" a0 b0, 1 "{a} + {p}" a1 b1, 2 "{a} + 2*{p}" a2 b2,
                    3 "{d}" a3 b3, 4 "{d} + {p}" a4 b4, 5 "{d} + 2*{p}" a5 b5
                );
                return acc;
            }
            if MR == 5 && NV == 2 {
                tall!(
                    self, a, pitch, acc,
                    0 "{a}" a0 b0, 1 "{a} + {p}" a1 b1, 2 "{a} + 2*{p}" a2 b2,
                    3 "{d}" a3 b3, 4 "{d} + {p}" a4 b4
                );
                return acc;
            }
        }
        let one = _mm256_set1_epi16(1);
        for (step, weights) in self
            .slice
            .chunks_exact(STEP_BYTES)
            .take(self.depth)
            .enumerate()
        {
            let mut w = [_mm256_setzero_si256(); NV];
            for (w, bytes) in w.iter_mut().zip(weights.as_chunks().0) {
                *w = crate::vector::load(bytes);
            }
            for (r, acc) in acc.iter_mut().enumerate() {
                let row = a.wrapping_add(r * pitch + step * DEPTH);
                // SAFETY: the caller's promise.
                let x = _mm256_set1_epi32(unsafe { row.cast::<i32>().read_unaligned() });
                for (acc, w) in acc.iter_mut().zip(w) {
                    let pairs = _mm256_maddubs_epi16(x, w);
                    *acc = _mm256_add_epi32(*acc, _mm256_madd_epi16(pairs, one));
                }
            }
        }
        acc
    }
}
