//! Runs ONNX's backend tests of single nodes and prints a table by operator:
//!
//! ```text
//! python examples/models/models.py node-tests
//! cargo run -p qconfig-onnx --release --example node_tests -- target/onnx-node-tests [NAME]
//! ```
//!
//! With a name, only cases that contain it, each with its outcome. The exit code is 1 where an answer is
//! wrong, anything panics, or a case fails without saying what is not supported.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

#[path = "../tests/case/mod.rs"]
mod case;

use case::{Case, Outcome, run};

/// The operators of quantization, counted by themselves.
const QUANTIZATION: [&str; 7] = [
    "ConvInteger",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "MatMulInteger",
    "QLinearConv",
    "QLinearMatMul",
    "QuantizeLinear",
];

fn sorted(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?;
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<_>>()?;
    paths.sort();
    Ok(paths)
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// `input_0.pb`, `input_1.pb`, ...
fn numbered(folder: &Path, kind: &str) -> io::Result<Vec<Vec<u8>>> {
    (0..)
        .map(|at| folder.join(format!("{kind}_{at}.pb")))
        .take_while(|path| path.exists())
        .map(fs::read)
        .collect()
}

fn load(folder: &Path) -> io::Result<Case> {
    let mut sets = Vec::new();
    for set in sorted(folder)?.iter().filter(|path| path.is_dir()) {
        sets.push((numbered(set, "input")?, numbered(set, "output")?));
    }
    Ok(Case {
        name: name(folder),
        model: fs::read(folder.join("model.onnx"))?,
        sets,
    })
}

fn main() -> io::Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments
        .next()
        .unwrap_or_else(|| "target/onnx-node-tests".into());
    let wanted = arguments.next();
    // a panic is counted and named with its case
    std::panic::set_hook(Box::new(|info| eprintln!("{info}")));
    let mut table: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    let mut quantization = [0; 3];
    let (mut wrong, mut unsupported) = (Vec::new(), BTreeMap::<String, usize>::new());
    for path in sorted(Path::new(&folder))? {
        let chosen = wanted
            .as_ref()
            .is_none_or(|wanted| name(&path).contains(wanted.as_str()));
        if !path.join("model.onnx").exists() || !chosen {
            continue;
        }
        let case = load(&path)?;
        let (operator, outcome) = run(&case);
        if wanted.is_some() {
            println!("{}: {outcome:?}", case.name);
        }
        let column = match outcome {
            Outcome::Passed => 0,
            Outcome::Unsupported(why) => {
                *unsupported
                    .entry(format!("{operator}: {}", reason(&why)))
                    .or_default() += 1;
                1
            }
            Outcome::Wrong(why) => {
                wrong.push(format!(
                    "{}: {}",
                    case.name,
                    why.chars().take(300).collect::<String>()
                ));
                2
            }
        };
        if QUANTIZATION.contains(&operator.as_str()) {
            quantization[column] += 1;
        }
        table.entry(operator).or_default()[column] += 1;
    }
    println!("| operator | passed | unsupported | wrong |\n|---|---:|---:|---:|");
    let mut total = [0; 3];
    for (operator, counts) in &table {
        println!(
            "| {operator} | {} | {} | {} |",
            counts[0], counts[1], counts[2]
        );
        for (sum, count) in total.iter_mut().zip(counts) {
            *sum += count;
        }
    }
    println!(
        "| **quantization** | {} | {} | {} |",
        quantization[0], quantization[1], quantization[2]
    );
    println!("| **all** | {} | {} | {} |", total[0], total[1], total[2]);
    println!("\nunsupported:");
    for (why, count) in &unsupported {
        println!("  {count:4}  {why}");
    }
    for line in &wrong {
        println!("WRONG {line}");
    }
    Ok(if wrong.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// An error without the name of its node.
fn reason(why: &str) -> &str {
    why.split_once("): ").map_or(why, |(_, reason)| reason)
}
