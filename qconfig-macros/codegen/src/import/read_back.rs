//! What a spec says, as a config: the way back.

use std::collections::BTreeMap;

use qconfig_core::ObservationType;
use qconfig_core::owned::{BackendConfig, Chain, DTypeConfig, Nested, PatternConfig};

use super::entry::bounds;
use crate::ast::{ModuleRole, Observe, Op, PatternKind, Tree};
use crate::check::patterns::fixed;
use crate::model::{DTypeModel, Model, PatternModel};

/// The config that a spec's tables would hold; `operators` leads from PyTorch's paths to the spec's.
pub(super) fn owned(model: &Model, operators: &BTreeMap<String, String>) -> BackendConfig {
    let path = |op: &Op| match op.spelling() {
        Some(spelling) => spelling.path.to_owned(),
        None => {
            let given = operators.iter().find(|(_, own)| **own == op.text());
            given.map_or_else(|| op.text(), |(path, _)| path.clone())
        }
    };
    let patterns = model.patterns.iter();
    BackendConfig {
        name: model.name.value(),
        configs: patterns.map(|found| pattern(found, model, &path)).collect(),
    }
}

fn pattern(found: &PatternModel, model: &Model, path: &impl Fn(&Op) -> String) -> PatternConfig {
    let details = &found.details;
    let (chain, tree) = match &found.expr.kind {
        PatternKind::Chain(ops) => match ops.as_slice() {
            [one] => (Some(Chain::One(path(one))), None),
            ops => (Some(Chain::Many(ops.iter().map(path).collect())), None),
        },
        PatternKind::Tree(tree) => (None, Some(nested(tree, path))),
    };
    let module = |role: ModuleRole| {
        let found = details.modules.iter().find(|(found, _)| *found == role);
        found.map(|(_, op)| path(op))
    };
    let cases = details.observe_by.iter();
    let args = details.args.iter();
    PatternConfig {
        pattern: chain,
        pattern_complex_format: tree,
        observation_type: details
            .observe
            .map_or(ObservationType::default(), |(kind, _)| observation(kind)),
        dtype_configs: found
            .refs
            .iter()
            .filter_map(|found| model.configs.get(found.config))
            .map(|config| {
                let fixed = |dtype: &DTypeModel| {
                    let fix = details.fix.as_ref();
                    let fixed = fix.and_then(|fix| fixed(dtype, fix));
                    bounds(fixed.as_ref().unwrap_or(dtype))
                };
                DTypeConfig {
                    input_dtype: config.input.as_ref().and_then(fixed),
                    output_dtype: config.output.as_ref().and_then(fixed),
                    weight_dtype: config.weight.as_ref().and_then(bounds),
                    bias_dtype: config.bias.as_ref().and_then(|bias| bias.dtype),
                    is_dynamic: config.dynamic,
                }
            })
            .collect(),
        root_module: module(ModuleRole::Root),
        qat_module: module(ModuleRole::Qat),
        reference_quantized_module_for_root: module(ModuleRole::Reference),
        fused_module: module(ModuleRole::Fused),
        fuser_method: details.fuser,
        root_node: details.root_node.clone(),
        extra_inputs: details.extra_inputs.clone(),
        num_tensor_args_to_observation_type: cases
            .map(|(count, kind)| (*count, observation(*kind)))
            .collect(),
        input_type_to_index: args.map(|(name, at)| (name.to_string(), *at)).collect(),
    }
}

fn observation(kind: Observe) -> ObservationType {
    match kind {
        Observe::Separate => ObservationType::OutputUseDifferentObserverAsInput,
        Observe::Shared => ObservationType::OutputShareObserverWithInput,
        Observe::None => ObservationType::InputOutputNotObserved,
    }
}

fn nested(tree: &Tree, path: &impl Fn(&Op) -> String) -> Nested {
    match tree {
        Tree::Any => Nested::Leaf("MatchAllNode".into()),
        Tree::Constant(value) => Nested::Constant(*value),
        Tree::Op(op, operands) if operands.is_empty() => Nested::Leaf(path(op)),
        Tree::Op(op, operands) => {
            let operands = operands.iter().map(|operand| nested(operand, path));
            Nested::Node(
                [Nested::Leaf(path(op))]
                    .into_iter()
                    .chain(operands)
                    .collect(),
            )
        }
    }
}

/// Where two configs differ first.
pub(super) fn difference(found: &BackendConfig, wanted: &BackendConfig) -> Option<String> {
    if found.name != wanted.name {
        return Some("name".into());
    }
    for (at, wanted) in wanted.configs.iter().enumerate() {
        let same = found.configs.get(at).is_some_and(|found| {
            let chains = found.pattern == wanted.pattern;
            let trees = found.pattern_complex_format.as_ref().map(bare)
                == wanted.pattern_complex_format.as_ref().map(bare);
            let rest = PatternConfig {
                pattern: wanted.pattern.clone(),
                pattern_complex_format: wanted.pattern_complex_format.clone(),
                ..found.clone()
            };
            chains && trees && rest == *wanted
        });
        if !same {
            return Some(format!("configs[{at}]"));
        }
    }
    (found.configs.len() != wanted.configs.len()).then(|| "configs".into())
}

/// Without lists of one part.
fn bare(nested: &Nested) -> Nested {
    match nested {
        Nested::Node(parts) => match parts.as_slice() {
            [only] => bare(only),
            parts => Nested::Node(parts.iter().map(bare).collect()),
        },
        leaf => leaf.clone(),
    }
}
