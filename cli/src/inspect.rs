//! `qconfig inspect`: what is in a model file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use qconfig::onnx::{Model, import};
use serde_json::{Value, json};

use crate::model::{ModelArgs, options, plan, read};
use crate::show;

/// The command's arguments.
#[derive(Args, Clone, Debug)]
pub(crate) struct InspectArgs {
    /// The model: .onnx or .plan.
    model: PathBuf,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    open: ModelArgs,
}

/// What a reader looks for first.
const ORDER: [&str; 13] = [
    "producer",
    "opset",
    "inputs",
    "outputs",
    "graph",
    "nodes",
    "parameters",
    "operators",
    "steps",
    "packed_weight_bytes",
    "arena_bytes",
    "scratch_bytes",
    "kernels",
];

pub(crate) fn run(args: &InspectArgs) -> anyhow::Result<String> {
    let is_plan = args
        .model
        .extension()
        .is_some_and(|extension| extension == "plan");
    let found = if is_plan {
        of_plan(&args.model)?
    } else {
        of_model(&read(&args.model)?, &args.open)
    };
    if args.json {
        return Ok(serde_json::to_string_pretty(&found)? + "\n");
    }
    let mut table = show::new(&["", ""]);
    if let Value::Object(fields) = &found {
        let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
        fields.sort_by_key(|(key, _)| ORDER.iter().position(|known| known == key));
        for (key, value) in fields {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Array(list) => {
                    let lines: Vec<String> = list.iter().map(line).collect();
                    lines.join("\n")
                }
                other => other.to_string(),
            };
            table.add_row([key.replace('_', " "), text]);
        }
    }
    Ok(format!("{table}\n"))
}

fn line(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn of_model(model: &Model, args: &ModelArgs) -> Value {
    let mut operators: BTreeMap<String, usize> = BTreeMap::new();
    for node in &model.nodes {
        *operators.entry(node.operator()).or_default() += 1;
    }
    let mut operators: Vec<(String, usize)> = operators.into_iter().collect();
    operators.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let inputs = model.inputs.iter().map(|input| {
        let shape = input
            .shape
            .as_ref()
            .map_or("of unknown shape".into(), |shape| {
                let sizes: Vec<String> = shape.iter().map(ToString::to_string).collect();
                format!("[{}]", sizes.join(", "))
            });
        let of = input
            .element_type
            .map_or("unknown".into(), |of| format!("{of:?}"));
        format!("{} {of} {shape}", input.name)
    });
    let weights: usize = model
        .initializers
        .values()
        .map(qconfig::onnx::Array::len)
        .sum();
    let graph = match import(model, &options(args)) {
        Ok(imported) => format!(
            "{} nodes {}, {} folded",
            imported.graph.nodes().len(),
            match imported.is_quantized() {
                true => "of a quantized model, with scales for its values",
                false => "to quantize",
            },
            imported.folded
        ),
        Err(error) => format!("cannot be imported: {error}"),
    };
    json!({
        "producer": model.producer,
        "opset": model.opset,
        "inputs": inputs.collect::<Vec<_>>(),
        "outputs": model.outputs,
        "nodes": model.nodes.len(),
        "operators": operators
            .iter()
            .map(|(name, count)| format!("{count:>4} {name}"))
            .collect::<Vec<_>>(),
        "parameters": weights,
        "graph": graph,
    })
}

fn of_plan(path: &Path) -> anyhow::Result<Value> {
    let plan = plan(path)?;
    let named = |ids: &[qconfig::runtime::TensorId]| {
        let tensors = ids.iter().filter_map(|id| plan.tensor(*id));
        let lines = tensors.map(|t| format!("{} {} {:?}", t.name(), t.dtype(), t.shape()));
        lines.collect::<Vec<_>>()
    };
    let mut kernels: BTreeMap<&str, usize> = BTreeMap::new();
    for step in plan.steps() {
        *kernels.entry(step.kernel().name).or_default() += 1;
    }
    let mut kernels: Vec<(&str, usize)> = kernels.into_iter().collect();
    kernels.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    Ok(json!({
        "inputs": named(plan.inputs()),
        "outputs": named(plan.outputs()),
        "steps": plan.steps().len(),
        "kernels": kernels
            .iter()
            .map(|(name, count)| format!("{count:>4} {name}"))
            .collect::<Vec<_>>(),
        "packed_weight_bytes": plan.blob_bytes(),
        "arena_bytes": plan.arena_bytes(),
        "scratch_bytes": plan.scratch_bytes(),
    }))
}
