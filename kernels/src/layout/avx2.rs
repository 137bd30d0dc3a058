use super::reference;

/// The reference, compiled for this level.
#[target_feature(enable = "avx2")]
pub(super) fn transpose<const E: usize>(
    input: &[[u8; E]],
    rows: usize,
    first: usize,
    output: &mut [[u8; E]],
) {
    reference::transpose(input, rows, first, output);
}
