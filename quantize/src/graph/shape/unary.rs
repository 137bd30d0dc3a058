//! Functions of one value.

use qconfig_core::kernel::Unary;

use crate::graph::GraphProblem;

/// The shape, if there is one slope, or one for each channel (the second dimension).
pub(super) fn sloped(slopes: &[f32], shape: Vec<usize>) -> Result<Vec<usize>, GraphProblem> {
    let channels = shape.get(1).copied().unwrap_or(1);
    if slopes.len() != 1 && slopes.len() != channels {
        return Err(GraphProblem::Parameter(format!(
            "there are {} slopes, the input has {channels} channels",
            slopes.len()
        )));
    }
    match slopes.iter().find(|slope| !slope.is_finite()) {
        Some(slope) => Err(GraphProblem::Parameter(format!(
            "a slope is {slope}, it must be finite"
        ))),
        None => Ok(shape),
    }
}

/// Whether the parameters make a function.
pub(super) fn checked(function: Unary) -> Result<(), GraphProblem> {
    let (name, parameter) = match function {
        Unary::Elu { alpha } => ("alpha", f64::from(alpha)),
        Unary::LeakyRelu { negative_slope } => ("negative_slope", f64::from(negative_slope)),
        Unary::AddScalar { other } | Unary::MulScalar { other } => ("the number", other),
        Unary::PowScalar { exponent } => ("the exponent", exponent),
        Unary::Softplus { beta: 0.0 } => {
            return Err(GraphProblem::Parameter("beta must not be 0".into()));
        }
        Unary::Softplus { beta } => ("beta", f64::from(beta)),
        Unary::FloorDivide { divisor } if divisor as f32 == 0.0 => {
            return Err(GraphProblem::Parameter("the divisor must not be 0".into()));
        }
        Unary::FloorDivide { divisor } => ("the divisor", divisor),
        _ => return Ok(()),
    };
    if parameter.is_finite() {
        Ok(())
    } else {
        Err(GraphProblem::Parameter(format!(
            "{name} is {parameter}, it must be finite"
        )))
    }
}
