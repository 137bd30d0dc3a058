//! The operators that only an invented config has.

use qconfig::operator::{Operator, Role, Spelled, Spelling, SpellingKind};

static SWISH: Operator = Operator {
    name: "swish",
    onnx: &[],
    role: Role::Activation,
    rank: 0,
};

#[derive(Clone, Copy, Debug)]
pub struct Swish;

impl Spelled for Swish {
    const SPELLING: &'static Spelling = &Spelling::new(
        "invented.Swish",
        "crate::ops::Swish",
        SpellingKind::Custom,
        &SWISH,
    );
}

#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types, reason = "a function of that name")]
pub struct swish;

impl Spelled for swish {
    const SPELLING: &'static Spelling = &Spelling::new(
        "invented.swish",
        "crate::ops::swish",
        SpellingKind::Custom,
        &SWISH,
    );
}
