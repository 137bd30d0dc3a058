//! Functions of one value.

use qconfig_core::kernel::Unary;

use crate::graph::GraphProblem;

/// Whether the parameters make a function.
pub(super) fn checked(function: Unary) -> Result<(), GraphProblem> {
    let (name, parameter) = match function {
        Unary::Elu { alpha } => ("alpha", f64::from(alpha)),
        Unary::LeakyRelu { negative_slope } => ("negative_slope", f64::from(negative_slope)),
        Unary::AddScalar { other } | Unary::MulScalar { other } => ("the number", other),
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
