//! What the means share: `clamp(rne(f32(sum(q - za)) * (sa / (so * k))) + zo)`.

use qconfig_core::Isa;
use qconfig_core::kernel::{NodeSpec, Refusal, TensorSpec};

#[cfg(target_arch = "x86_64")]
use super::avx2;
#[cfg(target_arch = "aarch64")]
use super::neon;
use super::reference;
use crate::affine::{Stored, stored};
use crate::output::Output;
use crate::spatial::Cells;

/// Header words that [`Mean`] takes.
pub(super) const WORDS: usize = 3;

/// The most cells whose sum of bytes fits an `i32`.
pub(super) const CELLS_MAX: usize = (i32::MAX / 255) as usize;

/// Quantization parameters of a mean.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mean {
    from: Stored,
    scale: f32,
    output: Output,
}

/// [`Mean`] for one number of cells and one divisor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// Sum of the input zero points.
    pub(super) zero_points: i32,
    pub(super) multiplier: f32,
    pub(super) output: Output,
}

impl Scale {
    /// The mean of a sum of stored bytes.
    pub(super) fn byte(&self, sum: i32) -> u8 {
        self.output
            .byte(sum.wrapping_sub(self.zero_points) as f32 * self.multiplier)
    }
}

impl Mean {
    /// `cells` and `divisor` are the largest that occur.
    pub(super) fn new(
        spec: &NodeSpec<'_>,
        input: &TensorSpec<'_>,
        cells: usize,
        divisor: usize,
    ) -> Result<Self, Refusal> {
        if input.dtype != spec.output.dtype {
            return Err(Refusal::DType {
                place: "output",
                dtype: spec.output.dtype,
            });
        }
        let (from, to) = (stored("input", input)?, stored("output", &spec.output)?);
        if cells > CELLS_MAX {
            return Err(Refusal::Accumulator {
                k: cells,
                max: CELLS_MAX,
            });
        }
        let mean = Self {
            from,
            scale: to.scale,
            output: Output::new(spec.activation, to),
        };
        for divisor in [1, divisor] {
            let value = mean.multiplier(divisor);
            if !(value.is_normal() && (to.scale * divisor as f32).is_finite()) {
                let what = "input scale / (output scale * cells)";
                return Err(Refusal::Scale {
                    what,
                    value,
                    low: f32::MIN_POSITIVE,
                    high: f32::INFINITY,
                });
            }
        }
        Ok(mean)
    }

    fn multiplier(&self, divisor: usize) -> f32 {
        self.from.scale / (self.scale * divisor as f32)
    }

    pub(super) fn words(&self) -> [u32; WORDS] {
        let Output {
            zero_point,
            low,
            high,
        } = self.output;
        let bytes = u32::from_le_bytes([self.from.zero_point as u8, zero_point, low, high]);
        [bytes, self.from.scale.to_bits(), self.scale.to_bits()]
    }

    /// `None` where the words are no scales.
    pub(super) fn read([bytes, from, to]: [u32; WORDS]) -> Option<Self> {
        let [input, zero_point, low, high] = bytes.to_le_bytes();
        let scale =
            |word| Some(f32::from_bits(word)).filter(|scale| scale.is_normal() && *scale > 0.0);
        Some(Self {
            from: Stored {
                scale: scale(from)?,
                zero_point: input.into(),
            },
            scale: scale(to)?,
            output: Output {
                zero_point,
                low,
                high,
            },
        })
    }

    /// Writes the means of as many channels as `output` has; no cells have the mean 0.
    pub(super) fn run(
        &self,
        input: &[u8],
        cells: Cells,
        divisor: usize,
        isa: Isa,
        output: &mut [u8],
    ) {
        let multiplier = if cells.count() == 0 {
            0.0
        } else {
            self.multiplier(divisor)
        };
        let zero_points = (cells.count() as i32).wrapping_mul(self.from.zero_point);
        let scale = Scale {
            zero_points,
            multiplier,
            output: self.output,
        };
        if let ([y], 1) = (&mut *output, cells.column_step) {
            *y = reference::mean_of_lines(input, cells, &scale);
            return;
        }
        match isa.level() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an `Isa` of such a level proves that the CPU has AVX2.
            level if level.has_avx2() => unsafe { avx2::mean(input, cells, &scale, output) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: an `Isa` of such a level proves that the CPU has NEON.
            level if level.has_neon() => unsafe { neon::mean(input, cells, &scale, output) },
            _ => reference::mean(input, cells, &scale, output),
        }
    }
}
