//! Where in a plan something is wrong.

use alloc::string::String;
use core::fmt;

/// A place in a plan, for messages. Names are shown escaped: they may come from a hostile file.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Place {
    /// A tensor, by number and name.
    Tensor(usize, String),
    /// A step, by number and name.
    Step(usize, String),
    /// An entry of the list of inputs.
    Input(usize),
    /// An entry of the list of outputs.
    Output(usize),
    /// The fixed part at the start of a saved plan.
    Header,
    /// The memory of all tensors.
    Arena,
    /// The packed weights of all steps.
    Blobs,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tensor(index, name) if name.is_empty() => write!(f, "tensor {index}"),
            Place::Tensor(index, name) => write!(f, "tensor {index} {name:?}"),
            Place::Step(index, name) if name.is_empty() => write!(f, "step {index}"),
            Place::Step(index, name) => write!(f, "step {index} {name:?}"),
            Place::Input(index) => write!(f, "input {index}"),
            Place::Output(index) => write!(f, "output {index}"),
            Place::Header => f.write_str("the header"),
            Place::Arena => f.write_str("the arena"),
            Place::Blobs => f.write_str("the packed weights"),
        }
    }
}
