//! A function of one byte as a table of its 256 values, and what the kernels that are one share: their
//! blob is a header whose first word counts the elements, then the table.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "aarch64")]
mod neon;
mod reference;

use qconfig_core::Isa;
use qconfig_core::kernel::{BlobError, Call, Refusal, Split};

use crate::blob::{HEADER, Tag, exact};
use crate::units;

/// The values of a function of one byte.
pub(crate) type Table = [u8; 256];

/// Bytes of a blob.
pub(crate) const BLOB: usize = HEADER + size_of::<Table>();

/// `output[i] = table[input[i]]`, as far as both go.
pub(crate) fn apply(table: &Table, input: &[u8], output: &mut [u8], isa: Isa) {
    match isa.level() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an `Isa` of such a level proves that the CPU has AVX2.
        level if level.has_avx2() => unsafe { avx2::apply(table, input, output) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: an `Isa` of such a level proves that the CPU has NEON.
        level if level.has_neon() => unsafe { neon::apply(table, input, output) },
        _ => reference::apply(table, input, output),
    }
}

/// The variant that [`apply`] takes.
pub(crate) fn variant(isa: Isa) -> &'static str {
    match isa.level() {
        level if level.has_avx2() => "lut_x64__avx2",
        level if level.has_neon() => "lut_x16__neon",
        _ => "lut_x1__scalar",
    }
}

/// Writes the blob of `elements` values.
pub(crate) fn write(
    tag: Tag,
    blob: &mut [u8],
    elements: u32,
    table: &Table,
) -> Result<(), Refusal> {
    units::blob_length(blob, BLOB)?;
    let mut words = [0; 15];
    words[0] = elements;
    tag.write(blob, &words);
    if let Some(to) = blob.last_chunk_mut() {
        *to = *table;
    }
    Ok(())
}

/// Elements and table of a blob.
fn read(tag: Tag, blob: &[u8]) -> Result<(usize, &Table), BlobError> {
    exact("the blob", blob.len(), BLOB)?;
    let [elements, ..] = tag.read(blob)?;
    let table = blob.last_chunk().ok_or(BlobError::Header(tag.kernel))?;
    Ok((elements as usize, table))
}

/// [`Kernel::split`](qconfig_core::Kernel::split) of a kernel that is a table.
pub(crate) fn split(tag: Tag, blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    let (elements, _) = read(tag, blob)?;
    let [input] = units::lengths(inputs)?;
    exact("the input", input, elements)?;
    Ok(units::split(elements, 1, 1 << 16))
}

/// [`Kernel::run`](qconfig_core::Kernel::run) of a kernel that is a table.
pub(crate) fn run(tag: Tag, call: Call<'_>) -> Result<(), BlobError> {
    let input = units::input(call.inputs, 0)?;
    let split = split(tag, call.blob, &[input.len()])?;
    let part = units::part(&split, &call.units, call.output.len())?;
    let (_, table) = read(tag, call.blob)?;
    apply(table, units::slice(input, part)?, call.output, call.isa);
    Ok(())
}
