use crate::affine::{self, Stored};

/// Quantizes native-endian `f32` bytes, one output byte each.
pub(super) fn quantize(to: Stored, input: &[u8], output: &mut [u8]) {
    for (x, y) in input.as_chunks().0.iter().zip(output) {
        *y = affine::quantize(f32::from_ne_bytes(*x), to);
    }
}
