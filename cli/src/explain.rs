//! `qconfig explain`: the verdict of a backend on a pattern under a qconfig, with its reasons.

use anyhow::bail;
use clap::Args;
use qconfig::operator::{by_dsl, by_name, by_path};
use qconfig::{BackendConfig, BackendPatternConfig, QConfig, Spelling};
use serde_json::json;

use crate::quantize::default_qconfig;
use crate::{find, named_qconfig};

const EXAMPLES: &str = "Examples:
  qconfig explain qnnpack 'nn::Conv2d + nn::ReLU' --qconfig qnnpack
  qconfig explain qnnpack torch.nn.Linear --qconfig default_symmetric_qnnpack_qconfig
  qconfig explain onednn 'torch::add(nn::Conv2d, _)' --qconfig onednn

A pattern is written as in a spec, or with PyTorch's paths; `conv2d` is the spelling that users write first.";

/// The command's arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ExplainArgs {
    /// The backend's name.
    backend: String,
    /// The pattern.
    pattern: String,
    /// A qconfig by PyTorch's name, or an engine's default by the engine's; that with which `quantize` quantizes
    /// for the backend where none is given.
    #[arg(long)]
    qconfig: Option<String>,
    /// Holds weight and bias against the dtype configs even where PyTorch does not look at them.
    #[arg(long)]
    strict: bool,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// What is printed.
pub(crate) fn run(args: &ExplainArgs) -> anyhow::Result<String> {
    let backend = find(&args.backend)?;
    let qconfig = match &args.qconfig {
        Some(name) => named_qconfig(name)?,
        None => default_qconfig(backend.name),
    };
    let mut known = QConfig::NAMED.iter();
    let of_backend = known.find(|(_, known)| *known == qconfig);
    let of_backend = of_backend.map_or("", |(name, _)| name);
    let name = args.qconfig.as_deref().unwrap_or(of_backend);
    let config = pattern(backend, &args.pattern)?;
    let verdict = match args.strict {
        true => config.strict_verdict(&qconfig),
        false => backend.verdict(config, &qconfig),
    };
    let chosen = verdict.dtype_config.map(|at| {
        let kernel = backend.kernel(config, at).map(|kernel| kernel.name);
        (&config.dtype_configs[at], kernel)
    });
    if args.json {
        let reasons: Vec<_> = verdict
            .reasons
            .iter()
            .map(|reason| {
                json!({
                    "dtype_config": reason.dtype_config,
                    "place": reason.place.to_string(),
                    "rule": reason.rule.to_string(),
                    "file": reason.origin.file,
                    "line": reason.origin.line,
                })
            })
            .collect();
        let value = json!({
            "backend": backend.name,
            "pattern": config.pattern.to_string(),
            "qconfig": name,
            "supported": verdict.is_supported(),
            "dtype_config": chosen.map(|(config, _)| config.name),
            "kernel": chosen.and_then(|(_, kernel)| kernel),
            "reasons": reasons,
        });
        return Ok(serde_json::to_string_pretty(&value)? + "\n");
    }
    let mut text = format!(
        "{} on {} under {}: {}\n",
        backend.name,
        config.pattern,
        name,
        match chosen {
            Some((_, Some(_))) => "quantized",
            Some((_, None)) => "supported, but no kernel computes it",
            None => "stays float",
        }
    );
    for reason in &verdict.reasons {
        text += &format!("  no   {reason}\n");
    }
    if let Some((dtypes, kernel)) = chosen {
        text += &format!(
            "  yes  {}: {dtypes}, kernel {}\n",
            dtypes.name,
            kernel.unwrap_or("none")
        );
    }
    for unused in config
        .dtype_configs
        .iter()
        .skip(verdict.dtype_config.map_or(usize::MAX, |at| at + 1))
    {
        text += &format!(
            "       {}: not asked, an earlier one applies\n",
            unused.name
        );
    }
    text += &format!("  the pattern is declared at {}\n", config.origin);
    Ok(text)
}

/// What the backend says of a pattern.
fn pattern(
    backend: &'static BackendConfig,
    text: &str,
) -> anyhow::Result<&'static BackendPatternConfig> {
    let bare = |text: &str| text.split_whitespace().collect::<String>();
    let tree = backend
        .configs
        .iter()
        .find(|config| bare(&config.pattern.to_string()) == bare(text));
    if let Some(config) = tree {
        return Ok(config);
    }
    let mut chain = Vec::new();
    for word in text.split('+').map(str::trim) {
        match spelling(word) {
            Some(spelling) => chain.push(spelling),
            None => bail!(
                "`{word}` is no operator: write `nn::Conv2d`, `F::relu`, `method::relu_`, or PyTorch's path"
            ),
        }
    }
    if let Some(config) = backend.find(&chain) {
        return Ok(config);
    }
    let begins: Vec<String> = backend
        .configs
        .iter()
        .filter(|config| {
            chain.first().is_some_and(|first| {
                config
                    .head()
                    .is_some_and(|head| head.operator == first.operator)
            })
        })
        .map(|config| config.pattern.to_string())
        .collect();
    if begins.is_empty() {
        bail!("{} says nothing of `{text}`: it stays float", backend.name);
    }
    bail!(
        "{} says nothing of `{text}`; of the operator that it begins with it has: {}",
        backend.name,
        begins.join(", ")
    );
}

fn spelling(word: &str) -> Option<&'static Spelling> {
    by_dsl(word)
        .or_else(|| by_name(word))
        .or_else(|| by_path(word))
}
