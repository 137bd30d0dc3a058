//! Attributes of a node, read by name and type.

use std::collections::BTreeMap;

use crate::array::Array;

/// The value of an attribute.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is what its name says")]
pub enum Attribute {
    Float(f32),
    Int(i64),
    String(String),
    Tensor(Array),
    Floats(Vec<f32>),
    Ints(Vec<i64>),
    Strings(Vec<String>),
    /// A graph, which is only run by control flow, and that not at all.
    Graph,
}

impl Attribute {
    fn kind(&self) -> &'static str {
        match self {
            Attribute::Float(_) => "a float",
            Attribute::Int(_) => "an integer",
            Attribute::String(_) => "a string",
            Attribute::Tensor(_) => "a tensor",
            Attribute::Floats(_) => "floats",
            Attribute::Ints(_) => "integers",
            Attribute::Strings(_) => "strings",
            Attribute::Graph => "a graph",
        }
    }
}

/// An attribute is missing or not what the operator has.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttributeError {
    /// The operator needs it.
    #[error("attribute `{0}` is missing")]
    Missing(String),
    /// Another type.
    #[error("attribute `{name}` is {found}, {expected} is needed")]
    Kind {
        /// The attribute.
        name: String,
        /// What is needed.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A value that the operator does not have.
    #[error("attribute `{name}` is {value}, which is not supported")]
    Value {
        /// The attribute.
        name: String,
        /// Its value.
        value: String,
    },
}

/// A node's attributes.
///
/// ```
/// use qconfig_onnx::{Attribute, Attributes};
/// let attributes = Attributes::from([("axis".to_owned(), Attribute::Int(-1))]);
/// assert_eq!(attributes.int("axis", 0), Ok(-1));
/// assert_eq!(attributes.int("keepdims", 1), Ok(1));
/// assert!(attributes.ints("axis").is_err());
/// ```
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Attributes(BTreeMap<String, Attribute>);

impl<const N: usize> From<[(String, Attribute); N]> for Attributes {
    fn from(pairs: [(String, Attribute); N]) -> Self {
        Self(pairs.into())
    }
}

impl FromIterator<(String, Attribute)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (String, Attribute)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

macro_rules! typed {
    ($(#[$doc:meta])* $name:ident, $variant:ident, $type:ty, $expected:literal) => {
        $(#[$doc])*
        ///
        /// # Errors
        /// [`AttributeError::Kind`].
        pub fn $name(&self, name: &str) -> Result<Option<&$type>, AttributeError> {
            match self.0.get(name) {
                None => Ok(None),
                Some(Attribute::$variant(value)) => Ok(Some(value)),
                Some(other) => Err(AttributeError::Kind {
                    name: name.into(),
                    expected: $expected,
                    found: other.kind(),
                }),
            }
        }
    };
}

impl Attributes {
    /// With one more, in place of another of its name.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, attribute: Attribute) -> Self {
        self.0.insert(name.to_owned(), attribute);
        self
    }

    typed!(
        /// An integer, where it is there.
        opt_int, Int, i64, "an integer"
    );
    typed!(
        /// A float, where it is there.
        opt_float, Float, f32, "a float"
    );
    typed!(
        /// A string, where it is there.
        opt_string, String, String, "a string"
    );
    typed!(
        /// Integers, where they are there.
        opt_ints, Ints, Vec<i64>, "integers"
    );
    typed!(
        /// Floats, where they are there.
        opt_floats, Floats, Vec<f32>, "floats"
    );
    typed!(
        /// Strings, where they are there.
        opt_strings, Strings, Vec<String>, "strings"
    );
    typed!(
        /// A tensor, where it is there.
        opt_tensor, Tensor, Array, "a tensor"
    );

    /// An integer, or what stands for it.
    ///
    /// # Errors
    /// [`AttributeError::Kind`].
    pub fn int(&self, name: &str, default: i64) -> Result<i64, AttributeError> {
        Ok(self.opt_int(name)?.copied().unwrap_or(default))
    }

    /// An integer that says yes or no.
    ///
    /// # Errors
    /// [`AttributeError::Kind`].
    pub fn flag(&self, name: &str, default: bool) -> Result<bool, AttributeError> {
        Ok(self.int(name, i64::from(default))? != 0)
    }

    /// A float, or what stands for it.
    ///
    /// # Errors
    /// [`AttributeError::Kind`].
    pub fn float(&self, name: &str, default: f32) -> Result<f32, AttributeError> {
        Ok(self.opt_float(name)?.copied().unwrap_or(default))
    }

    /// A string, or what stands for it.
    ///
    /// # Errors
    /// [`AttributeError::Kind`].
    pub fn string<'a>(&'a self, name: &str, default: &'a str) -> Result<&'a str, AttributeError> {
        Ok(self.opt_string(name)?.map_or(default, String::as_str))
    }

    /// Integers that must be there.
    ///
    /// # Errors
    /// [`AttributeError`].
    pub fn ints(&self, name: &str) -> Result<&[i64], AttributeError> {
        let found = self.opt_ints(name)?;
        found
            .map(Vec::as_slice)
            .ok_or_else(|| AttributeError::Missing(name.into()))
    }

    /// Sizes, none of them negative, or what stands for them.
    ///
    /// # Errors
    /// [`AttributeError`].
    pub fn sizes(&self, name: &str, default: &[usize]) -> Result<Vec<usize>, AttributeError> {
        let Some(found) = self.opt_ints(name)? else {
            return Ok(default.to_vec());
        };
        let sizes = found.iter().map(|x| usize::try_from(*x).ok());
        // no tensor is that large, and sums of a few stay inside 64 bits
        let small = |sizes: &Vec<usize>| sizes.iter().all(|size| *size <= 1 << 40);
        sizes
            .collect::<Option<Vec<usize>>>()
            .filter(small)
            .ok_or_else(|| AttributeError::Value {
                name: name.into(),
                value: format!("{found:?}"),
            })
    }

    /// The error of an attribute whose value is not supported, which it names.
    pub fn unsupported(&self, name: &str) -> AttributeError {
        let value = match self.0.get(name) {
            Some(Attribute::Int(x)) => x.to_string(),
            Some(Attribute::Float(x)) => x.to_string(),
            Some(Attribute::String(x)) => format!("`{x}`"),
            Some(Attribute::Ints(x)) => format!("{x:?}"),
            Some(other) => other.kind().into(),
            None => "missing".into(),
        };
        let name = name.into();
        AttributeError::Value { name, value }
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Attribute)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}
