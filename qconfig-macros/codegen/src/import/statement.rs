//! Groups found, and patterns that say the same joined.

use std::collections::{HashMap, HashSet};

use qconfig_core::owned::{DTypeConfig, DTypeWithConstraints};

use super::entry::{Entry, Library, Pattern, Template};

/// A `group` or `pattern` statement.
#[derive(Clone, Debug)]
pub(super) enum Statement {
    /// `group conv: weighted`, and what follows it.
    Group {
        /// `conv`
        name: String,
        /// `weighted`
        configs: Vec<DTypeConfig>,
        /// Patterns of the group that the config does not have.
        removed: Vec<String>,
    },
    /// `pattern a | b: weighted { .. }`
    Pattern {
        /// Whether it replaces a pattern of a group.
        overrides: bool,
        /// The patterns that share all else.
        patterns: Vec<Pattern>,
        /// `weighted`
        configs: Vec<DTypeConfig>,
        /// The clauses.
        clauses: Vec<String>,
        /// `fix quint8 { .. }`
        fix: Option<DTypeWithConstraints>,
    },
}

impl Statement {
    pub(super) fn configs(&self) -> &[DTypeConfig] {
        match self {
            Statement::Group { configs, .. } | Statement::Pattern { configs, .. } => configs,
        }
    }
}

/// The statements that spread to these entries, in order.
pub(super) fn statements(entries: &[Entry], libraries: &[Library]) -> Vec<Statement> {
    let mut statements = Vec::new();
    let mut before: HashSet<String> = HashSet::new();
    let plain: Vec<&[DTypeConfig]> = entries.iter().map(|entry| &*entry.configs).collect();
    let mut rest = entries;
    while let Some(first) = rest.first() {
        let found = libraries
            .iter()
            .filter_map(|library| matched(library, rest, &before))
            .max_by_key(|found| found.exact);
        let (now, later) = match &found {
            Some(found) => rest.split_at(found.length),
            None => rest.split_at(1),
        };
        match found {
            Some(found) => {
                statements.push(Statement::Group {
                    name: found.name,
                    configs: found.configs,
                    removed: found.removed,
                });
                for at in found.overridden {
                    statements.extend(now.get(at).map(|entry| pattern(entry, true, &plain)));
                }
            }
            None => {
                let next = pattern(first, false, &plain);
                if !joined(statements.last_mut(), &next) {
                    statements.push(next);
                }
            }
        }
        before.extend(now.iter().map(|entry| entry.pattern.text()));
        rest = later;
    }
    statements
}

/// A group whose patterns come next.
struct Match {
    name: String,
    configs: Vec<DTypeConfig>,
    /// How many entries it covers.
    length: usize,
    /// How many of them say what the group says.
    exact: usize,
    /// The others, by position.
    overridden: Vec<usize>,
    removed: Vec<String>,
}

/// Whether the next entries are the group's patterns: all, or most with a few removed or overridden.
fn matched(library: &Library, entries: &[Entry], before: &HashSet<String>) -> Option<Match> {
    let places: HashMap<&str, usize> = library
        .templates
        .iter()
        .enumerate()
        .map(|(at, template)| (template.pattern.as_str(), at))
        .collect();
    let mut run: Vec<(&Entry, &Template)> = Vec::new();
    let mut next = 0;
    for entry in entries {
        let Some(at) = places.get(&*entry.pattern.text()).filter(|at| **at >= next) else {
            break;
        };
        run.push((entry, &library.templates[*at]));
        next = at + 1;
    }
    let bare: Vec<Option<Vec<DTypeConfig>>> = run
        .iter()
        .map(
            |(entry, template)| match template.clauses == entry.clauses {
                true => unfixed(&entry.configs, template.fix.as_ref()),
                false => None,
            },
        )
        .collect();
    // the dtype configs that most of them have
    let count = |wanted: &Vec<DTypeConfig>| {
        let same = bare.iter().flatten().filter(|found| *found == wanted);
        same.count()
    };
    let configs = bare.iter().flatten().max_by_key(|found| count(found))?;
    let exact = count(configs);
    let overridden: Vec<usize> = bare
        .iter()
        .enumerate()
        .filter(|(_, found)| found.as_ref() != Some(configs))
        .map(|(at, _)| at)
        .collect();
    let here: HashSet<String> = run.iter().map(|(entry, _)| entry.pattern.text()).collect();
    let removed: Vec<String> = library
        .templates
        .iter()
        .map(|template| template.pattern.clone())
        .filter(|pattern| !here.contains(pattern))
        .collect();
    // a group may not bring again what is there already
    let clashes = removed.iter().any(|pattern| before.contains(pattern));
    let changes = overridden.len() + removed.len();
    (!clashes && changes * 4 <= exact).then(|| Match {
        name: library.name.clone(),
        configs: configs.clone(),
        length: run.len(),
        exact,
        overridden,
        removed,
    })
}

/// The configs before `fix` was applied; `None` where it was not.
fn unfixed(
    configs: &[DTypeConfig],
    fix: Option<&DTypeWithConstraints>,
) -> Option<Vec<DTypeConfig>> {
    let Some(fix) = fix else {
        return Some(configs.to_vec());
    };
    let mut bare = configs.to_vec();
    for config in &mut bare {
        for dtype in [&mut config.input_dtype, &mut config.output_dtype] {
            match dtype {
                Some(found) if found == fix => *found = plain(fix),
                Some(found) if found.dtype == fix.dtype => return None,
                _ => {}
            }
        }
    }
    let twice = bare
        .iter()
        .enumerate()
        .any(|(at, config)| bare.iter().take(at).any(|first| first == config));
    (!twice).then_some(bare)
}

fn plain(dtype: &DTypeWithConstraints) -> DTypeWithConstraints {
    DTypeWithConstraints::from(&qconfig_core::DTypeWithConstraints::new(dtype.dtype))
}

/// Operators whose range is known beforehand.
const FIXED: [&str; 4] = ["sigmoid", "hardsigmoid", "tanh", "softmax"];

/// A pattern by itself. Exact parameters are the operator's, and `fix` says so, where the operator is
/// known for it or other patterns have the same configs without them.
fn pattern(entry: &Entry, overrides: bool, plain: &[&[DTypeConfig]]) -> Statement {
    let exact = entry
        .configs
        .iter()
        .flat_map(|config| [&config.input_dtype, &config.output_dtype])
        .flatten()
        .find(|dtype| dtype.scale_exact_match.is_some());
    let bare = exact.and_then(|exact| Some((exact, unfixed(&entry.configs, Some(exact))?)));
    let last = match &entry.pattern {
        Pattern::Chain(ops) => ops.last().map(String::as_str),
        Pattern::Tree(_) => None,
    };
    let known = last.is_some_and(|op| {
        let spelling = qconfig_core::operator::by_dsl(op);
        spelling.is_some_and(|found| FIXED.contains(&found.operator.name))
    });
    let bare = bare.filter(|(_, bare)| known || plain.iter().any(|other| other == bare));
    let (fix, configs) = match bare {
        Some((exact, bare)) => (Some(*exact), bare),
        None => (None, entry.configs.clone()),
    };
    Statement::Pattern {
        overrides,
        patterns: vec![entry.pattern.clone()],
        configs,
        clauses: entry.clauses.clone(),
        fix,
    }
}

/// Adds a pattern to the statement before it, if that says the same.
fn joined(before: Option<&mut Statement>, next: &Statement) -> bool {
    let (
        Some(Statement::Pattern {
            overrides: false,
            patterns,
            configs,
            clauses,
            fix,
        }),
        Statement::Pattern {
            overrides: false,
            patterns: more,
            configs: next_configs,
            clauses: next_clauses,
            fix: next_fix,
        },
    ) = (before, next)
    else {
        return false;
    };
    if (&*configs, &*clauses, &*fix) != (next_configs, next_clauses, next_fix) {
        return false;
    }
    patterns.extend(more.iter().cloned());
    true
}
