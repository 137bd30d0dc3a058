use super::Table;

pub(super) fn apply(table: &Table, input: &[u8], output: &mut [u8]) {
    for (x, y) in input.iter().zip(output) {
        *y = table[usize::from(*x)];
    }
}
