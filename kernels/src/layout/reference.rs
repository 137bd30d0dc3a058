/// Side of the square tiles: their rows stay in the first-level cache both ways.
const TILE: usize = 16;

/// `output[r][c] = input[c][first + r]`, where input rows have `rows` elements.
#[inline(always)]
pub(super) fn transpose<const E: usize>(
    input: &[[u8; E]],
    rows: usize,
    first: usize,
    output: &mut [[u8; E]],
) {
    let columns = input.len() / rows.max(1);
    if columns == 0 {
        return;
    }
    // images: a few channels, for which a tile is a whole row
    match columns {
        3 => narrow::<E, 3>(input, rows, first, output),
        4 => narrow::<E, 4>(input, rows, first, output),
        _ => tiles(input, rows, columns, first, output),
    }
}

/// As [`transpose`], with `C` columns.
#[inline(always)]
fn narrow<const E: usize, const C: usize>(
    input: &[[u8; E]],
    rows: usize,
    first: usize,
    output: &mut [[u8; E]],
) {
    let pixels = output.as_chunks_mut::<C>().0;
    let count = pixels.len();
    let mut planes = [input; C];
    for (c, plane) in planes.iter_mut().enumerate() {
        match input
            .get(c * rows + first..)
            .and_then(|plane| plane.get(..count))
        {
            Some(part) => *plane = part,
            None => return,
        }
    }
    for (r, pixel) in pixels.iter_mut().enumerate() {
        for (y, plane) in pixel.iter_mut().zip(&planes) {
            *y = plane[r];
        }
    }
}

/// As [`transpose`], a tile at a time.
#[inline(always)]
fn tiles<const E: usize>(
    input: &[[u8; E]],
    rows: usize,
    columns: usize,
    first: usize,
    output: &mut [[u8; E]],
) {
    for (strip, output) in output.chunks_mut(TILE * columns).enumerate() {
        let first = first + strip * TILE;
        for c in (0..columns).step_by(TILE) {
            for (r, row) in output.chunks_exact_mut(columns).enumerate() {
                let cells = row.iter_mut().skip(c).take(TILE);
                // one element of each input row from `c` on
                let column = input.get(c * rows + first + r..).unwrap_or_default();
                for (y, x) in cells.zip(column.iter().step_by(rows)) {
                    *y = *x;
                }
            }
        }
    }
}
