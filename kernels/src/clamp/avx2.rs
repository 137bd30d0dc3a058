use super::reference;

/// The reference, vectorized by the compiler for this level.
#[target_feature(enable = "avx2")]
pub(super) fn clamp(low: u8, high: u8, input: &[u8], output: &mut [u8]) {
    reference::clamp(low, high, input, output);
}
