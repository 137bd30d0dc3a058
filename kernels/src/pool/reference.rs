use super::mean::Scale;
use crate::spatial::Cells;

/// Calls with each cell of one channel; not where that would leave the input.
#[inline(always)]
fn channel(input: &[u8], cells: Cells, channel: usize, mut each: impl FnMut(u8)) {
    for plane in 0..cells.planes {
        for row in 0..cells.rows {
            let line = cells.start + plane * cells.plane_step + row * cells.row_step + channel;
            for column in 0..cells.columns {
                if let Some(q) = input.get(line + column * cells.column_step) {
                    each(*q);
                }
            }
        }
    }
}

/// The maximum of each channel; 0, the lowest, where there are no cells.
pub(super) fn max(input: &[u8], cells: Cells, output: &mut [u8]) {
    for (c, y) in output.iter_mut().enumerate() {
        let mut most = 0;
        channel(input, cells, c, |q| most = q.max(most));
        *y = most;
    }
}

/// The scaled sum of one channel whose cells lie beside each other.
pub(super) fn mean_of_lines(input: &[u8], cells: Cells, scale: &Scale) -> u8 {
    let mut sum = 0i64;
    for plane in 0..cells.planes {
        for row in 0..cells.rows {
            let start = cells.start + plane * cells.plane_step + row * cells.row_step;
            let bytes = input.get(start..start + cells.columns).unwrap_or_default();
            // parts whose sums fit 32 bits
            for part in bytes.chunks(1 << 16) {
                sum += i64::from(part.iter().map(|q| u32::from(*q)).sum::<u32>());
            }
        }
    }
    scale.byte(sum as i32)
}

/// The scaled sum of each channel.
pub(super) fn mean(input: &[u8], cells: Cells, scale: &Scale, output: &mut [u8]) {
    for (c, y) in output.iter_mut().enumerate() {
        let mut sum = 0i64;
        channel(input, cells, c, |q| sum += i64::from(q));
        *y = scale.byte(sum as i32);
    }
}
