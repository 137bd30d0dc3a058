//! Operators computed on arrays, one node at a time: what folds constants, and the oracle for everything
//! that is made faster elsewhere. One room a kind of operator, one function an operator.

#[macro_use]
mod types;

mod attention;
mod binary;
mod constant;
mod conv;
mod extended;
mod indexing;
mod movement;
mod norm;
mod pad;
mod pool;
mod product;
mod quantized;
mod recurrent;
mod reduce;
mod resize;
mod scan;
mod unary;
mod window;

pub(crate) use self::constant::shape_of;
pub(crate) use self::movement::{flattened, order, reshaped, slices, squeezed, unsqueezed};
pub(crate) use self::window::same_padding;
use crate::array::{Array, Element};
use crate::attributes::{AttributeError, Attributes};
use crate::model::Node;

/// A node cannot be computed.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("node `{node}` ({operator}): {problem}")]
pub struct EvalError {
    /// The node.
    pub node: String,
    /// Its operator.
    pub operator: String,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a node.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// An operator that is not known here.
    #[error("the operator is not supported")]
    Operator,
    /// An attribute is missing or not supported.
    #[error(transparent)]
    Attribute(#[from] AttributeError),
    /// An input is missing.
    #[error("input {0} is missing")]
    Missing(usize),
    /// An input is of a type that is not supported.
    #[error("input {0} is {1:?}, which is not supported")]
    Type(usize, crate::array::ElementType),
    /// Inputs do not fit each other or the attributes.
    #[error("{0}")]
    Input(String),
    /// Something that the operator has and this crate has not.
    #[error("{0} is not supported")]
    Unsupported(String),
}

/// What an operator sees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) node: &'a Node,
    pub(crate) inputs: &'a [Option<&'a Array>],
    /// The version of the standard operators.
    pub(crate) opset: i64,
}

impl<'a> Call<'a> {
    pub(crate) fn attributes(&self) -> &'a Attributes {
        &self.node.attributes
    }

    /// An input that must be there.
    pub(crate) fn input(&self, at: usize) -> Result<&'a Array, Problem> {
        self.optional(at).ok_or(Problem::Missing(at))
    }

    /// An input that may be left out.
    pub(crate) fn optional(&self, at: usize) -> Option<&'a Array> {
        self.inputs.get(at).copied().flatten()
    }

    /// The values of an input of that type.
    pub(crate) fn values<T: Element>(&self, at: usize) -> Result<&'a [T], Problem> {
        let input = self.input(at)?;
        input
            .values()
            .ok_or(Problem::Type(at, input.element_type()))
    }

    /// Integers of an input, of any width.
    pub(crate) fn integers(&self, at: usize) -> Result<Vec<i64>, Problem> {
        let input = self.input(at)?;
        input
            .to_i64()
            .ok_or(Problem::Type(at, input.element_type()))
    }

    /// Integers that newer versions have as an input and older ones as an attribute.
    pub(crate) fn integers_or(&self, at: usize, name: &str) -> Result<Option<Vec<i64>>, Problem> {
        match self.optional(at) {
            Some(_) => self.integers(at).map(Some),
            None => Ok(self.attributes().opt_ints(name)?.cloned()),
        }
    }
}

/// An error about inputs.
pub(crate) fn misfit<T>(what: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::Input(what.into()))
}

/// A dimension that may be counted from the end.
pub(crate) fn axis(axis: i64, rank: usize) -> Result<usize, Problem> {
    let signed = i64::try_from(rank).unwrap_or(i64::MAX);
    let from_start = if axis < 0 {
        axis.saturating_add(signed)
    } else {
        axis
    };
    match usize::try_from(from_start) {
        Ok(axis) if axis < rank => Ok(axis),
        _ => misfit(format!("there is no axis {axis} in {rank} dimensions")),
    }
}

/// Several dimensions, each once, in their order.
pub(crate) fn axes(list: &[i64], rank: usize) -> Result<Vec<usize>, Problem> {
    let mut found = list
        .iter()
        .map(|at| axis(*at, rank))
        .collect::<Result<Vec<_>, _>>()?;
    found.sort_unstable();
    if found.windows(2).any(|pair| pair[0] == pair[1]) {
        return misfit(format!("the axes {list:?} name one twice"));
    }
    Ok(found)
}

/// A tensor of that shape; an error where the values do not fill it.
pub(crate) fn filled<T: Element>(shape: Vec<usize>, values: Vec<T>) -> Result<Array, Problem> {
    Array::new(shape, T::data(values)).map_err(|error| Problem::Input(error.to_string()))
}

/// Computes an operator.
type Operator = fn(Call<'_>) -> Result<Vec<Array>, Problem>;

/// Every operator that is known: domain, name, function.
const OPERATORS: &[(&str, &[(&str, Operator)])] = &[
    ("", attention::OPERATORS),
    ("", binary::OPERATORS),
    ("", constant::OPERATORS),
    ("", conv::OPERATORS),
    ("", indexing::OPERATORS),
    ("", movement::OPERATORS),
    ("", norm::OPERATORS),
    ("", pad::OPERATORS),
    ("", pool::OPERATORS),
    ("", product::OPERATORS),
    ("", quantized::OPERATORS),
    ("", recurrent::OPERATORS),
    ("", reduce::OPERATORS),
    ("", resize::OPERATORS),
    ("", scan::OPERATORS),
    ("", unary::OPERATORS),
    ("com.microsoft", extended::OPERATORS),
];

fn find(node: &Node) -> Option<Operator> {
    OPERATORS
        .iter()
        .filter(|(domain, _)| *domain == node.domain)
        .flat_map(|(_, operators)| *operators)
        .find(|(name, _)| *name == node.op_type)
        .map(|(_, operator)| *operator)
}

/// The operators that [`evaluate`] knows, with the domain of those that are not standard.
pub fn operators() -> impl Iterator<Item = (&'static str, &'static str)> {
    OPERATORS
        .iter()
        .flat_map(|(domain, operators)| operators.iter().map(|(name, _)| (*domain, *name)))
}

/// Computes one node; `inputs` has `None` where an optional one is left out.
///
/// # Errors
/// [`EvalError`], where the operator is not known, or inputs and attributes do not fit it.
pub fn evaluate(
    node: &Node,
    inputs: &[Option<&Array>],
    opset: i64,
) -> Result<Vec<Array>, EvalError> {
    let call = Call {
        node,
        inputs,
        opset,
    };
    let found = find(node).ok_or(Problem::Operator);
    found
        .and_then(|operator| operator(call))
        .map_err(|problem| EvalError {
            node: node.name.clone(),
            operator: node.operator(),
            problem,
        })
}
