use core::ops::Range;

use qconfig_core::kernel::BagMode;

use super::Job;

/// Computes a range of bags that were checked.
pub(super) fn run(job: &Job<'_>, bags: Range<usize>, output: &mut [u8]) {
    let columns = job.shape.columns;
    let out = output.as_chunks_mut::<4>().0;
    for (bag, out) in bags.zip(out.chunks_exact_mut(columns)) {
        one(job, bag, 0, out);
    }
}

/// Computes the columns of one bag from `first` on, as many as there is room for.
pub(super) fn one(job: &Job<'_>, bag: usize, first: usize, out: &mut [[u8; 4]]) {
    let max = job.shape.mode == Some(BagMode::Max);
    for (column, out) in out.iter_mut().enumerate() {
        let (mut sum, mut count) = (0.0, 0);
        for at in job.bag(bag) {
            let index = job.index(at) as usize;
            if job.is_padding(index) {
                continue;
            }
            let (row, weight) = (job.rows.row(index), job.weight(at));
            let q = job.rows.value(&row, first + column);
            let value = |sum| libm::fmaf(weight * row.scale, q, sum + weight * row.bias);
            sum = match max {
                false => value(sum),
                true if count == 0 => value(0.0),
                true => {
                    let value = value(0.0);
                    if value > sum { value } else { sum }
                }
            };
            count += 1;
        }
        *out = job.finish(sum, count).to_ne_bytes();
    }
}
