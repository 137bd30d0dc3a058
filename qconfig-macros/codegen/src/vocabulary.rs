//! What codegen knows of the operators that a spec names; the rest is left to rustc.

use qconfig_core::Spelling;
use qconfig_core::operator::{by_dsl, by_name};

use crate::ast::{Op, path_text};

/// The modules of the vocabulary, as a spec writes them.
const MODULES: [&str; 10] = [
    "nn", "F", "torch", "operator", "method", "aten", "nni", "nniqat", "nnqat", "nnqr",
];

/// Where an operator's type is looked up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Home {
    /// `nn::Conv2d`: in the vocabulary.
    Vocabulary,
    /// `conv2d`: among the vocabulary's short names.
    Short,
    /// `crate::Mish`, `Mish`: where the spec stands.
    User,
}

impl Op {
    /// Where its type is looked up.
    pub fn home(&self) -> Home {
        let mut segments = self
            .path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string());
        match (self.path.leading_colon, segments.next(), segments.next()) {
            (None, Some(only), None) => {
                if only.starts_with(|c: char| c.is_ascii_lowercase()) {
                    Home::Short
                } else {
                    Home::User
                }
            }
            (None, Some(module), Some(_))
                if self.path.segments.len() == 2 && MODULES.contains(&module.as_str()) =>
            {
                Home::Vocabulary
            }
            _ => Home::User,
        }
    }

    /// Its spelling, where the vocabulary has it.
    pub fn spelling(&self) -> Option<&'static Spelling> {
        let text = path_text(&self.path);
        match self.home() {
            Home::Vocabulary => by_dsl(&text),
            Home::Short => by_name(&text),
            Home::User => None,
        }
    }

    /// As the user wrote it.
    pub fn text(&self) -> String {
        path_text(&self.path)
    }

    /// The same for all ways to write the same operator.
    pub fn key(&self) -> String {
        match self.spelling() {
            Some(spelling) => spelling.dsl.to_owned(),
            None => self.text(),
        }
    }
}
