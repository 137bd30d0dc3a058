//! A model as it was read: nodes in execution order over named values.

use std::collections::BTreeMap;

use crate::array::{Array, ElementType};
use crate::attributes::Attributes;

/// A model.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Model {
    /// The version of the standard operators.
    pub opset: i64,
    /// Who wrote the file, as it says itself.
    pub producer: String,
    /// What must be given, without what the file holds.
    pub inputs: Vec<Input>,
    /// Names of the values that go out.
    pub outputs: Vec<String>,
    /// In execution order.
    pub nodes: Vec<Node>,
    /// Values that the file holds.
    pub initializers: BTreeMap<String, Array>,
}

/// A value that must be given.
#[derive(Clone, PartialEq, Debug)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Its type, `None` where the file says none that is known here.
    pub element_type: Option<ElementType>,
    /// Its dimensions, `None` where the file does not say how many.
    pub shape: Option<Vec<Dimension>>,
}

/// A size.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Dimension {
    /// Known.
    Fixed(usize),
    /// Known when the model runs; the name may be empty.
    Named(String),
}

impl std::fmt::Display for Dimension {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Dimension::Fixed(size) => write!(f, "{size}"),
            Dimension::Named(name) if name.is_empty() => f.write_str("?"),
            Dimension::Named(name) => f.write_str(name),
        }
    }
}

/// An operator.
#[derive(Clone, PartialEq, Debug)]
pub struct Node {
    /// Its name; where the file has none, its operator and position: `Conv_12`.
    pub name: String,
    /// `Conv`.
    pub op_type: String,
    /// Empty for the standard operators.
    pub domain: String,
    /// Names of values; empty where an optional one is left out.
    pub inputs: Vec<String>,
    /// Names of values; empty where one is not wanted.
    pub outputs: Vec<String>,
    /// Attributes.
    pub attributes: Attributes,
}

impl Node {
    /// The operator, with its domain where it is not a standard one.
    pub fn operator(&self) -> String {
        if self.domain.is_empty() {
            self.op_type.clone()
        } else {
            format!("{}.{}", self.domain, self.op_type)
        }
    }
}
