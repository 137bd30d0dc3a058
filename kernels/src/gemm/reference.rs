//! The product in portable Rust: what every other variant equals to the bit.

use super::finish::{Finish, clamp, requantize};
use super::panels::DEPTH;
use super::{Job, Rows};

/// Computes the job's part, a row at a time.
pub(super) fn run<R: Rows>(job: &Job<'_, R>, output: &mut [u8], buffer: &mut [u8]) {
    let packed = job.packed;
    for row in job.part.rows.clone() {
        for group in 0..packed.geometry.groups {
            let a = job.rows.row(row, group, packed.panels.k, buffer);
            let sum: i32 = a.iter().map(|x| i32::from(*x)).sum();
            let columns = packed.columns(group);
            let weights = packed.group(group);
            for panel in job.panels().map(|index| packed.panels.panel(index)) {
                for column in 0..panel.columns {
                    let c = panel.column + column;
                    let mut acc = columns.init(c).wrapping_mul(job.finish.factor());
                    for (step, taps) in a.chunks(DEPTH).enumerate() {
                        let cell = panel.start + (step * panel.width + column) * DEPTH;
                        for (x, w) in taps.iter().zip(&weights[cell..cell + DEPTH]) {
                            acc = acc.wrapping_add(i32::from(*x) * i32::from(*w as i8));
                        }
                    }
                    acc = acc.wrapping_sub(sum.wrapping_mul(columns.zero_point(c)));
                    let element = job.finish.element();
                    let at = job.output(row, group, c) * element;
                    let cell = &mut output[at..at + element];
                    match job.finish {
                        Finish::Requantize {
                            zero_point,
                            low,
                            high,
                        } => {
                            // without biases 0, which changes nothing
                            let sum = acc as f32 + columns.bias(c);
                            cell[0] = requantize(sum, columns.scale(c), zero_point, low, high);
                        }
                        Finish::Dequantize {
                            scale,
                            low,
                            high,
                            is_fused,
                            ..
                        } => {
                            let (scale, bias) = (scale * columns.scale(c), columns.bias(c));
                            let y = if is_fused {
                                libm::fmaf(acc as f32, scale, bias)
                            } else {
                                acc as f32 * scale + bias
                            };
                            cell.copy_from_slice(&clamp(y, low, high).to_ne_bytes());
                        }
                    }
                }
            }
        }
    }
}
