use super::{Job, PLACES, SLICE, STEPS};
use crate::gemm::clamp;

fn get(bytes: &[u8], at: usize) -> f32 {
    let cell = bytes[at * 4..].first_chunk().copied();
    f32::from_le_bytes(cell.unwrap_or_default())
}

/// A chain for each block of each output.
pub(super) fn run(job: &Job<'_>, output: &mut [u8]) {
    let shape = &job.packed.shape;
    let (blocks, steps) = (shape.blocks(), shape.steps());
    let rows = job.x.chunks_exact(shape.prepared() * 4);
    for (row, x) in rows.take(job.rows).enumerate() {
        let x = x.as_chunks::<4>().0;
        let (values, sums) = x.split_at(steps);
        for slice in job.slices.clone() {
            let weight = &job.packed.weight[slice * shape.slice_bytes()..];
            for lane in 0..job.count(slice) {
                let mut y = 0.0;
                for block in 0..blocks {
                    let at = (slice * blocks + block) * SLICE + lane;
                    let zero_point = match shape.zero_point {
                        Some(shared) => shared,
                        None => job.packed.zero_points[at],
                    };
                    let mut sum = 0.0;
                    for step in shape.block_steps(block) {
                        let x = f32::from_ne_bytes(values[step]);
                        let w = if shape.is_nibbles {
                            let word = (step / STEPS * SLICE + lane) * 4;
                            let byte = weight[word + step % STEPS / 2];
                            f32::from(byte >> (step % 2 * 4) & 15) / PLACES[step % STEPS]
                        } else {
                            let q = weight[step * SLICE + lane];
                            f32::from(i16::from(q) - i16::from(zero_point))
                        };
                        sum = libm::fmaf(x, w, sum);
                    }
                    if shape.is_nibbles {
                        let all = sums.get(block).copied().unwrap_or_default();
                        let all = f32::from_ne_bytes(all);
                        sum = libm::fmaf(-f32::from(zero_point), all, sum);
                    }
                    y = libm::fmaf(get(job.packed.scales, at), sum, y);
                }
                let y = y + get(job.packed.bias, slice * SLICE + lane);
                let y = clamp(y, shape.low, shape.high);
                let at = job.output(row, slice) + lane * 4;
                output[at..at + 4].copy_from_slice(&y.to_ne_bytes());
            }
        }
    }
}
