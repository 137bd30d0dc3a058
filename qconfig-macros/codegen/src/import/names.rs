//! Names for dtypes with bounds, dtype configs, and lists of them.

use std::collections::HashSet;

use qconfig_core::DType;
use qconfig_core::owned::{DTypeConfig, DTypeWithConstraints};

use super::entry::short;
use super::statement::Statement;

/// All that the spec declares, in the order of first use.
#[derive(Default)]
pub(super) struct Names {
    /// Dtypes with bounds.
    pub(super) dtypes: Vec<(String, DTypeWithConstraints)>,
    /// Dtype configs.
    pub(super) configs: Vec<(String, DTypeConfig)>,
    /// Lists, each of positions in `configs`.
    pub(super) lists: Vec<(String, Vec<usize>)>,
    taken: HashSet<String>,
}

/// Names what the statements need.
pub(super) fn names(statements: &[Statement]) -> Names {
    let mut names = Names::default();
    names.dtypes(statements);
    let mut used: Vec<(Vec<usize>, usize, String)> = Vec::new();
    for statement in statements {
        let list: Vec<usize> = statement
            .configs()
            .iter()
            .map(|config| names.config(config))
            .collect();
        match used.iter_mut().find(|(found, ..)| *found == list) {
            Some((_, times, _)) => *times += 1,
            None => used.push((list, 1, first_user(statement))),
        }
    }
    // a list has a name where it is used twice, by itself or as a part of another
    for (list, times, user) in &used {
        let within = used
            .iter()
            .filter(|(other, ..)| other.len() > list.len() && contains(other, list));
        if list.len() > 1 && times + within.count() > 1 {
            let name = names.name_of_list(list, user);
            names.lists.push((name, list.clone()));
        }
    }
    names
}

fn contains(list: &[usize], part: &[usize]) -> bool {
    list.windows(part.len()).any(|window| window == part)
}

fn first_user(statement: &Statement) -> String {
    match statement {
        Statement::Group { name, .. } => name.clone(),
        Statement::Pattern { patterns, .. } => {
            let text = patterns.first().map(super::entry::Pattern::text);
            let text = text.unwrap_or_default();
            let op = text.split([' ', '(']).next().unwrap_or_default();
            let name = op.rsplit("::").next().unwrap_or_default();
            qconfig_core::operator::by_dsl(op)
                .map_or(name, |spelling| spelling.operator.name)
                .to_lowercase()
        }
    }
}

/// What kind of operators a config is for.
fn category(config: &DTypeConfig) -> &'static str {
    let is_float = |dtype: &Option<DTypeWithConstraints>| {
        dtype.as_ref().is_some_and(|found| found.dtype.is_float())
    };
    let weight = config.weight_dtype.as_ref().map(|weight| weight.dtype);
    match weight {
        _ if config.is_dynamic => "dynamic",
        None => "default",
        Some(weight)
            if weight.is_quantized()
                && is_float(&config.input_dtype)
                && is_float(&config.output_dtype) =>
        {
            "weight_only"
        }
        Some(_) => "weighted",
    }
}

/// `weighted_qint8`, and longer names for when that is taken: by the dtypes with bounds, or what is
/// missing.
fn candidates(config: &DTypeConfig, names: &Names) -> Vec<String> {
    let base = |dtype: &Option<DTypeWithConstraints>| dtype.as_ref().map(|found| found.dtype);
    let (input, output) = (base(&config.input_dtype), base(&config.output_dtype));
    let weight = base(&config.weight_dtype);
    let text = |dtype: Option<DType>| dtype.map_or("none", short);
    let category = category(config);
    let name = match (category, weight) {
        ("dynamic", Some(DType::qint8 | DType::quint8)) => "dynamic_int8".into(),
        ("dynamic" | "weight_only", Some(weight)) => format!("{category}_{}", short(weight)),
        _ if input == output => format!("{category}_{}", text(input)),
        _ => format!("{category}_{}_to_{}", text(input), text(output)),
    };
    let mut all = vec![name.clone()];
    let bounded = |dtype: &Option<DTypeWithConstraints>| dtype.filter(|found| !is_plain(found));
    if let Some(input) = bounded(&config.input_dtype) {
        all.push(format!("{category}_{}", names.dtype(&input)));
    }
    if let Some(weight) = bounded(&config.weight_dtype) {
        all.push(format!("{name}_{}", names.dtype(&weight)));
    }
    if let Some(weight) = weight {
        all.push(format!("{name}_{}", short(weight)));
        if config.bias_dtype.is_none() {
            all.push(format!("{name}_no_bias"));
        }
    }
    all
}

impl Names {
    /// The position of a config, which gets a name where it is new.
    fn config(&mut self, config: &DTypeConfig) -> usize {
        let at = self.configs.iter().position(|(_, found)| found == config);
        at.unwrap_or_else(|| {
            let name = self.free(&candidates(config, self));
            self.configs.push((name, config.clone()));
            self.configs.len() - 1
        })
    }

    /// The first of these names that is not taken, else one with a number.
    fn free(&mut self, candidates: &[String]) -> String {
        let first = candidates.first().map_or("it", String::as_str);
        let numbered = (2..).map(|n| format!("{first}_{n}"));
        let mut all = candidates.iter().cloned().chain(numbered);
        let free = all.find(|name| !self.taken.contains(name));
        let free = free.unwrap_or_default();
        self.taken.insert(free.clone());
        free
    }

    /// Dtypes with bounds: `act_..` where an activation has them, else `wt_..`.
    fn dtypes(&mut self, statements: &[Statement]) {
        let configs = statements.iter().flat_map(Statement::configs);
        let mut found: Vec<(DTypeWithConstraints, bool)> = Vec::new();
        for config in configs {
            for (dtype, activation) in [
                (&config.input_dtype, true),
                (&config.output_dtype, true),
                (&config.weight_dtype, false),
            ] {
                let Some(dtype) = dtype.filter(|dtype| !is_plain(dtype)) else {
                    continue;
                };
                match found.iter_mut().find(|(known, _)| *known == dtype) {
                    Some((_, anywhere)) => *anywhere |= activation,
                    None => found.push((dtype, activation)),
                }
            }
        }
        for (dtype, activation) in found {
            let role = if activation { "act" } else { "wt" };
            let name = self.free(&[format!("{role}_{}", short(dtype.dtype))]);
            self.dtypes.push((name, dtype));
        }
    }

    /// `weighted` where all its configs are, else after what uses it first.
    fn name_of_list(&mut self, list: &[usize], user: &str) -> String {
        let mut kinds = list.iter().filter_map(|at| self.configs.get(*at));
        let first = kinds.next().map(|(_, config)| category(config));
        let same = kinds.all(|(_, config)| Some(category(config)) == first);
        match first.filter(|_| same) {
            Some(category) => self.free(&[category.to_owned(), format!("{user}_configs")]),
            None => self.free(&[format!("{user}_configs")]),
        }
    }

    /// How a statement names a dtype.
    pub(super) fn dtype(&self, dtype: &DTypeWithConstraints) -> &str {
        let named = self.dtypes.iter().find(|(_, found)| found == dtype);
        named.map_or(short(dtype.dtype), |(name, _)| name)
    }

    /// How a statement names its configs: a config, a list, or both in brackets.
    pub(super) fn configs(&self, configs: &[DTypeConfig]) -> String {
        let place = |config| self.configs.iter().position(|(_, found)| found == config);
        let list: Vec<usize> = configs.iter().filter_map(place).collect();
        if let Some((name, _)) = self.lists.iter().find(|(_, found)| *found == list) {
            return name.clone();
        }
        match list.as_slice() {
            [only] => self.name(*only).to_owned(),
            _ => self.bracketed(&list),
        }
    }

    /// `[weighted.., dynamic_int8]`
    pub(super) fn bracketed(&self, list: &[usize]) -> String {
        let mut parts = Vec::new();
        let mut rest = list;
        while let Some((first, more)) = rest.split_first() {
            let part = self
                .lists
                .iter()
                .filter(|(_, part)| part.len() < list.len() && rest.starts_with(part))
                .max_by_key(|(_, part)| part.len());
            match part {
                Some((name, part)) => {
                    parts.push(format!("{name}.."));
                    rest = rest.get(part.len()..).unwrap_or_default();
                }
                None => {
                    parts.push(self.name(*first).to_owned());
                    rest = more;
                }
            }
        }
        format!("[{}]", parts.join(", "))
    }

    fn name(&self, at: usize) -> &str {
        self.configs.get(at).map_or("", |(name, _)| name)
    }
}

/// Whether a dtype has no bounds.
pub(super) fn is_plain(dtype: &DTypeWithConstraints) -> bool {
    *dtype == DTypeWithConstraints::from(&qconfig_core::DTypeWithConstraints::new(dtype.dtype))
}
