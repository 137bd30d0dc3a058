//! The operator: a type for specs, and what a graph must know of it.

use std::string::String;
use std::vec::Vec;

use qconfig::operator::{Operator, Role, SpellingKind};
use qconfig::quantize::{OwnOp, Tensor};
use qconfig::{Spelled, Spelling};

/// `max(x, 0)^2`
#[derive(Clone, Copy, Debug)]
pub struct SquaredRelu;

/// What it is called wherever it is spelled.
static SQUARED_RELU: Operator = Operator {
    name: "squared_relu",
    onnx: &[],
    role: Role::Alone,
    rank: 0,
};

impl Spelled for SquaredRelu {
    const SPELLING: &'static Spelling = {
        static SPELLING: Spelling = Spelling::new(
            "chip.SquaredRelu",
            "crate::operator::SquaredRelu",
            SpellingKind::Custom,
            &SQUARED_RELU,
        );
        &SPELLING
    };
}

impl OwnOp for SquaredRelu {
    fn name(&self) -> &'static str {
        SQUARED_RELU.name
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
        Ok(inputs[0].to_vec())
    }

    fn float(&self, inputs: &[&Tensor], output: &mut [f32]) {
        for (y, x) in output.iter_mut().zip(inputs[0].data()) {
            *y = x.max(0.0) * x.max(0.0);
        }
    }
}
