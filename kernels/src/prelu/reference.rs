use super::Params;

/// A slope, little-endian `f32`, for each element.
pub(super) fn prelu(params: &Params, slopes: &[[u8; 4]], input: &[u8], output: &mut [u8]) {
    for ((q, slope), y) in input.iter().zip(slopes).zip(output) {
        *y = params.byte(*q, f32::from_le_bytes(*slope));
    }
}
