//! Interpolation to another size.

use qconfig_core::kernel::{Interpolation, InterpolationMode};

use super::dimensions;

/// `torch.nn.functional.interpolate` over one to three spatial dimensions.
#[derive(Clone, PartialEq, Debug)]
pub struct Interpolate {
    /// Nearest, or linear along each dimension (bilinear, trilinear).
    pub mode: InterpolationMode,
    /// Where the output's size comes from.
    pub target: Target,
}

/// Where the output's size comes from.
#[derive(Clone, PartialEq, Debug)]
pub enum Target {
    /// `size`: of each spatial dimension.
    Size(Vec<usize>),
    /// `scale_factor`: of each spatial dimension; the size is rounded down.
    Factor(Vec<f64>),
}

impl Interpolate {
    /// The spatial dimensions of the output, or what does not fit.
    pub(crate) fn size(&self, input: &[usize]) -> Result<Vec<usize>, String> {
        let size: Vec<usize> = match &self.target {
            Target::Size(size) => size.clone(),
            Target::Factor(factors) => {
                if factors.iter().any(|f| !(f.is_finite() && *f > 0.0)) {
                    return Err(format!("{factors:?} are not all positive numbers"));
                }
                let scaled = input.iter().zip(factors).map(|(n, f)| *n as f64 * f);
                scaled.map(|n| n as usize).collect()
            }
        };
        let numbers = match &self.target {
            Target::Size(size) => size.len(),
            Target::Factor(factors) => factors.len(),
        };
        if numbers != input.len() || size.len() != input.len() {
            return Err(format!(
                "{numbers} numbers for {} spatial dimensions",
                input.len()
            ));
        }
        Ok(size)
    }

    /// How positions are found in an input of these spatial dimensions
    /// (`area_pixel_compute_scale` in `aten/src/ATen/native/UpSample.h`).
    pub(crate) fn interpolation(&self, input: &[usize]) -> Interpolation {
        // what does not fit was refused when the graph was built
        let output = self.size(input).unwrap_or_else(|_| input.to_vec());
        let step: Vec<f32> = (0..input.len())
            .map(|axis| match (&self.target, self.mode) {
                (_, InterpolationMode::LinearAligned) => match output[axis] {
                    1 => 0.0,
                    n => (input[axis] - 1) as f32 / (n - 1) as f32,
                },
                (Target::Factor(factors), _) => (1.0 / factors[axis]) as f32,
                (Target::Size(_), _) => input[axis] as f32 / output[axis] as f32,
            })
            .collect();
        // a lone dimension is the width
        let at: [usize; 3] = dimensions(&[1, 2, 3][..step.len().min(3)], 0);
        Interpolation {
            mode: self.mode,
            step: at.map(|at| match at.checked_sub(1) {
                Some(axis) => step[axis],
                None => 1.0,
            }),
        }
    }
}
