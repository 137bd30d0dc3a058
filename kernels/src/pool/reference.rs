use super::lines;
use super::mean::Scale;
use crate::spatial::Cells;

/// The cells of one channel; empty where a call would leave the input.
fn channel<'a>(input: &'a [u8], cells: Cells, channel: usize) -> impl Iterator<Item = u8> + 'a {
    lines(cells).flat_map(move |line| {
        (0..cells.columns).filter_map(move |column| {
            input
                .get(cells.start + line + column * cells.column_step + channel)
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

/// The scaled sum of one channel whose cells lie beside each other.
pub(super) fn mean_of_lines(input: &[u8], cells: Cells, scale: &Scale) -> u8 {
    let line = |at: usize| {
        let start = cells.start + at;
        let bytes = input.get(start..start + cells.columns).unwrap_or_default();
        // parts whose sums fit 32 bits
        let part = |bytes: &[u8]| bytes.iter().map(|q| u32::from(*q)).sum::<u32>();
        bytes
            .chunks(1 << 16)
            .map(|bytes| i64::from(part(bytes)))
            .sum::<i64>()
    };
    let sum: i64 = lines(cells).map(line).sum();
    scale.byte(sum as i32)
}

/// The scaled sum of each channel.
pub(super) fn mean(input: &[u8], cells: Cells, scale: &Scale, output: &mut [u8]) {
    for (c, y) in output.iter_mut().enumerate() {
        let sum: i64 = channel(input, cells, c).map(i64::from).sum();
        *y = scale.byte(sum as i32);
    }
}
