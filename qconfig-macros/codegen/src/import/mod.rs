//! A config from outside as a spec: [`owned::BackendConfig`] in, text in the macro's language out.
//!
//! Each file is a step: `entry` puts what is said of a pattern into the words of a spec,
//! `statement` finds the groups whose patterns follow each other and joins patterns that say the same,
//! `names` names dtypes, configs and lists, `text` writes it all down. The layout is
//! [`crate::format`]'s. What was written is read again by the macro's own parser and checks, and must say
//! what the config said (`read_back`).

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use qconfig_core::owned;

use crate::ast::Group;
use crate::diag::{Diag, Diags};
use crate::format;
use crate::model::{Layer, build};
use crate::parse;

mod entry;
mod names;
mod read_back;
mod statement;
mod text;

/// What an import needs beside the config.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// The static's name; `None` makes one of the config's.
    pub ident: Option<&'a str>,
    /// The groups that the spec may use: those of the macro that it will be given to.
    pub groups: &'a [Group],
    /// For PyTorch's paths that the vocabulary does not have, paths to types that implement `Spelled`.
    pub operators: &'a BTreeMap<String, String>,
}

/// Why a config is no spec.
#[derive(Clone, PartialEq, Debug)]
pub struct Problem {
    /// The place: `configs[3] (torch.nn.Conv2d): dtype_configs[0]`.
    pub place: String,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

impl std::error::Error for Problem {}

/// The groups of a file that calls `op_groups!`.
///
/// # Errors
/// What does not parse.
pub fn groups(source: &str) -> Result<Vec<Group>, Diag> {
    let mut diags = Diags::default();
    let mut groups = Vec::new();
    for call in format::invocations(source)? {
        if call.kind == format::Macro::Library {
            groups.extend(parse::library(call.tokens, &mut diags).groups);
        }
    }
    match diags.errors().first() {
        Some(error) => Err((*error).clone()),
        None => Ok(groups),
    }
}

/// Writes a spec that says what the config says: a call of `qconfig::backend_config!`, every pair
/// `kernel none`.
///
/// # Errors
/// Every rule of the macro that the config breaks, and every operator that neither the vocabulary nor
/// `options` has.
pub fn import(
    config: &owned::BackendConfig,
    options: &Options<'_>,
) -> Result<String, Vec<Problem>> {
    check(config, options)?;
    let entries = entry::entries(config, options)?;
    let libraries = entry::templates(options.groups);
    let statements = statement::statements(&entries, &libraries);
    let names = names::names(&statements);
    let written = text::spec(config, options, &statements, &names);
    let text = format::file(&written).map_err(|errors| {
        let messages = errors.into_iter().map(|diag| diag.text());
        messages.map(of_the_text).collect::<Vec<_>>()
    })?;
    read_again(&text, config, options)?;
    Ok(text)
}

/// The rules of `qconfig-core`, and those of the macro that a config can break besides.
fn check(config: &owned::BackendConfig, options: &Options<'_>) -> Result<(), Vec<Problem>> {
    let given = |path: &str| options.operators.contains_key(path);
    let mut problems: Vec<Problem> = Vec::new();
    let mut unknown: HashSet<String> = HashSet::new();
    for problem in config.check().err().unwrap_or_default() {
        let mut message = problem.kind.to_string();
        if let owned::ProblemKind::UnknownOperator(path) = &problem.kind {
            if given(path) {
                continue;
            }
            if unknown.insert(path.clone()) {
                message.push_str(&format!(
                    "; implement `Spelled` for a type of yours and say which: `{path}=crate::{}`",
                    path.rsplit('.').next().unwrap_or(path)
                ));
            }
        }
        problems.push(Problem {
            place: problem.place,
            message,
        });
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems)
    }
}

fn of_the_text(message: String) -> Problem {
    Problem {
        place: "the spec that was written".into(),
        message,
    }
}

/// Reads the text as the macro does, and compares what it says with the config.
fn read_again(
    text: &str,
    config: &owned::BackendConfig,
    options: &Options<'_>,
) -> Result<(), Vec<Problem>> {
    let calls = format::invocations(text).map_err(|diag| vec![of_the_text(diag.text())])?;
    let mut diags = Diags::default();
    let model = calls.into_iter().next().and_then(|call| {
        let spec = parse::spec(call.tokens, &mut diags);
        let layer = Layer {
            spec: &spec,
            inherited: false,
        };
        let groups: Vec<&Group> = options.groups.iter().collect();
        build(&[layer], &groups, &[], &mut diags)
    });
    if diags.any() {
        let said = diags.errors().into_iter().map(|diag| {
            let line = text.lines().nth(diag.at.line().saturating_sub(1));
            let message = diag.text().replace("\n\n= ", "; ").replace("\n= ", "; ");
            Problem {
                place: format!("`{}`", line.unwrap_or_default().trim()),
                message,
            }
        });
        return Err(said.collect());
    }
    let found = model.map(|model| read_back::owned(&model, options.operators));
    let found = found.ok_or_else(|| vec![of_the_text("there is no backend in it".into())])?;
    match read_back::difference(&found, config) {
        None => Ok(()),
        Some(place) => Err(vec![Problem {
            place,
            message: "the macro's language cannot say this".into(),
        }]),
    }
}
