use crate::affine::Stored;

/// The real value of a stored byte.
pub(crate) fn real(from: Stored, stored: u8) -> f32 {
    from.scale * (i32::from(stored) - from.zero_point) as f32
}

/// Writes four native-endian bytes for each input byte.
pub(super) fn dequantize(from: Stored, input: &[u8], output: &mut [u8]) {
    for (q, x) in input.iter().zip(output.as_chunks_mut().0) {
        *x = real(from, *q).to_ne_bytes();
    }
}
