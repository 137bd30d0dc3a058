//! The `qconfig` command.

mod check;
mod compare;
mod diff;
mod expand;
mod explain;
mod fmt;
mod html;
mod import;
mod inspect;
mod model;
mod page;
mod profile;
mod progress;
mod quantize;
mod run;
mod samples;
mod sensitivity;
mod show;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use qconfig::backends;
use qconfig::runtime::MAX_THREADS;
use qconfig::{BackendConfig, QConfig};

/// Models quantized, explained and run fast on the CPU.
#[derive(Parser)]
#[command(version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  qconfig inspect model.onnx
  qconfig check model.onnx --backend qnnpack
  qconfig quantize model.onnx --data photos/ --preprocess crop=0.875,resize=224,mean=127,std=128 -o model.plan
  qconfig run model.plan --data photo.jpg --preprocess crop=0.875,resize=224,mean=127,std=128
  qconfig compare model.onnx model.plan --data photos/ --preprocess crop=0.875,resize=224,mean=127,std=128
  qconfig bench model.plan --threads 2
  qconfig sensitivity model.onnx --data samples.npy --target-sqnr 25 --html sensitivity.html
  qconfig import dump.json -o src/backend.rs
  qconfig explain qnnpack 'nn::Conv2d + nn::ReLU' --qconfig qnnpack
  qconfig diff fbgemm x86
  qconfig show qnnpack --format html > qnnpack.html
  qconfig fmt src/backend.rs --check";

#[derive(Subcommand)]
enum Command {
    /// Quantizes a model: calibrates, converts and saves a plan.
    Quantize(Box<quantize::QuantizeArgs>),
    /// Says of each node what the backend does with it, and of what stays float, why.
    Check(Box<check::CheckArgs>),
    /// Runs samples through a model.
    Run(Box<run::RunArgs>),
    /// Compares two models on the same samples: agreement, signal to noise, accuracy, time.
    Compare(Box<compare::CompareArgs>),
    /// Quantizes each layer alone: what it costs, and which ones to leave float.
    Sensitivity(Box<sensitivity::SensitivityArgs>),
    /// Shows what is in a model or plan file.
    Inspect(Box<inspect::InspectArgs>),
    /// Writes a spec from a backend config that PyTorch dumped as JSON.
    Import(import::ImportArgs),
    /// Says what a backend decides for a pattern under a qconfig, and why.
    Explain(explain::ExplainArgs),
    /// Shows what one backend supports and another does not.
    Diff(diff::DiffArgs),
    /// Lays out the specs inside Rust files.
    Fmt(fmt::FmtArgs),
    /// Shows what the specs in a Rust file become.
    Expand(expand::ExpandArgs),
    /// Prints what a shell completes commands with.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
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
    /// Runs a saved plan and shows where the time goes, step by step.
    #[command(visible_alias = "bench")]
    Profile {
        /// The plan, as `Plan::to_bytes` gives it.
        plan: PathBuf,
        /// Runs; each time is the median over them.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        runs: u32,
        /// Threads that compute.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=MAX_THREADS as i64))]
        threads: u16,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For a document.
    Markdown,
    /// A page that can be searched.
    Html,
}

fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(code) => code,
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

fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    match command {
        Command::Quantize(args) => out.write_all(quantize::run(args)?.as_bytes())?,
        Command::Check(args) => return finish(&mut out, check::run(args)?),
        Command::Compare(args) => out.write_all(compare::run(args)?.as_bytes())?,
        Command::Sensitivity(args) => out.write_all(sensitivity::run(args)?.as_bytes())?,
        Command::Run(args) => out.write_all(run::run(args)?.as_bytes())?,
        Command::Inspect(args) => out.write_all(inspect::run(args)?.as_bytes())?,
        Command::Import(args) => out.write_all(import::run(args)?.as_bytes())?,
        Command::Explain(args) => out.write_all(explain::run(args)?.as_bytes())?,
        Command::Diff(args) => return finish(&mut out, diff::run(args)?),
        Command::Fmt(args) => return finish(&mut out, fmt::run(args)?),
        Command::Expand(args) => out.write_all(expand::run(args)?.as_bytes())?,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "qconfig", &mut script);
            out.write_all(&script)?;
        }
        Command::List => writeln!(out, "{}", show::list(backends::ALL))?,
        Command::Show { backend, format } => {
            let backend = find(backend)?;
            match format {
                Format::Markdown => writeln!(out, "{}", show::markdown(backend))?,
                Format::Html => out.write_all(page::page(backend).as_bytes())?,
                Format::Table => writeln!(out, "{}", show::table(backend))?,
                Format::Json => {
                    serde_json::to_writer_pretty(&mut out, backend)?;
                    writeln!(out)?;
                }
            }
        }
        Command::Profile {
            plan,
            runs,
            threads,
            json,
        } => {
            let profiled = profile::profile(plan, *runs as usize, usize::from(*threads))?;
            if *json {
                serde_json::to_writer_pretty(&mut out, &profiled.json())?;
                writeln!(out)?;
            } else {
                writeln!(out, "{}", profiled.table())?;
            }
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Prints what a command found; `true` is a failure that the text has explained.
fn finish(out: &mut impl Write, (text, failed): (String, bool)) -> anyhow::Result<ExitCode> {
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// A qconfig by PyTorch's name.
fn named_qconfig(name: &str) -> anyhow::Result<QConfig> {
    QConfig::named(name).ok_or_else(|| {
        let known: Vec<&str> = QConfig::NAMED.iter().map(|(name, _)| *name).collect();
        anyhow::anyhow!(
            "no qconfig is called `{name}`; there are: {}",
            known.join(", ")
        )
    })
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
