use super::{Exponentials, Form};
use crate::affine::quantize;

/// The softmax of one line: `len` elements of `input` and `output` from `first` on, `stride` apart, all of
/// them inside.
pub(super) fn line(
    exponentials: &Exponentials<'_>,
    form: Form,
    [first, len, stride]: [usize; 3],
    input: &[u8],
    output: &mut [u8],
) {
    let at = |i: usize| input.get(first + i * stride).copied().unwrap_or(0);
    let largest = (0..len).map(at).max().unwrap_or(0);
    // the largest value reads the last entry
    let exponential = |q: u8| exponentials.get(q.wrapping_sub(largest).wrapping_sub(1));
    // C times the largest entry is just about 2^32: torch's own 32 bits overflow where many are equal
    let sum: u64 = (0..len).map(|i| u64::from(exponential(at(i)))).sum();
    let sum = sum.max(1);
    for i in 0..len {
        let exponential = exponential(at(i));
        let y = match form {
            Form::Fixed => (((u64::from(exponential) << 8) + (sum >> 1)) / sum).min(255) as u8,
            Form::Float(to) => quantize(exponential as f32 / sum as f32, to),
        };
        if let Some(to) = output.get_mut(first + i * stride) {
            *to = y;
        }
    }
}
