use super::{Product, SLICE, STEP};
use crate::gemm::clamp;

/// One chain of fused multiply-adds for each output.
pub(super) fn run(product: &Product<'_>, out: &mut [u8], pitch: usize) {
    let k = product.k;
    let value = |bytes: &[u8]| f32::from_le_bytes(bytes.first_chunk().copied().unwrap_or_default());
    for row in 0..product.rows {
        let x = product.x[row * product.row_bytes..][..k * 4]
            .as_chunks::<4>()
            .0;
        for column in 0..product.columns {
            let (slice, lane) = (column / SLICE, column % SLICE);
            let weight = product.weight[slice * k * STEP..][..k * STEP].chunks_exact(STEP);
            let sum = x.iter().zip(weight).fold(0.0, |sum, (x, step)| {
                libm::fmaf(f32::from_ne_bytes(*x), value(&step[lane * 4..]), sum)
            });
            let y = sum + value(&product.bias[column * 4..]);
            let y = clamp(y, product.low, product.high);
            out[row * pitch + column * 4..][..4].copy_from_slice(&y.to_ne_bytes());
        }
    }
}
