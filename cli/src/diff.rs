//! `qconfig diff`: what one backend supports and another does not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use clap::Args;
use qconfig::DTypeConfig;
use qconfig::owned::{self, BackendConfig, PatternConfig};
use serde_json::{Value, json};

use crate::{find, import};

const EXAMPLES: &str = "Examples:
  qconfig diff fbgemm x86
  qconfig diff qnnpack mine.json --exit-code

A dtype config is the same where it says the same, whatever it is called.";

/// The command's arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DiffArgs {
    /// A backend's name, or a config as JSON (`qconfig import --script` prints what dumps one).
    a: String,
    /// The other.
    b: String,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    /// Ends with 1 where they differ.
    #[arg(long)]
    exit_code: bool,
}

/// Where two backends differ in one pattern.
struct Difference {
    pattern: String,
    /// Dtype configs, and what is said beside them, of the first alone.
    first: BTreeSet<String>,
    /// Of the second alone.
    second: BTreeSet<String>,
}

/// What was found, and whether that is a failure.
pub(crate) fn run(args: &DiffArgs) -> anyhow::Result<(String, bool)> {
    let (a, b) = (load(&args.a)?, load(&args.b)?);
    let differences = differences(&a, &b);
    let failed = args.exit_code && !differences.is_empty();
    if args.json {
        let all: Vec<Value> = differences
            .iter()
            .map(|found| json!({ "pattern": found.pattern, "first": found.first, "second": found.second }))
            .collect();
        let text = serde_json::to_string_pretty(
            &json!({ "first": a.name, "second": b.name, "differences": all }),
        )?;
        return Ok((text + "\n", failed));
    }
    let mut text = String::new();
    for found in &differences {
        text += &format!("{}\n", found.pattern);
        for (sign, lines) in [('-', &found.first), ('+', &found.second)] {
            for line in lines {
                text += &format!("  {sign} {line}\n");
            }
        }
    }
    text += &match differences.len() {
        0 => format!(
            "{} and {} say the same of {} patterns\n",
            a.name,
            b.name,
            a.configs.len()
        ),
        count => format!(
            "{count} patterns differ: - is {} alone, + is {} alone\n",
            a.name, b.name
        ),
    };
    Ok((text, failed))
}

fn load(name: &str) -> anyhow::Result<BackendConfig> {
    if name.ends_with(".json") || name == "-" {
        import::read(Path::new(name))
    } else {
        Ok(find(name)?.into())
    }
}

/// All that is said of each pattern.
fn said(config: &BackendConfig) -> BTreeMap<String, BTreeSet<String>> {
    let said = config.configs.iter().map(|found| {
        let mut lines: BTreeSet<String> = found.dtype_configs.iter().map(dtypes).collect();
        lines.extend(rest(found));
        (pattern(found), lines)
    });
    said.collect()
}

fn pattern(config: &PatternConfig) -> String {
    match (&config.pattern, &config.pattern_complex_format) {
        (Some(chain), _) => chain.to_string(),
        (None, Some(nested)) => serde_json::to_string(nested).unwrap_or_default(),
        (None, None) => String::new(),
    }
}

fn dtypes(config: &owned::DTypeConfig) -> String {
    let side = |dtype: &Option<owned::DTypeWithConstraints>| dtype.as_ref().map(Into::into);
    let float = qconfig::DType::float32;
    DTypeConfig {
        input: side(&config.input_dtype),
        output: side(&config.output_dtype),
        weight: side(&config.weight_dtype),
        bias: config.bias_dtype,
        is_dynamic: config.is_dynamic,
        ..DTypeConfig::new("", float, float)
    }
    .to_string()
}

/// What is said beside dtype configs.
fn rest(config: &PatternConfig) -> Vec<String> {
    let mut lines = vec![format!("observation {}", config.observation_type.name())];
    let modules = [
        ("root", &config.root_module),
        ("qat", &config.qat_module),
        ("reference", &config.reference_quantized_module_for_root),
        ("fused", &config.fused_module),
    ];
    lines.extend(
        modules
            .into_iter()
            .filter_map(|(role, path)| Some(format!("{role} {}", path.as_ref()?))),
    );
    lines.extend(
        config
            .fuser_method
            .map(|fuser| format!("fuser {}", fuser.name())),
    );
    lines.extend(
        config
            .root_node
            .as_ref()
            .map(|path| format!("root node {path:?}")),
    );
    lines.extend(
        config
            .extra_inputs
            .iter()
            .map(|path| format!("extra input {path:?}")),
    );
    lines.extend(
        config
            .num_tensor_args_to_observation_type
            .iter()
            .map(|(count, kind)| format!("observation of {count} tensors {}", kind.name())),
    );
    lines.extend(
        config
            .input_type_to_index
            .iter()
            .map(|(name, at)| format!("{name} is argument {at}")),
    );
    lines
}

fn differences(a: &BackendConfig, b: &BackendConfig) -> Vec<Difference> {
    let (first, second) = (said(a), said(b));
    let patterns: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    let empty = BTreeSet::new();
    let found = patterns.into_iter().filter_map(|pattern| {
        let a = first.get(pattern).unwrap_or(&empty);
        let b = second.get(pattern).unwrap_or(&empty);
        (a != b).then(|| Difference {
            pattern: pattern.clone(),
            first: a.difference(b).cloned().collect(),
            second: b.difference(a).cloned().collect(),
        })
    });
    found.collect()
}
