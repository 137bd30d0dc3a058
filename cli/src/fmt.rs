//! `qconfig fmt`: the layout of specs inside Rust files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use qconfig_codegen::diag::Diag;
use qconfig_codegen::format;

const EXAMPLES: &str = "Examples:
  qconfig fmt src/backend.rs
  qconfig fmt backends/*.rs --check

Only what stands in the braces of `backend_config!` and `op_groups!` changes, and of that only white space and
trailing separators.";

/// The command's arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct FmtArgs {
    /// Rust files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Writes nothing, and ends with 1 where a file would change.
    #[arg(long)]
    check: bool,
}

/// What was done, and whether that is a failure.
pub(crate) fn run(args: &FmtArgs) -> anyhow::Result<(String, bool)> {
    let mut text = String::new();
    let mut failed = false;
    for path in &args.files {
        let before = fs::read_to_string(path)
            .with_context(|| format!("{}: the file could not be read", path.display()))?;
        let after = match format::file(&before) {
            Ok(after) => after,
            Err(diags) => {
                failed = true;
                for diag in &diags {
                    text += &located(path, diag);
                }
                continue;
            }
        };
        if after == before {
            continue;
        }
        if args.check {
            failed = true;
            text += &format!("{}: would change\n", path.display());
        } else {
            fs::write(path, after)
                .with_context(|| format!("{}: the file could not be written", path.display()))?;
            text += &format!("{}: laid out\n", path.display());
        }
    }
    Ok((text, failed))
}

/// An error as compilers show one, with its place.
pub(crate) fn located(path: &Path, diag: &Diag) -> String {
    let start = diag.at.first.start();
    format!(
        "{}:{}:{}: error: {}\n",
        path.display(),
        start.line,
        start.column + 1,
        diag.text()
    )
}
