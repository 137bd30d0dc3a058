//! Kernels: which clause binds which pair.

use std::collections::HashMap;

use proc_macro2::Ident;
use syn::{Attribute, Path};

use super::names::Names;
use crate::ast::{Clause, ClauseKind, KernelSet, Op, path_place, path_text};
use crate::diag::{Diags, Place, messages};
use crate::model::{Binding, ConfigRef, KernelModel, PatternModel};

/// The kernel families bound so far, each once.
#[derive(Default)]
pub(crate) struct Families {
    pub(crate) all: Vec<KernelModel>,
    by_text: HashMap<String, usize>,
}

impl Families {
    fn index(&mut self, path: &Path, cfgs: Vec<Attribute>) -> usize {
        let text = path_text(path);
        if let Some(at) = self.by_text.get(&text) {
            let conditions = &mut self.all[*at].conditions;
            if cfgs.is_empty() {
                conditions.clear();
            } else if !conditions.is_empty() && !conditions.iter().any(|said| same(said, &cfgs)) {
                conditions.push(cfgs);
            }
            return *at;
        }
        let at = self.all.len();
        self.all.push(KernelModel {
            path: path.clone(),
            text: text.clone(),
            conditions: if cfgs.is_empty() { vec![] } else { vec![cfgs] },
        });
        self.by_text.insert(text, at);
        at
    }
}

/// Whether two lists of `cfg`s say the same in the same words.
fn same(a: &[Attribute], b: &[Attribute]) -> bool {
    let text = |cfgs: &[Attribute]| quote::quote!(#(#cfgs)*).to_string();
    text(a) == text(b)
}

/// The layer of what stands in the spec itself.
const OWN: usize = usize::MAX;

/// A `kernel` clause of a statement.
pub(crate) struct KernelClause<'s> {
    /// Which dtype configs it speaks of; `None` is all.
    configs: Option<Vec<usize>>,
    /// Which heads it speaks of; `None` is all.
    ops: Option<&'s [Op]>,
    /// Whether each of `ops` begins a pattern.
    matched: Vec<bool>,
    /// `None` is `none`.
    path: Option<&'s Path>,
    /// `cfg`s of the clause.
    cfgs: &'s [Attribute],
    at: Place,
    /// Whether it clashed already: said once.
    clashed: bool,
    /// Which set of kernels it comes from; what stands in the spec itself comes last, and wins.
    layer: usize,
}

impl KernelClause<'_> {
    /// The spec's own clauses win over a set's, then one with `for` over one without, then one with configs.
    fn rank(&self) -> (usize, bool, bool) {
        (self.layer, self.ops.is_some(), self.configs.is_some())
    }

    fn covers(&self, config: usize) -> bool {
        self.configs
            .as_ref()
            .is_none_or(|all| all.contains(&config))
    }
}

/// The `kernel` clauses of a statement.
pub(crate) fn clauses<'s>(
    clauses: &'s [Clause],
    refs: &[ConfigRef],
    what: &str,
    names: &Names<'_>,
    diags: &mut Diags,
) -> Vec<KernelClause<'s>> {
    let mut found = Vec::new();
    for clause in clauses {
        let ClauseKind::Kernel { configs, ops, path } = &clause.kind else {
            continue;
        };
        let configs = configs.as_ref().map(|configs| {
            let named = names.configs(configs, "`kernel` clause", diags);
            let mut said: Vec<Ident> = Vec::new();
            for config in &named {
                let listed = refs.iter().any(|found| found.config == config.config);
                if !(listed || refs.is_empty() || said.contains(&config.at)) {
                    said.push(config.at.clone());
                    let list = refs.iter().map(|found| &names.configs[found.config].ident);
                    let list: Vec<String> = list.map(ToString::to_string).collect();
                    diags.error(messages::not_of_pattern(&config.at, what, &list));
                }
            }
            named.into_iter().map(|config| config.config).collect()
        });
        found.push(KernelClause {
            configs,
            ops: ops.as_deref(),
            matched: vec![false; ops.as_ref().map_or(0, Vec::len)],
            path: path.as_ref(),
            cfgs: &clause.attrs.cfgs,
            at: path.as_ref().map_or(clause.at, path_place),
            clashed: false,
            layer: OWN,
        });
    }
    found
}

/// The clauses of a set that `use kernels` names, the `layer`th of the spec.
pub(crate) fn set(set: &KernelSet, layer: usize) -> Vec<KernelClause<'_>> {
    let clauses = set.clauses.iter();
    let clauses = clauses.filter_map(|clause| match &clause.kind {
        ClauseKind::Kernel {
            configs: None,
            ops: Some(ops),
            path,
        } => Some((clause, ops, path)),
        _ => None,
    });
    clauses
        .map(|(clause, ops, path)| KernelClause {
            configs: None,
            ops: Some(ops),
            matched: vec![false; ops.len()],
            path: path.as_ref(),
            cfgs: &clause.attrs.cfgs,
            at: path.as_ref().map_or(clause.at, path_place),
            clashed: false,
            layer,
        })
        .collect()
}

/// Checks a set of kernels by itself.
pub(crate) fn library(set: &KernelSet, diags: &mut Diags) {
    for clause in &set.clauses {
        match &clause.kind {
            ClauseKind::Kernel {
                configs: None,
                ops: Some(_),
                ..
            } => {}
            ClauseKind::Kernel { .. } => diags.error(messages::kernels_without_for(clause.at)),
            other => {
                let word = super::patterns::word(other);
                diags.error(messages::not_in_kernels(clause.at, word));
            }
        }
    }
}

/// How the kernel of each dtype config of a pattern is chosen.
pub(crate) fn bind(
    pattern: &PatternModel,
    clauses: &mut [KernelClause<'_>],
    statement_cfgs: &[Attribute],
    names: &Names<'_>,
    families: &mut Families,
    diags: &mut Diags,
) -> Vec<Vec<Binding>> {
    let head = pattern.head();
    let mut candidates: Vec<usize> = Vec::new();
    for (i, clause) in clauses.iter_mut().enumerate() {
        let Some(ops) = clause.ops else {
            candidates.push(i);
            continue;
        };
        let Some(head) = head else {
            continue;
        };
        let mut any = false;
        for (op, matched) in ops.iter().zip(&mut clause.matched) {
            if begins_with(head, op) {
                *matched = true;
                any = true;
            }
        }
        if any {
            candidates.push(i);
        }
    }
    candidates.sort_by_key(|i| core::cmp::Reverse(clauses[*i].rank()));
    let mut bindings = Vec::with_capacity(pattern.refs.len());
    for found in &pattern.refs {
        let mut chain: Vec<Binding> = Vec::new();
        let mut last: Option<usize> = None;
        for i in &candidates {
            if !clauses[*i].covers(found.config) {
                continue;
            }
            if let Some(last) = last {
                let exclusive = !clauses[last].cfgs.is_empty() && !clauses[*i].cfgs.is_empty();
                if clauses[last].rank() == clauses[*i].rank() && !exclusive {
                    let (first, second) = (last.min(*i), last.max(*i));
                    if !clauses[second].clashed {
                        clauses[second].clashed = true;
                        let config = names.configs[found.config].ident.to_string();
                        diags.error(messages::bound_already(
                            clauses[second].at,
                            &config,
                            &pattern.expr.text(),
                            clauses[first].at.line(),
                        ));
                    }
                    continue;
                }
            }
            if chain.last().is_some_and(|binding| binding.cfgs.is_empty()) {
                // a more specific clause decides
                last = Some(*i);
                continue;
            }
            let clause = &clauses[*i];
            let mut cfgs = clause.cfgs.to_vec();
            let own = cfgs.clone();
            cfgs.extend(statement_cfgs.iter().cloned());
            let kernel = clause.path.map(|path| families.index(path, cfgs));
            chain.push(Binding {
                kernel,
                cfgs: own,
                // what a set binds is the affair of the statement that lets it
                at: if clause.layer == OWN {
                    clause.at
                } else {
                    pattern.at
                },
            });
            last = Some(*i);
        }
        bindings.push(chain);
    }
    bindings
}

/// `conv2d` is the operator, however it is spelled; `nn::Conv2d` is that spelling.
fn begins_with(head: &Op, op: &Op) -> bool {
    let text = path_text(&op.path);
    if op.path.segments.len() == 1
        && let Some(spelling) = head.spelling()
    {
        return spelling.operator.name == text;
    }
    head.key() == op.key()
}

/// Operators behind `for` that no pattern begins with.
pub(crate) fn idle(clause: &KernelClause<'_>, what: &str, diags: &mut Diags) {
    let Some(ops) = clause.ops.filter(|_| clause.layer == OWN) else {
        return;
    };
    for (op, matched) in ops.iter().zip(&clause.matched) {
        if !matched {
            let at = path_place(&op.path);
            diags.error(messages::for_nothing(at, &op.text(), what));
        }
    }
}
