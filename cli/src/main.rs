//! The `qconfig` command.

mod show;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use qconfig::BackendConfig;
use qconfig::backends;

/// Quantized backends, described once and checked by the compiler.
#[derive(Parser)]
#[command(version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  qconfig list
  qconfig show qnnpack
  qconfig show qnnpack --format json > qnnpack.json";

#[derive(Subcommand)]
enum Command {
    /// Lists the backends: patterns, pairs of pattern and dtype config, and how many have a kernel.
    List,
    /// Shows what a backend supports.
    Show {
        /// The backend's name, as `qconfig list` prints it.
        backend: String,
        /// How to show it; json has the shape of PyTorch's `BackendConfig.to_dict()`.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        // a reader that went away (`qconfig list | head`) is no failure
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let json = cause
            .downcast_ref::<serde_json::Error>()
            .and_then(serde_json::Error::io_error_kind);
        io.or(json) == Some(io::ErrorKind::BrokenPipe)
    })
}

fn run(command: &Command) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match command {
        Command::List => writeln!(out, "{}", show::list(backends::ALL))?,
        Command::Show { backend, format } => {
            let backend = find(backend)?;
            match format {
                Format::Table => writeln!(out, "{}", show::table(backend))?,
                Format::Json => {
                    serde_json::to_writer_pretty(&mut out, backend)?;
                    writeln!(out)?;
                }
            }
        }
    }
    Ok(out.flush()?)
}

fn find(name: &str) -> anyhow::Result<&'static BackendConfig> {
    backends::ALL
        .iter()
        .copied()
        .find(|backend| backend.name == name)
        .ok_or_else(|| {
            let known: Vec<_> = backends::ALL.iter().map(|backend| backend.name).collect();
            anyhow::anyhow!(
                "no backend is called `{name}`; there are: {}",
                known.join(", ")
            )
        })
}
