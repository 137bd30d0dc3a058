//! `smlal` of 16-bit products; `sdot` and `smmla` where the CPU has them.

use core::arch::aarch64::vdupq_n_s32;
use core::arch::asm;

use qconfig_core::{Isa, IsaLevel};

/// Multiply-adds of one step; `steps` is not 0.
pub(super) fn run(isa: Isa, steps: u32) -> u64 {
    match isa.level() {
        // SAFETY: `isa` proves NEON.
        IsaLevel::Neon => unsafe { smlal(steps) },
        // SAFETY: `isa` proves the dot product.
        IsaLevel::NeonDot => unsafe { sdot(steps) },
        // SAFETY: `isa` proves I8MM.
        IsaLevel::NeonI8mm => unsafe { smmla(steps) },
        _ => 0,
    }
}

/// A loop over twelve lines, each adding to a vector register of its own.
macro_rules! repeat {
    ($line:literal, $to:literal, $from:literal, $zero:expr, $steps:expr) => {
        asm!(
            // what the line needs beyond the baseline; this file's functions are called with proof
            ".arch_extension dotprod",
            ".arch_extension i8mm",
            "2:",
            concat!($line, " {a:v}", $to, ", {z:v}", $from, ", {z:v}", $from),
            concat!($line, " {b:v}", $to, ", {z:v}", $from, ", {z:v}", $from),
            concat!($line, " {c:v}", $to, ", {z:v}", $from, ", {z:v}", $from),
            concat!($line, " {d:v}", $to, ", {z:v}", $from, ", {z:v}", $from),
            concat!($line, " {e:v}", $to, ", {z:v}", $from, ", {z:v}", $from),
            concat!($line, " {f:v}", $to, ", {z:v}", $from, ", {z:v}", $from),
            concat!($line, " {g:v}", $to, ", {z:v}", $from, ", {z:v}", $from),
            concat!($line, " {h:v}", $to, ", {z:v}", $from, ", {z:v}", $from),
            concat!($line, " {i:v}", $to, ", {z:v}", $from, ", {z:v}", $from),
            concat!($line, " {j:v}", $to, ", {z:v}", $from, ", {z:v}", $from),
            concat!($line, " {k:v}", $to, ", {z:v}", $from, ", {z:v}", $from),
            concat!($line, " {l:v}", $to, ", {z:v}", $from, ", {z:v}", $from),
            "subs {n:w}, {n:w}, #1",
            "b.ne 2b",
            n = inout(reg) $steps => _,
            z = in(vreg) $zero,
            a = inout(vreg) $zero => _, b = inout(vreg) $zero => _, c = inout(vreg) $zero => _,
            d = inout(vreg) $zero => _, e = inout(vreg) $zero => _, f = inout(vreg) $zero => _,
            g = inout(vreg) $zero => _, h = inout(vreg) $zero => _, i = inout(vreg) $zero => _,
            j = inout(vreg) $zero => _, k = inout(vreg) $zero => _, l = inout(vreg) $zero => _,
            options(nomem, nostack),
        )
    };
}

/// Registers that a loop writes.
const LINES: u64 = 12;

/// # Safety
/// The CPU must have NEON.
#[target_feature(enable = "neon")]
unsafe fn smlal(steps: u32) -> u64 {
    let zero = vdupq_n_s32(0);
    // SAFETY: only the registers named and the flags are touched.
    unsafe { repeat!("smlal", ".4s", ".4h", zero, steps) };
    LINES * 4
}

/// # Safety
/// The CPU must have `FEAT_DotProd`.
#[target_feature(enable = "neon,dotprod")]
unsafe fn sdot(steps: u32) -> u64 {
    let zero = vdupq_n_s32(0);
    // SAFETY: only the registers named and the flags are touched.
    unsafe { repeat!("sdot", ".4s", ".16b", zero, steps) };
    LINES * 16
}

/// # Safety
/// The CPU must have `FEAT_I8MM`.
#[target_feature(enable = "neon,i8mm")]
unsafe fn smmla(steps: u32) -> u64 {
    let zero = vdupq_n_s32(0);
    // SAFETY: only the registers named and the flags are touched.
    unsafe { repeat!("smmla", ".4s", ".16b", zero, steps) };
    LINES * 32
}
