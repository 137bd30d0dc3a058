use half::f16;

use super::Job;
use crate::gemm::clamp;

/// One chain of fused multiply-adds for each output.
pub(super) fn run(job: &Job<'_>, output: &mut [u8]) {
    let packed = job.packed;
    let k = packed.panels.k;
    for row in job.part.rows.clone() {
        let x = job.input[row * k * 4..][..k * 4].as_chunks::<4>().0;
        for index in job.panels() {
            let (start, columns, width) = packed.panel(index);
            for column in 0..columns {
                let c = index * crate::gemm::PANEL + column;
                let weight = packed.weight[start + column * 2..].chunks(width * 2);
                let sum = x.iter().zip(weight).fold(0.0, |sum, (x, w)| {
                    let w = f16::from_le_bytes([w[0], w[1]]).to_f32();
                    libm::fmaf(f32::from_ne_bytes(*x), w, sum)
                });
                let bias = packed.bias[c * 4..].first_chunk().copied();
                let y = sum + f32::from_le_bytes(bias.unwrap_or_default());
                let at = job.output(row, c);
                output[at..at + 4]
                    .copy_from_slice(&clamp(y, packed.low, packed.high).to_ne_bytes());
            }
        }
    }
}
