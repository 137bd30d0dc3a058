//! Loops over floats, compiled for each instruction set.

use qconfig_core::Isa;

/// A loop; its `run` is inlined into a function of each instruction set.
pub(crate) trait Loop {
    /// Does it.
    fn run(self);
}

/// Runs a loop with the vectors of an instruction set. Every step is rounded separately, so that all give the
/// same bits.
pub(crate) fn vectorized(isa: Isa, work: impl Loop) {
    match isa.level() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an `Isa` of such a level proves that the CPU has AVX2.
        level if level.has_avx2() => unsafe { avx2(work) },
        // other instruction sets are the compiler's own baseline
        _ => work.run(),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2(work: impl Loop) {
    work.run();
}

/// The name of the variant for an instruction set.
pub(crate) fn variant(_: &[u8], isa: Isa) -> &'static str {
    match isa.level() {
        level if level.has_avx2() => "x8__avx2",
        level if level.has_neon() => "x4__neon",
        _ => "x1__scalar",
    }
}

/// Floats as they lie in a tensor.
pub(crate) type Cells = [[u8; 4]];

/// The floats of a buffer.
#[inline(always)]
pub(crate) fn cells(bytes: &[u8]) -> &Cells {
    bytes.as_chunks().0
}

/// The floats of a buffer.
#[inline(always)]
pub(crate) fn cells_mut(bytes: &mut [u8]) -> &mut Cells {
    bytes.as_chunks_mut().0
}

/// The float in a cell.
#[inline(always)]
pub(crate) fn get(cell: &[u8; 4]) -> f32 {
    f32::from_ne_bytes(*cell)
}

/// Partial results of a reduction along a line.
pub(crate) const LANES: usize = 16;

/// One result of partial ones, in pairs.
#[inline(always)]
pub(crate) fn folded(mut lanes: [f32; LANES], join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for at in 0..half {
            lanes[at] = join(lanes[at], lanes[at + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// Bounds as comparisons, so that NaN stays.
#[inline(always)]
pub(crate) fn clamp(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}
