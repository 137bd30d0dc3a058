use qconfig_core::kernel::Strides;

const LAST: usize = Strides::RANK - 1;

/// Writes the elements of `B` bytes from element `first` of the output on, as many as `output` holds.
pub(super) fn copy<const B: usize>(
    strides: &Strides,
    input: &[u8],
    first: usize,
    output: &mut [u8],
) {
    let (from, mut to) = (input.as_chunks::<B>().0, output.as_chunks_mut::<B>().0);
    // the position in each dimension, and where that is in the input
    let mut at = [0; Strides::RANK];
    let (mut rest, mut source) = (first, strides.offset);
    for d in (0..=LAST).rev() {
        at[d] = rest % strides.sizes[d].max(1);
        rest /= strides.sizes[d].max(1);
        source += at[d] * strides.steps[d];
    }
    let (size, step) = (strides.sizes[LAST], strides.steps[LAST]);
    while !to.is_empty() {
        let count = (size - at[LAST]).min(to.len());
        let (run, rest) = to.split_at_mut(count);
        to = rest;
        match step {
            1 => run.copy_from_slice(&from[source..source + count]),
            0 => run.fill(from[source]),
            _ => {
                let elements = from[source..].iter().step_by(step);
                for (to, from) in run.iter_mut().zip(elements) {
                    *to = *from;
                }
            }
        }
        // the next line
        source -= at[LAST] * step;
        at[LAST] = 0;
        for d in (0..LAST).rev() {
            at[d] += 1;
            source += strides.steps[d];
            if at[d] < strides.sizes[d] {
                break;
            }
            source -= at[d] * strides.steps[d];
            at[d] = 0;
        }
    }
}
