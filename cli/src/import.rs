//! `qconfig import`: a backend config that PyTorch dumped, as a spec.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use qconfig::backends;
use qconfig::owned::BackendConfig;
use qconfig_codegen::import::{Options, groups, import};

const EXAMPLES: &str = "Examples:
  qconfig import --script > dump_backend_config.py
  python dump_backend_config.py fbgemm > fbgemm.json
  qconfig import fbgemm.json -o src/fbgemm.rs
  python dump_backend_config.py my_package.quant:CONFIG | qconfig import - --ident MINE
  qconfig import mine.json --op my_package.ops.swish=crate::ops::Swish

Groups of patterns are found, patterns that say the same are joined, dtypes, configs and lists get names. A dump
has no kernels: every pair says `kernel none` until you bind one. An operator that qconfig does not know needs a
type of yours that implements `Spelled`; `--op` says which.";

/// The command's arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ImportArgs {
    /// The dump, as the script writes it; `-` reads standard input.
    #[arg(required_unless_present = "script")]
    dump: Option<PathBuf>,
    /// Where the spec goes; else it is printed.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Writes over a file that exists.
    #[arg(long, requires = "output")]
    force: bool,
    /// The name of the static; else the backend's in capitals.
    #[arg(long, value_name = "NAME", value_parser = ident)]
    ident: Option<String>,
    /// A type that stands for an operator which qconfig does not know.
    #[arg(long = "op", value_name = "PATH=TYPE", value_parser = operator)]
    operators: Vec<(String, String)>,
    /// Prints the Python script that dumps any BackendConfig, and does nothing else.
    #[arg(long)]
    script: bool,
}

fn ident(text: &str) -> Result<String, String> {
    match syn::parse_str::<syn::Ident>(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("this is no Rust identifier".into()),
    }
}

fn operator(text: &str) -> Result<(String, String), String> {
    let (path, own) = text
        .split_once('=')
        .ok_or("write `python.path=rust::path`")?;
    if syn::parse_str::<syn::Path>(own).is_err() {
        return Err(format!("`{own}` is no Rust path"));
    }
    Ok((path.to_owned(), own.to_owned()))
}

/// The script that dumps a config.
const SCRIPT: &str = include_str!("../dump_backend_config.py");

/// What is printed.
pub(crate) fn run(args: &ImportArgs) -> anyhow::Result<String> {
    let Some(dump) = args.dump.as_ref().filter(|_| !args.script) else {
        return Ok(SCRIPT.to_owned());
    };
    let config = read(dump)?;
    let operators: BTreeMap<String, String> = args.operators.iter().cloned().collect();
    let groups = groups(backends::GROUPS).map_err(|diag| anyhow::anyhow!(diag.text()))?;
    let options = Options {
        ident: args.ident.as_deref(),
        groups: &groups,
        operators: &operators,
    };
    let spec = import(&config, &options).map_err(|problems| {
        let lines: Vec<String> = problems
            .iter()
            .map(|problem| format!("  {problem}"))
            .collect();
        anyhow::anyhow!(
            "{}: this config cannot be a spec\n{}",
            dump.display(),
            lines.join("\n")
        )
    })?;
    let Some(output) = &args.output else {
        return Ok(spec);
    };
    if output.exists() && !args.force {
        bail!(
            "{}: the file exists; `--force` writes over it",
            output.display()
        );
    }
    fs::write(output, &spec).with_context(|| output.display().to_string())?;
    let pairs: usize = config
        .configs
        .iter()
        .map(|found| found.dtype_configs.len())
        .sum();
    Ok(format!(
        "{}: {} patterns, {pairs} pairs, in {} lines\n",
        output.display(),
        config.configs.len(),
        spec.lines().count()
    ))
}

/// Reads a config from a file.
pub(crate) fn read(path: &Path) -> anyhow::Result<BackendConfig> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)?;
    } else {
        text = fs::read_to_string(path)
            .with_context(|| format!("{}: the file could not be read", path.display()))?;
    }
    serde_json::from_str(&text)
        .with_context(|| format!("{}: this is no dump of a backend config", path.display()))
}
