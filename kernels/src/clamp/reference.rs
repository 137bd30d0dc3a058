/// The upper bound wins where the bounds cross.
#[inline(always)]
pub(super) fn clamp(low: u8, high: u8, input: &[u8], output: &mut [u8]) {
    for (x, y) in input.iter().zip(output) {
        *y = (*x).max(low).min(high);
    }
}
