//! `qconfig check`: what a backend does with each node of a model, and why not.

use std::path::PathBuf;

use clap::Args;
use qconfig::KernelFamily as _;
use qconfig::kernels::WeightOnlyLinear;
use qconfig::quantize::{Decision, FloatReason, Graph, adopt};
use serde_json::{Value, json};

use crate::model::{self, ModelArgs};
use crate::quantize::SchemeArgs;
use crate::show;

/// The command's arguments.
#[derive(Args, Clone, Debug)]
pub(crate) struct CheckArgs {
    /// The model.
    model: PathBuf,
    /// Fails where a node stays float.
    #[arg(long)]
    strict: bool,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    scheme: SchemeArgs,
    #[command(flatten)]
    open: ModelArgs,
}

struct Row {
    node: String,
    operators: String,
    pattern: String,
    verdict: String,
    written: String,
}

/// What was found, and whether that is a failure.
pub(crate) fn run(args: &CheckArgs) -> anyhow::Result<(String, bool)> {
    let imported = model::load(&args.model, &args.open)?;
    let backend = args.scheme.backend()?;
    let (graph, decisions) = match imported.is_quantized() {
        true => {
            let model = adopt(&imported.graph, backend, &imported.given);
            (model.graph().clone(), model.decisions().to_vec())
        }
        false => match args.scheme.weight_only(&imported.graph)? {
            Some(model) => (model.graph().clone(), model.decisions().to_vec()),
            None => {
                let prepared = args.scheme.prepare(&imported.graph)?;
                (prepared.graph().clone(), prepared.decisions().to_vec())
            }
        },
    };
    let rows = rows(&graph, &decisions, backend);
    let float = decisions
        .iter()
        .filter(|decision| matches!(decision, Decision::Float(_)))
        .count();
    let failed = args.strict && float > 0;
    if args.json {
        let nodes: Vec<Value> = rows.iter().map(Row::json).collect();
        let found = json!({
            "model": args.model.display().to_string(),
            "backend": backend.name,
            "quantized": rows.len() - float,
            "float": float,
            "nodes": nodes,
        });
        return Ok((serde_json::to_string_pretty(&found)? + "\n", failed));
    }
    let mut table = show::new(&["node", "operators", "pattern", "verdict", "written at"]);
    for row in &rows {
        table.add_row([
            &row.node,
            &row.operators,
            &row.pattern,
            &row.verdict,
            &row.written,
        ]);
    }
    Ok((
        format!(
            "{table}\n{} of {} nodes quantized by {}, {float} stay float\n",
            rows.len() - float,
            rows.len(),
            backend.name
        ),
        failed,
    ))
}

impl Row {
    fn json(&self) -> Value {
        json!({
            "node": self.node,
            "operators": self.operators,
            "pattern": self.pattern,
            "verdict": self.verdict,
            "written_at": self.written,
        })
    }
}

fn rows(
    graph: &Graph,
    decisions: &[Decision],
    backend: &'static qconfig::BackendConfig,
) -> Vec<Row> {
    let nodes = graph.nodes().iter().zip(decisions);
    nodes
        .map(|(node, decision)| {
            let chain: Vec<&str> = node.chain.iter().map(|spelling| spelling.dsl).collect();
            let (pattern, verdict, written) = match decision {
                Decision::Quantized(quantized) => {
                    let config = quantized.config;
                    let kernel = backend.kernel(config, quantized.dtype_config);
                    let kernel = kernel.map_or("no kernel".into(), |kernel| kernel.name.to_owned());
                    (
                        config.pattern.to_string(),
                        format!("{}: {kernel}", quantized.dtypes().name),
                        place(config),
                    )
                }
                Decision::WeightOnly(how) => (
                    node.spelling.dsl.to_owned(),
                    format!("{how}: {}", WeightOnlyLinear::KERNEL.name),
                    String::new(),
                ),
                Decision::Float(reason) => {
                    // the pattern that was asked, where there is one
                    let config = match reason {
                        FloatReason::NoDTypeConfig(_) => backend.find(&[node.spelling]),
                        _ => None,
                    };
                    (
                        config.map_or(String::new(), |config| config.pattern.to_string()),
                        format!("float: {reason}").replace("; ", ";\n"),
                        config.map_or(String::new(), place),
                    )
                }
            };
            Row {
                node: node.name.clone(),
                operators: chain.join(" + "),
                pattern,
                verdict,
                written,
            }
        })
        .collect()
}

fn place(config: &qconfig::BackendPatternConfig) -> String {
    format!("{}:{}", config.origin.file, config.origin.line)
}
