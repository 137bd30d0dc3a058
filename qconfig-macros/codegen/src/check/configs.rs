//! Dtype configs: fields, the rules of `qconfig-core`, lists.

use std::collections::HashMap;

use proc_macro2::Ident;
use qconfig_core::{ConfigProblem, config_problem};

use super::names::Names;
use crate::diag::{Diags, Place, messages};
use crate::model::{ConfigModel, DTypeModel};

/// Resolves the fields of every `config` statement and checks them; then the lists.
pub fn check(names: &mut Names<'_>, diags: &mut Diags) {
    let mut configs = Vec::with_capacity(names.config_decls.len());
    for decl in &names.config_decls {
        let mut quiet = Diags::default();
        let diags = if decl.inherited {
            &mut quiet
        } else {
            &mut *diags
        };
        configs.push(config(names, decl, diags));
    }
    names.configs = configs;
    lists(names, diags);
}

fn config(
    names: &Names<'_>,
    decl: &super::names::ConfigDecl<'_>,
    diags: &mut Diags,
) -> ConfigModel {
    let item = decl.item;
    let mut model = ConfigModel {
        ident: item.ident.clone(),
        attrs: item.attrs.clone(),
        dynamic: item.dynamic.is_some(),
        input: None,
        output: None,
        weight: None,
        bias: None,
        unknown: Vec::new(),
        broken: item.broken,
        inherited: decl.inherited,
        used: false,
    };
    let mut seen: HashMap<String, &Ident> = HashMap::new();
    for (field, dtype_at) in &item.fields {
        let name = field.to_string();
        if let Some(first) = seen.insert(name.clone(), field) {
            diags.error(messages::field_twice(field, first.span().start().line));
            continue;
        }
        let Some((dtype, cfgs)) = names.dtype(dtype_at, &item.ident, diags) else {
            model.broken = true;
            continue;
        };
        model.attrs.cfgs.extend(cfgs);
        match &*name {
            "input" => model.input = Some(dtype),
            "output" => model.output = Some(dtype),
            "weight" => model.weight = Some(dtype),
            "bias" => {
                if dtype.name.is_some() {
                    diags.error(messages::bias_bounds(dtype_at));
                    model.broken = true;
                }
                model.bias = Some(dtype);
            }
            _ => {
                model.unknown.push((field.clone(), dtype));
                model.broken = true;
            }
        }
    }
    if !model.broken {
        rules(&mut model, item, diags);
    }
    model
}

fn rules(model: &mut ConfigModel, item: &crate::ast::Config, diags: &mut Diags) {
    let (Some(input), Some(output)) = (&model.input, &model.output) else {
        let missing = match (&model.input, &model.output) {
            (None, None) => "input` and no `output",
            (None, _) => "input",
            _ => "output",
        };
        diags.error(messages::missing_field(&model.ident, missing));
        model.broken = true;
        return;
    };
    let base = |dtype: &Option<DTypeModel>| dtype.as_ref().map(|dtype| dtype.dtype);
    let (Some(input), Some(output)) = (input.dtype, output.dtype) else {
        return;
    };
    let (Some(weight), Some(bias)) = (known(base(&model.weight)), known(base(&model.bias))) else {
        return;
    };
    let Some(problem) = config_problem(input, output, weight, bias, model.dynamic) else {
        return;
    };
    let field = |name: &str| {
        let found = item.fields.iter().find(|(field, _)| field == name);
        found.map(|(_, dtype)| Place::from(dtype))
    };
    let at = match problem {
        ConfigProblem::DynamicOutput { .. } => item.dynamic.map(Place::from),
        ConfigProblem::Bias { .. } => field("bias"),
        ConfigProblem::FloatWeight => field("weight"),
        _ => None,
    };
    let at = at.unwrap_or_else(|| Place::from(&model.ident));
    let diag = messages::config_problem(at, &model.ident, &problem);
    if problem.is_lint() {
        if !item.attrs.allow_lints {
            diags.lint("float_weight", diag);
        }
    } else {
        diags.error(diag);
        model.broken = true;
    }
}

/// `None` where there is a dtype that the macro does not know.
fn known<T: Copy>(dtype: Option<Option<T>>) -> Option<Option<T>> {
    match dtype {
        None => Some(None),
        Some(None) => None,
        Some(some) => Some(some),
    }
}

/// Every list names configs that exist, each once; two that say the same are worth a warning.
fn lists(names: &mut Names<'_>, diags: &mut Diags) {
    let lists = names.lists.clone();
    for (at, list) in lists.into_iter().enumerate() {
        let refs = names.configs_of_list(at, diags);
        if list.attrs.allow_lints {
            continue;
        }
        let mut said: HashMap<String, Ident> = HashMap::new();
        for found in &refs {
            let Some(config) = names.configs.get(found.config) else {
                continue;
            };
            if config.broken {
                continue;
            }
            if let Some(first) = said.insert(config.key(), config.ident.clone()) {
                let diag = messages::identical(&found.at, &first);
                diags.lint("identical_dtype_configs", diag);
            }
        }
    }
}

/// Configs that no pattern and no list uses.
pub fn unused(names: &Names<'_>, diags: &mut Diags) {
    let mut listed = vec![false; names.configs.len()];
    for at in 0..names.lists.len() {
        for found in names.configs_of_list(at, &mut Diags::default()) {
            listed[found.config] = true;
        }
    }
    for (config, listed) in names.configs.iter().zip(listed) {
        let allowed = config.attrs.allow_unused || config.attrs.allow_lints;
        if !(config.used || listed || config.inherited || config.broken || allowed) {
            diags.lint(
                "unused_dtype_config",
                messages::unused_config(&config.ident),
            );
        }
    }
}
