use super::mean::Scale;
use crate::spatial::Cells;

/// The cells of one channel; empty where a call would leave the input.
fn channel<'a>(input: &'a [u8], cells: Cells, channel: usize) -> impl Iterator<Item = u8> + 'a {
    (0..cells.rows).flat_map(move |row| {
        (0..cells.columns).filter_map(move |column| {
            input
                .get(cells.start + row * cells.row_step + column * cells.column_step + channel)
                .copied()
        })
    })
}

/// The maximum of each channel; 0, the lowest, where there are no cells.
pub(super) fn max(input: &[u8], cells: Cells, output: &mut [u8]) {
    for (c, y) in output.iter_mut().enumerate() {
        *y = channel(input, cells, c).max().unwrap_or(0);
    }
}

/// The scaled sum of each channel.
pub(super) fn mean(input: &[u8], cells: Cells, scale: &Scale, output: &mut [u8]) {
    for (c, y) in output.iter_mut().enumerate() {
        let sum: i64 = channel(input, cells, c).map(i64::from).sum();
        *y = scale.byte(sum as i32);
    }
}
