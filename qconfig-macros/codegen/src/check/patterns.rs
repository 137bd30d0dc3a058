//! Patterns: groups spread, overrides and removals applied, each pattern and its clauses checked.

use std::collections::HashMap;

use qconfig_core::{DType, chain_problem};

use super::kernels::{self, Families, KernelClause};
use super::names::Names;
use crate::ast::{
    Attrs, Clause, ClauseKind, Configs, Group, GroupUse, Item, KernelSet, ModuleRole, Observe,
    PatternExpr, PatternItem, PatternKind, path_place,
};
use crate::diag::{Diags, Place, messages};
use crate::model::{ConfigRef, DTypeModel, Details, Fix, KernelModel, Layer, PatternModel};
use crate::vocabulary::Home;

/// The patterns of a backend as they come together.
struct Table {
    patterns: Vec<PatternModel>,
    by_key: HashMap<String, usize>,
}

impl Table {
    fn find(&self, key: &str) -> Option<&PatternModel> {
        self.by_key.get(key).map(|at| &self.patterns[*at])
    }

    fn add(&mut self, pattern: PatternModel) {
        self.by_key.insert(pattern.key.clone(), self.patterns.len());
        self.patterns.push(pattern);
    }

    /// In the place of the pattern that has its key.
    fn replace(&mut self, pattern: PatternModel) {
        if let Some(at) = self.by_key.get(&pattern.key) {
            self.patterns[*at] = pattern;
        }
    }

    fn remove(&mut self, key: &str) {
        if let Some(at) = self.by_key.remove(key) {
            self.patterns.remove(at);
            for other in self.by_key.values_mut() {
                *other -= usize::from(*other > at);
            }
        }
    }

    fn texts(&self) -> Vec<String> {
        self.patterns
            .iter()
            .map(|found| found.expr.text())
            .collect()
    }
}

/// Spreads groups and patterns of all layers, in order.
pub fn spread(
    layers: &[Layer<'_>],
    groups: &[&Group],
    sets: &[&KernelSet],
    names: &mut Names<'_>,
    diags: &mut Diags,
) -> (Vec<PatternModel>, Vec<KernelModel>) {
    let mut table = Table {
        patterns: Vec::new(),
        by_key: HashMap::new(),
    };
    let mut families = Families::default();
    let mut used: Vec<&KernelSet> = Vec::new();
    for layer in layers {
        let mut quiet = Diags::default();
        let diags = if layer.inherited {
            &mut quiet
        } else {
            &mut *diags
        };
        for item in &layer.spec.items {
            let Item::UseKernels(ident) = item else {
                continue;
            };
            match sets.iter().rev().find(|set| set.ident == *ident) {
                Some(set) => used.push(set),
                None => {
                    let names: Vec<String> = sets.iter().map(|set| set.ident.to_string()).collect();
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    diags.error(messages::unknown_kernels(ident, names));
                }
            }
        }
        let mut context = Context {
            sets: &used,
            names,
            families: &mut families,
            table: &mut table,
            inherited: layer.inherited,
            diags,
        };
        for item in &layer.spec.items {
            match item {
                Item::Group(item) => context.group(item, groups, &layer.spec.broken),
                Item::Pattern(item) => context.pattern(item),
                Item::Remove(item) => {
                    for pattern in &item.patterns {
                        context.remove(pattern);
                    }
                }
                _ => {}
            }
        }
    }
    (table.patterns, families.all)
}

struct Context<'c, 'n, 'k> {
    sets: &'c [&'k KernelSet],
    names: &'c mut Names<'n>,
    families: &'c mut Families,
    table: &'c mut Table,
    inherited: bool,
    diags: &'c mut Diags,
}

/// What a statement gives to each of its patterns.
struct Statement<'s> {
    /// Group or pattern, for messages.
    what: String,
    at: Place,
    attrs: &'s Attrs,
    configs: &'s Configs,
    refs: Vec<ConfigRef>,
    kernels: Vec<KernelClause<'s>>,
}

impl<'k> Context<'_, '_, 'k> {
    fn statement<'s>(
        &mut self,
        what: String,
        at: Place,
        attrs: &'s Attrs,
        configs: &'s Configs,
        clauses: &'s [Clause],
    ) -> Statement<'s>
    where
        'k: 's,
    {
        let refs = self.names.configs(configs, &what, self.diags);
        if configs.names.is_empty() {
            self.diags.error(messages::no_configs(configs.at, &what));
        }
        for found in &refs {
            self.names.configs[found.config].used = true;
        }
        let mut kernels = kernels::clauses(clauses, &refs, &what, self.names, self.diags);
        for (layer, set) in self.sets.iter().enumerate() {
            kernels.extend(kernels::set(set, layer));
        }
        Statement {
            what,
            at,
            attrs,
            configs,
            refs,
            kernels,
        }
    }

    fn group(&mut self, item: &GroupUse, groups: &[&Group], broken: &[String]) {
        for clause in &item.clauses {
            if let Some(word) = not_of_groups(&clause.kind) {
                self.diags.error(messages::clause_in_group(clause.at, word));
            }
        }
        let what = format!("group `{}`", item.name);
        let at = Place::from(&item.name);
        let mut statement = self.statement(what, at, &item.attrs, &item.configs, &item.clauses);
        // of two libraries that have the group, the later one counts
        let Some(group) = groups.iter().rev().find(|group| group.ident == item.name) else {
            if !broken.contains(&item.name.to_string()) {
                let names: Vec<String> =
                    groups.iter().map(|group| group.ident.to_string()).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                self.diags.error(messages::unknown_group(&item.name, names));
            }
            return;
        };
        let name = item.name.to_string();
        let mut unbound = Unbound::default();
        let mut said_twice = false;
        for part in &group.patterns {
            // a library's own mistakes are reported where the library is compiled
            let details = details(part, &mut Diags::default());
            for expr in &part.patterns {
                let mut pattern = self.model(
                    expr,
                    &mut statement,
                    details.clone(),
                    Some(&name),
                    &mut unbound,
                );
                pattern.cfgs.extend(part.attrs.cfgs.iter().cloned());
                self.shared(&pattern, statement.configs.at);
                match self.table.find(&pattern.key) {
                    Some(first) if part.overrides.is_some() && first.group == pattern.group => {
                        self.table.replace(pattern);
                    }
                    Some(first) => {
                        if !said_twice {
                            said_twice = true;
                            self.diags.error(messages::group_pattern_twice(
                                at,
                                &expr.text(),
                                &where_first(first),
                            ));
                        }
                    }
                    None => self.table.add(pattern),
                }
            }
        }
        self.finish(&statement, unbound);
    }

    fn pattern(&mut self, item: &PatternItem) {
        let Some(configs) = &item.configs else {
            return;
        };
        let Some(first) = item.patterns.first() else {
            return;
        };
        let what = format!("pattern `{}`", first.text());
        let mut statement = self.statement(what, first.at, &item.attrs, configs, &item.clauses);
        let details = details(item, self.diags);
        if let (Some(fix), false) = (&details.fix, statement.refs.is_empty()) {
            self.check_fix(fix, &statement);
        }
        let mut unbound = Unbound::default();
        for expr in &item.patterns {
            let checked = check_chain(expr, self.diags);
            if checked == Chain::Broken {
                continue;
            }
            check_args(expr, item, self.diags);
            check_tree(expr, item, self.diags);
            let pattern = self.model(expr, &mut statement, details.clone(), None, &mut unbound);
            if let Some((_, at)) = details.observe {
                self.shared(&pattern, at);
            }
            let key = pattern.key.clone();
            match (self.table.find(&key), item.overrides) {
                (Some(first), Some(_)) => {
                    if first.signature() == pattern.signature() && !item.attrs.allow_lints {
                        let what = format!("pattern `{}`", expr.text());
                        let diag = messages::override_changes_nothing(expr.at, &what);
                        self.diags.lint("override_without_effect", diag);
                    }
                    self.table.replace(pattern);
                }
                (Some(first), None) => self.diags.error(messages::configured_twice(
                    expr.at,
                    &expr.text(),
                    &where_first(first),
                )),
                (None, Some(_)) => {
                    let texts = self.table.texts();
                    self.diags.error(messages::no_such_pattern(
                        expr.at,
                        "override",
                        &expr.text(),
                        texts.iter().map(String::as_str),
                    ));
                    self.table.add(pattern);
                }
                (None, None) => self.table.add(pattern),
            }
        }
        self.finish(&statement, unbound);
    }

    fn remove(&mut self, expr: &PatternExpr) {
        let key = expr.key();
        if self.table.find(&key).is_none() {
            let texts = self.table.texts();
            self.diags.error(messages::no_such_pattern(
                expr.at,
                "remove",
                &expr.text(),
                texts.iter().map(String::as_str),
            ));
            return;
        }
        self.table.remove(&key);
    }

    fn model(
        &mut self,
        expr: &PatternExpr,
        statement: &mut Statement<'_>,
        details: Details,
        group: Option<&str>,
        unbound: &mut Unbound,
    ) -> PatternModel {
        let at = if group.is_some() {
            statement.at
        } else {
            expr.at
        };
        let mut pattern = PatternModel {
            expr: expr.clone(),
            key: expr.key(),
            at,
            group: group.map(str::to_owned),
            cfgs: statement.attrs.cfgs.clone(),
            refs: statement.refs.clone(),
            bindings: Vec::new(),
            details,
            checked: check_chain(expr, &mut Diags::default()) == Chain::Good,
            inherited: self.inherited,
        };
        pattern.bindings = kernels::bind(
            &pattern,
            &mut statement.kernels,
            &statement.attrs.cfgs,
            self.names,
            self.families,
            self.diags,
        );
        for (found, bindings) in pattern.refs.iter().zip(&pattern.bindings) {
            if bindings.is_empty() {
                unbound.add(found.config, self.names);
            }
        }
        pattern
    }

    /// What is left to say when all patterns of a statement are known.
    fn finish(&mut self, statement: &Statement<'_>, unbound: Unbound) {
        for clause in &statement.kernels {
            kernels::idle(clause, &statement.what, self.diags);
        }
        let allowed = statement.attrs.allow_no_kernel || statement.attrs.allow_lints;
        if !(unbound.names.is_empty() || allowed) {
            let diag = messages::no_kernel(statement.at, &statement.what, &unbound.names);
            self.diags.lint("pair_without_kernel", diag);
        }
    }

    /// A shared observer needs input and output of the same dtype.
    fn shared(&mut self, pattern: &PatternModel, at: Place) {
        if !matches!(pattern.details.observe, Some((Observe::Shared, _))) {
            return;
        }
        for found in &pattern.refs {
            let config = &self.names.configs[found.config];
            let (Some(input), Some(output)) = (&config.input, &config.output) else {
                continue;
            };
            if let (Some(from), Some(to), false) = (input.dtype, output.dtype, config.broken)
                && from != to
            {
                let name = config.ident.to_string();
                let diag = messages::shared_differs(at, &name, from.name(), to.name());
                self.diags.error(diag);
                return;
            }
        }
    }

    fn check_fix(&mut self, fix: &Fix, statement: &Statement<'_>) {
        let Some(base) = fix.bounds.dtype else {
            return;
        };
        let mut any = false;
        for found in &statement.refs {
            let config = &self.names.configs[found.config];
            any |= config.broken;
            for dtype in [&config.input, &config.output].into_iter().flatten() {
                if dtype.dtype != Some(base) {
                    continue;
                }
                any = true;
                let excluded = [
                    ("scale >=", &dtype.scale_min),
                    ("scale <=", &dtype.scale_max),
                ];
                let excluded = excluded.iter().find(|(_, scale)| scale.is_some());
                if let Some((word, _)) = excluded {
                    let at = Place::from(&fix.base);
                    let name = config.ident.to_string();
                    self.diags.error(messages::fix_with_scale(at, &name, word));
                    return;
                }
            }
        }
        if !any {
            let line = statement.configs.at.line();
            let diag = messages::nothing_to_fix(&fix.base, &statement.what, Some(line));
            self.diags.error(diag);
        }
    }
}

/// Where a pattern is configured: "first on line 4, by group `linear`".
fn where_first(first: &PatternModel) -> String {
    let by = first
        .group
        .as_ref()
        .map(|group| format!(", by group `{group}`"));
    let by = by.unwrap_or_default();
    if first.inherited {
        format!("inherited{by}")
    } else {
        format!("first on line {}{by}", first.at.line())
    }
}

/// Dtype configs that no kernel clause speaks of.
#[derive(Default)]
struct Unbound {
    names: Vec<String>,
}

impl Unbound {
    fn add(&mut self, config: usize, names: &Names<'_>) {
        let name = names.configs[config].ident.to_string();
        if !self.names.contains(&name) {
            self.names.push(name);
        }
    }
}

/// The word of a clause that a group's block does not take.
fn not_of_groups(kind: &ClauseKind) -> Option<&'static str> {
    match kind {
        ClauseKind::Kernel { .. } => None,
        other => Some(word(other)),
    }
}

pub(crate) fn word(kind: &ClauseKind) -> &'static str {
    match kind {
        ClauseKind::Kernel { .. } => "kernel",
        ClauseKind::Observe(_) => "observe",
        ClauseKind::ObserveBy(_) => "observe by",
        ClauseKind::Args(_) => "args",
        ClauseKind::Module(ModuleRole::Root, _) => "root",
        ClauseKind::Module(ModuleRole::Qat, _) => "qat",
        ClauseKind::Module(ModuleRole::Reference, _) => "reference",
        ClauseKind::Module(ModuleRole::Fused, _) => "fused",
        ClauseKind::Fuser(_) => "fuser",
        ClauseKind::Fix(..) => "fix",
        ClauseKind::RootNode(_) => "root_node",
        ClauseKind::ExtraInputs(_) => "extra_inputs",
    }
}

/// What an `args` clause can place.
const ARGS: [&str; 3] = ["input", "weight", "bias"];

/// What the clauses say, kernels apart; each at most once.
pub(crate) fn details(item: &PatternItem, diags: &mut Diags) -> Details {
    let mut details = Details::default();
    let mut seen: HashMap<&'static str, usize> = HashMap::new();
    for clause in &item.clauses {
        let word = word(&clause.kind);
        if word != "kernel"
            && let Some(first) = seen.insert(word, clause.at.line())
        {
            diags.error(messages::clause_twice(clause.at, word, first));
            continue;
        }
        match &clause.kind {
            ClauseKind::Kernel { .. } => {}
            ClauseKind::Observe(kind) => details.observe = Some((*kind, clause.at)),
            ClauseKind::ObserveBy(cases) => {
                observe_by(cases, clause.at, diags);
                let cases = cases.iter().map(|(count, _, kind)| (*count, *kind));
                details.observe_by = cases.collect();
            }
            ClauseKind::Args(args) => {
                for (name, _, _) in args {
                    if !ARGS.iter().any(|known| name == known) {
                        diags.error(messages::unknown_arg(name));
                    }
                }
                let args = args.iter().map(|(name, index, _)| (name.clone(), *index));
                details.args = args.collect();
            }
            ClauseKind::Module(role, op) => details.modules.push((*role, op.clone())),
            ClauseKind::Fuser(fuser) => details.fuser = Some(*fuser),
            ClauseKind::Fix(base, bounds) => {
                let mut model = DTypeModel::plain(base);
                super::bounds::read(&mut model, bounds, &item.attrs, diags);
                details.fix = Some(Fix {
                    base: base.clone(),
                    bounds: model,
                });
            }
            ClauseKind::RootNode(path) => details.root_node = Some(path.clone()),
            ClauseKind::ExtraInputs(paths) => details.extra_inputs.clone_from(paths),
        }
    }
    details
}

/// Cases go from 0 without a gap, each once.
fn observe_by(cases: &[(u8, proc_macro2::Span, Observe)], at: Place, diags: &mut Diags) {
    for (i, (count, span, _)) in cases.iter().enumerate() {
        if cases[..i].iter().any(|(earlier, _, _)| earlier == count) {
            diags.error(messages::case_twice(*span, *count));
        }
    }
    let most = cases.iter().map(|(count, _, _)| *count).max().unwrap_or(0);
    let missing = (0..most).find(|n| !cases.iter().any(|(count, _, _)| count == n));
    if let Some(missing) = missing {
        diags.error(messages::missing_case(at, missing));
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Chain {
    /// Every rule holds.
    Good,
    /// An operator is not the vocabulary's: rustc checks.
    Unknown,
    /// A rule is broken, and that has been said.
    Broken,
}

/// Holds `qconfig-core`'s rules for chains against a pattern whose operators are known.
fn check_chain(expr: &PatternExpr, diags: &mut Diags) -> Chain {
    let PatternKind::Chain(chain) = &expr.kind else {
        return Chain::Good;
    };
    let mut known = Vec::with_capacity(chain.len());
    for op in chain {
        known.extend(op.spelling());
    }
    let problem = if known.len() == chain.len() {
        chain_problem(&known)
    } else if chain.len() > qconfig_core::Pattern::MAX_CHAIN {
        Some(qconfig_core::PatternProblem::TooLong { len: chain.len() })
    } else {
        return Chain::Unknown;
    };
    match problem {
        None => Chain::Good,
        Some(problem) => {
            diags.error(messages::chain_problem(expr.at, &problem));
            Chain::Broken
        }
    }
}

/// Where an operator has its input, weight and bias among its arguments, as in PyTorch.
fn known_args(operator: &str) -> Option<[(&'static str, u8); 3]> {
    let (input, weight, bias) = match operator {
        "group_norm" | "layer_norm" => (0, 2, 3),
        "instance_norm" => (0, 3, 4),
        "linear" => (0, 1, 2),
        "addmm" => (1, 2, 0),
        _ if operator.starts_with("conv") => (0, 1, 2),
        _ => return None,
    };
    Some([("input", input), ("weight", weight), ("bias", bias)])
}

fn check_args(expr: &PatternExpr, item: &PatternItem, diags: &mut Diags) {
    let clauses = item.clauses.iter();
    let args = clauses.filter_map(|clause| match &clause.kind {
        ClauseKind::Args(args) => Some(args),
        _ => None,
    });
    let head = match &expr.kind {
        PatternKind::Chain(chain) => chain.first(),
        PatternKind::Tree(tree) => tree.head(),
    };
    let known = head.and_then(|op| op.spelling());
    let known = known.and_then(|found| Some((found, known_args(found.operator.name)?)));
    for args in args {
        // without a word on the input, the input is argument 0
        let input_elsewhere = args
            .iter()
            .any(|(name, index, _)| name == "input" && *index != 0)
            || known.is_some_and(|(_, known)| known.contains(&("bias", 0)));
        for (i, (name, index, at)) in args.iter().enumerate() {
            let expected = known.and_then(|(found, known)| {
                let (_, index) = known.into_iter().find(|(known, _)| name == known)?;
                Some((found, index))
            });
            if !ARGS.iter().any(|known| name == known) {
                continue;
            }
            if *index == 0 && name != "input" && !input_elsewhere {
                diags.error(messages::arg_first(*at, name));
            } else if let Some((other, _, _)) =
                args[..i].iter().find(|(_, earlier, _)| earlier == index)
            {
                diags.error(messages::arg_same(*at, name, other, *index));
            } else if let Some((found, expected)) = expected.filter(|(_, n)| n != index) {
                diags.error(messages::arg_index(*at, name, found.dsl, *index, expected));
            }
        }
    }
}

/// Clauses that only trees have; their paths lead somewhere.
fn check_tree(expr: &PatternExpr, item: &PatternItem, diags: &mut Diags) {
    for clause in &item.clauses {
        let word = word(&clause.kind);
        match (&expr.kind, &clause.kind) {
            (PatternKind::Chain(_), ClauseKind::RootNode(_) | ClauseKind::ExtraInputs(_)) => {
                diags.error(messages::tree_only(clause.at, word));
            }
            (PatternKind::Tree(tree), ClauseKind::RootNode(path)) => {
                if !tree.leads(path) {
                    let diag = messages::leads_nowhere(clause.at, word, path, &expr.text());
                    diags.error(diag);
                } else if tree.at(path).is_none() {
                    let diag = messages::root_is_no_operator(clause.at, path, &expr.text());
                    diags.error(diag);
                }
            }
            (PatternKind::Tree(tree), ClauseKind::ExtraInputs(paths)) => {
                for path in paths.iter().filter(|path| !tree.leads(path)) {
                    let diag = messages::leads_nowhere(clause.at, word, path, &expr.text());
                    diags.error(diag);
                }
            }
            _ => {}
        }
    }
}

/// Operators of a library whose rank nothing decides.
fn check_rank(expr: &PatternExpr, diags: &mut Diags) {
    let mut ops = Vec::new();
    match &expr.kind {
        PatternKind::Chain(chain) => ops.extend(chain),
        PatternKind::Tree(tree) => tree.ops(&mut ops),
    }
    let open = ops
        .into_iter()
        .find(|op| op.home() == Home::Vocabulary && op.text().contains("Nd"));
    if let Some(op) = open {
        diags.error(messages::rank_left_open(path_place(&op.path), &op.text()));
    }
}

/// Checks a pattern of a library by itself.
pub(crate) fn library(item: &PatternItem, diags: &mut Diags) {
    details(item, diags);
    for clause in &item.clauses {
        if let ClauseKind::Kernel { .. } = clause.kind {
            diags.error(messages::kernel_in_library(clause.at));
        }
    }
    for expr in &item.patterns {
        check_chain(expr, diags);
        check_args(expr, item, diags);
        check_tree(expr, item, diags);
        check_rank(expr, diags);
    }
}

/// The dtype of a fixed activation, `None` where it is left as it is.
pub(crate) fn fixed(dtype: &DTypeModel, fix: &Fix) -> Option<DTypeModel> {
    let base: DType = fix.bounds.dtype?;
    (dtype.dtype == Some(base)).then(|| DTypeModel {
        name: dtype.name.clone(),
        base: dtype.base.clone(),
        origin: fix.base.span(),
        scale_min: dtype.scale_min.clone(),
        scale_max: dtype.scale_max.clone(),
        ..fix.bounds.clone()
    })
}
