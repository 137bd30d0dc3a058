//! What a config and what a group say of a pattern, in the same words, so that they can be compared.

use qconfig_core::operator::by_path;
use qconfig_core::owned::{self, Nested};
use qconfig_core::{DType, Fuser, ObservationType};

use super::{Options, Problem};
use crate::ast::{Group, ModuleRole, Observe};
use crate::check::patterns::details;
use crate::diag::Diags;
use crate::model::{DTypeModel, Details};

/// A pattern of the config.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// As a spec writes it.
    pub(super) pattern: Pattern,
    /// What it supports.
    pub(super) configs: Vec<owned::DTypeConfig>,
    /// The clauses, in one order.
    pub(super) clauses: Vec<String>,
}

/// A pattern as a spec writes it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Pattern {
    /// `nn::Conv2d + nn::ReLU`
    Chain(Vec<String>),
    /// `operator::add(_, nn::Conv2d)`
    Tree(String),
}

impl Pattern {
    pub(super) fn text(&self) -> String {
        match self {
            Pattern::Chain(ops) => ops.join(" + "),
            Pattern::Tree(text) => text.clone(),
        }
    }
}

/// A pattern of a group.
#[derive(Clone, Debug)]
pub(super) struct Template {
    /// As a spec writes it.
    pub(super) pattern: String,
    /// The clauses, in the order of [`Entry::clauses`].
    pub(super) clauses: Vec<String>,
    /// What an activation of the same dtype becomes.
    pub(super) fix: Option<owned::DTypeWithConstraints>,
}

/// A group with its patterns, overrides applied.
#[derive(Clone, Debug)]
pub(super) struct Library {
    pub(super) name: String,
    pub(super) templates: Vec<Template>,
}

/// Every pattern of a config.
pub(super) fn entries(
    config: &owned::BackendConfig,
    options: &Options<'_>,
) -> Result<Vec<Entry>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut entries = Vec::new();
    for (at, found) in config.configs.iter().enumerate() {
        match entry(found, options) {
            Ok(entry) => entries.push(entry),
            Err(message) => problems.push(Problem {
                place: format!("configs[{at}]"),
                message,
            }),
        }
    }
    if problems.is_empty() {
        Ok(entries)
    } else {
        Err(problems)
    }
}

fn entry(found: &owned::PatternConfig, options: &Options<'_>) -> Result<Entry, String> {
    let word = |path: &String| match by_path(path) {
        Some(spelling) => Ok(spelling.dsl.to_owned()),
        None => {
            let given = options.operators.get(path).cloned();
            given.ok_or_else(|| format!("`{path}` is not an operator that qconfig knows"))
        }
    };
    let pattern = match (&found.pattern, &found.pattern_complex_format) {
        (Some(chain), _) => {
            let ops: Result<Vec<String>, String> = chain.paths().iter().map(word).collect();
            Pattern::Chain(ops?)
        }
        (None, Some(nested)) => Pattern::Tree(root(nested, &word)?),
        (None, None) => return Err("there is no pattern".into()),
    };
    for (at, config) in found.dtype_configs.iter().enumerate() {
        let first = found.dtype_configs.iter().take(at);
        if let Some(first) = first.enumerate().find(|(_, first)| *first == config) {
            return Err(format!(
                "dtype_configs[{at}] says what dtype_configs[{}] says: the second has no effect, leave it out",
                first.0
            ));
        }
    }
    let mut clauses = Clauses::default();
    for (role, path) in [
        (ModuleRole::Root, &found.root_module),
        (ModuleRole::Qat, &found.qat_module),
        (
            ModuleRole::Reference,
            &found.reference_quantized_module_for_root,
        ),
        (ModuleRole::Fused, &found.fused_module),
    ] {
        if let Some(path) = path {
            clauses.modules.push((role, word(path)?));
        }
    }
    clauses.fuser = found.fuser_method;
    clauses.root_node.clone_from(&found.root_node);
    clauses.extra_inputs.clone_from(&found.extra_inputs);
    clauses.observe = match found.observation_type {
        ObservationType::OutputUseDifferentObserverAsInput => None,
        ObservationType::OutputShareObserverWithInput => Some(Observe::Shared),
        ObservationType::InputOutputNotObserved => Some(Observe::None),
    };
    let cases = found.num_tensor_args_to_observation_type.iter();
    let cases = cases.map(|(count, kind)| {
        let kind = match kind {
            ObservationType::OutputUseDifferentObserverAsInput => Observe::Separate,
            ObservationType::OutputShareObserverWithInput => Observe::Shared,
            ObservationType::InputOutputNotObserved => Observe::None,
        };
        (*count, kind)
    });
    clauses.observe_by = cases.collect();
    let args = found.input_type_to_index.iter();
    clauses.args = args.map(|(name, at)| (name.clone(), *at)).collect();
    Ok(Entry {
        pattern,
        configs: found.dtype_configs.clone(),
        clauses: clauses.texts(),
    })
}

/// A nested pattern; alone, an operator needs parentheses to be one.
fn root(
    nested: &Nested,
    word: &impl Fn(&String) -> Result<String, String>,
) -> Result<String, String> {
    match nested {
        Nested::Leaf(path) if path == "MatchAllNode" => {
            Err("the pattern matches everything".into())
        }
        Nested::Leaf(path) => Ok(format!("{}()", word(path)?)),
        Nested::Constant(value) => Err(format!("the pattern is the number {value}")),
        Nested::Node(parts) => match parts.as_slice() {
            [only] => root(only, word),
            _ => tree(nested, word, false),
        },
    }
}

/// `operator::add(_, nn::Conv2d + nn::BatchNorm2d)`: of an operand, `b(a)` is `a + b`.
fn tree(
    nested: &Nested,
    word: &impl Fn(&String) -> Result<String, String>,
    operand: bool,
) -> Result<String, String> {
    let parts = match nested {
        Nested::Leaf(path) if path == "MatchAllNode" => return Ok("_".into()),
        Nested::Leaf(path) => return word(path),
        Nested::Constant(value) => return Ok(value.to_string()),
        Nested::Node(parts) => parts,
    };
    let (op, operands) = match parts.split_first() {
        Some((Nested::Leaf(path), operands)) if path != "MatchAllNode" => (word(path)?, operands),
        Some((first, [])) => return tree(first, word, operand),
        _ => return Err("a nested pattern begins with an operator".into()),
    };
    let texts: Result<Vec<String>, String> = operands
        .iter()
        .map(|operand| tree(operand, word, true))
        .collect();
    let texts = texts?;
    Ok(match texts.as_slice() {
        [] => op,
        [only] if operand && only != "_" => format!("{only} + {op}"),
        _ => format!("{op}({})", texts.join(", ")),
    })
}

/// Every group with its patterns in order.
pub(super) fn templates(groups: &[Group]) -> Vec<Library> {
    let spread = |group: &Group| {
        let mut templates: Vec<Template> = Vec::new();
        for item in &group.patterns {
            let details = details(item, &mut Diags::default());
            for expr in &item.patterns {
                let template = Template {
                    pattern: expr.key(),
                    clauses: Clauses::from(&details).texts(),
                    fix: details.fix.as_ref().and_then(|fix| bounds(&fix.bounds)),
                };
                let first = templates
                    .iter_mut()
                    .find(|first| first.pattern == template.pattern);
                match first {
                    Some(first) => *first = template,
                    None => templates.push(template),
                }
            }
        }
        Library {
            name: group.ident.to_string(),
            templates,
        }
    };
    groups.iter().map(spread).collect()
}

/// A dtype as `qconfig-core` has it, where the macro knows its values.
pub(super) fn bounds(dtype: &DTypeModel) -> Option<owned::DTypeWithConstraints> {
    dtype.constraints().as_ref().map(Into::into)
}

/// What the clauses of a pattern say.
#[derive(Default)]
struct Clauses {
    modules: Vec<(ModuleRole, String)>,
    observe: Option<Observe>,
    observe_by: Vec<(u8, Observe)>,
    args: Vec<(String, u8)>,
    fuser: Option<Fuser>,
    root_node: Option<Vec<u8>>,
    extra_inputs: Vec<Vec<u8>>,
}

impl From<&Details> for Clauses {
    fn from(details: &Details) -> Self {
        let modules = details.modules.iter();
        let observe = details.observe.map(|(kind, _)| kind);
        let args = details.args.iter();
        Self {
            modules: modules.map(|(role, op)| (*role, op.key())).collect(),
            observe: observe.filter(|kind| *kind != Observe::Separate),
            observe_by: details.observe_by.clone(),
            args: args.map(|(name, at)| (name.to_string(), *at)).collect(),
            fuser: details.fuser,
            root_node: details.root_node.clone(),
            extra_inputs: details.extra_inputs.clone(),
        }
    }
}

impl Clauses {
    fn texts(mut self) -> Vec<String> {
        let mut texts = Vec::new();
        for (role, word) in [
            (ModuleRole::Root, "root"),
            (ModuleRole::Qat, "qat"),
            (ModuleRole::Reference, "reference"),
            (ModuleRole::Fused, "fused"),
        ] {
            let module = self.modules.iter().find(|(found, _)| *found == role);
            texts.extend(module.map(|(_, op)| format!("{word}: {op};")));
        }
        let fuser = self.fuser.map(Fuser::name);
        texts.extend(fuser.map(|name| format!("fuser: {name};")));
        let root = self.root_node.as_ref();
        texts.extend(root.map(|path| format!("root_node: {path:?};")));
        if !self.extra_inputs.is_empty() {
            texts.push(format!("extra_inputs: {:?};", self.extra_inputs));
        }
        let kind = |kind: &Observe| match kind {
            Observe::Separate => "separate",
            Observe::Shared => "shared",
            Observe::None => "none",
        };
        let observe = self.observe.as_ref().map(kind);
        texts.extend(observe.map(|kind| format!("observe: {kind};")));
        if !self.observe_by.is_empty() {
            let cases = self.observe_by.iter();
            let cases: Vec<String> = cases
                .map(|(count, found)| format!("{count}: {}", kind(found)))
                .collect();
            texts.push(format!("observe by tensor_args {{ {} }}", cases.join(", ")));
        }
        if !self.args.is_empty() {
            // as they stand in a call
            self.args.sort_by_key(|(_, at)| *at);
            let args = self.args.iter().map(|(name, at)| format!("{name}: {at}"));
            let args: Vec<String> = args.collect();
            texts.push(format!("args {{ {} }}", args.join(", ")));
        }
        texts
    }
}

/// How a spec writes a dtype.
pub(super) fn short(dtype: DType) -> &'static str {
    match dtype {
        DType::float16 => "f16",
        DType::bfloat16 => "bf16",
        DType::float32 => "f32",
        DType::float64 => "f64",
        other => other.name(),
    }
}
