//! A function of one byte as a table of its 256 values.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod reference;

use qconfig_core::Isa;

/// The values of a function of one byte.
pub(crate) type Table = [u8; 256];

/// `output[i] = table[input[i]]`, as far as both go.
pub(crate) fn apply(table: &Table, input: &[u8], output: &mut [u8], isa: Isa) {
    match isa.level() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an `Isa` of such a level proves that the CPU has AVX2.
        level if level.has_avx2() => unsafe { avx2::apply(table, input, output) },
        _ => reference::apply(table, input, output),
    }
}

/// The variant that [`apply`] takes.
pub(crate) fn variant(isa: Isa) -> &'static str {
    match isa.level() {
        level if level.has_avx2() => "lut_x64__avx2",
        _ => "lut_x1__scalar",
    }
}
