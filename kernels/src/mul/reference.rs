use super::Params;

/// Multiplies two slices of the same length.
pub(super) fn mul(params: &Params, a: &[u8], b: &[u8], output: &mut [u8]) {
    for ((a, b), y) in a.iter().zip(b).zip(output) {
        let [a, b] = [(*a, params.zero_points[0]), (*b, params.zero_points[1])]
            .map(|(q, zero_point)| i32::from(q) - i32::from(zero_point));
        *y = params.output.byte((a * b) as f32 * params.multiplier);
    }
}
