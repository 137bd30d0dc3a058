//! What normalizations have.

/// Scale, shift and `eps` of a normalization by the values' own moments.
#[derive(Clone, PartialEq, Debug)]
pub struct Norm {
    /// Scale, one for each channel or feature; empty, as the shift then is, without affine parameters.
    pub weight: Vec<f32>,
    /// Shift.
    pub bias: Vec<f32>,
    /// Added to the variance; positive.
    pub eps: f32,
}

impl Norm {
    /// Without affine parameters, `eps` 1e-5.
    pub const PLAIN: Self = Self {
        weight: Vec::new(),
        bias: Vec::new(),
        eps: 1e-5,
    };

    /// With affine parameters, `eps` 1e-5.
    pub fn affine(weight: Vec<f32>, bias: Vec<f32>) -> Self {
        Self {
            weight,
            bias,
            ..Self::PLAIN
        }
    }
}
