//! `vpmaddwd` where products are of 16 bits, `vpdpbusd` where the CPU has it.

use core::arch::asm;
use core::arch::x86_64::{_mm256_setzero_si256, _mm512_setzero_si512};

use qconfig_core::{Isa, IsaLevel};

/// Multiply-adds of one step; `steps` is not 0.
pub(super) fn run(isa: Isa, steps: u32) -> u64 {
    match isa.level() {
        // SAFETY: `isa` proves AVX2.
        IsaLevel::Avx2 => unsafe { vpmaddwd_256(steps) },
        // SAFETY: `isa` proves AVX-VNNI.
        IsaLevel::AvxVnni => unsafe { vpdpbusd_256(steps) },
        // SAFETY: `isa` proves AVX512BW.
        IsaLevel::Avx512Bw => unsafe { vpmaddwd_512(steps) },
        // SAFETY: `isa` proves AVX512-VNNI.
        IsaLevel::Avx512Vnni => unsafe { vpdpbusd_512(steps) },
        _ => 0,
    }
}

/// A loop over ten lines, each writing a vector register of its own from two that hold `z`.
macro_rules! repeat {
    ($class:ident, $line:literal, $z:expr, $steps:expr) => {
        asm!(
            "2:",
            concat!($line, " {a}, {z}, {z}"), concat!($line, " {b}, {z}, {z}"),
            concat!($line, " {c}, {z}, {z}"), concat!($line, " {d}, {z}, {z}"),
            concat!($line, " {e}, {z}, {z}"), concat!($line, " {f}, {z}, {z}"),
            concat!($line, " {g}, {z}, {z}"), concat!($line, " {h}, {z}, {z}"),
            concat!($line, " {i}, {z}, {z}"), concat!($line, " {j}, {z}, {z}"),
            "dec {n:e}",
            "jnz 2b",
            n = inout(reg) $steps => _,
            z = in($class) $z,
            a = inout($class) $z => _, b = inout($class) $z => _, c = inout($class) $z => _,
            d = inout($class) $z => _, e = inout($class) $z => _, f = inout($class) $z => _,
            g = inout($class) $z => _, h = inout($class) $z => _, i = inout($class) $z => _,
            j = inout($class) $z => _,
            options(nomem, nostack),
        )
    };
}

/// Registers that a loop writes.
const LINES: u64 = 10;

/// # Safety
/// The CPU must have AVX2.
#[target_feature(enable = "avx2")]
unsafe fn vpmaddwd_256(steps: u32) -> u64 {
    let zero = _mm256_setzero_si256();
    // SAFETY: only the registers named are touched.
    unsafe { repeat!(ymm_reg, "vpmaddwd", zero, steps) };
    LINES * 16
}

/// # Safety
/// The CPU must have AVX-VNNI.
#[target_feature(enable = "avx2,avxvnni")]
unsafe fn vpdpbusd_256(steps: u32) -> u64 {
    let zero = _mm256_setzero_si256();
    // SAFETY: only the registers named are touched.
    unsafe { repeat!(ymm_reg, "{{vex}} vpdpbusd", zero, steps) };
    LINES * 32
}

/// # Safety
/// The CPU must have AVX-512 F and BW.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn vpmaddwd_512(steps: u32) -> u64 {
    let zero = _mm512_setzero_si512();
    // SAFETY: only the registers named are touched.
    unsafe { repeat!(zmm_reg, "vpmaddwd", zero, steps) };
    LINES * 32
}

/// # Safety
/// The CPU must have AVX-512 F and VNNI.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn vpdpbusd_512(steps: u32) -> u64 {
    let zero = _mm512_setzero_si512();
    // SAFETY: only the registers named are touched.
    unsafe { repeat!(zmm_reg, "vpdpbusd", zero, steps) };
    LINES * 64
}
