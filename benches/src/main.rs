//! The process that runs qconfig beside other libraries: `peers/run.py` talks to it line by line.

use std::io::{self, BufRead, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, bail};
use qconfig::Isa;
use qconfig::backends::QNNPACK;
use qconfig::kernels::{glue, peak};
use qconfig::runtime::{Plan, Session, SessionOptions};
use qconfig_benches::{export, layers, nets};

const USAGE: &str = "usage:
  qconfig-peer export NET FOLDER   writes the float network for other libraries
  qconfig-peer save NET FILE       writes the quantized network's plan
  qconfig-peer layer NAME FOLDER   writes one layer, its plan and its inputs
  qconfig-peer first FILE INPUT    one answer of a plan, from a cold start
  qconfig-peer peak                what one core can do, in GOPS, measured now
  qconfig-peer serve               answers lines: `load FILE INPUT THREADS`, `run TIMES`, `output FILE`";

/// Side of the networks' images.
const SIZE: usize = 224;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["export", net, folder] => export::export(net, &nets::graph(net, SIZE)?, folder.as_ref()),
        ["save", net, file] => save(net, file.as_ref()),
        ["layer", name, folder] => layers::save(name, folder.as_ref()),
        ["first", file, input] => {
            let plan = load(file)?;
            let mut session = Session::new(plan, SessionOptions::with_isa(Isa::from_env()?))?;
            let bytes = std::fs::read(input).with_context(|| input.to_string())?;
            fill(&mut session, &bytes).with_context(|| input.to_string())?;
            session.run()?;
            println!("{} {}", session.output(0)?.len(), peak_memory()?);
            Ok(())
        }
        ["peak"] => {
            let isa = Isa::from_env()?;
            println!("{}", peak(isa).unwrap_or_default() / 1e9);
            Ok(())
        }
        ["serve"] => serve(),
        _ => bail!("{USAGE}"),
    }
}

/// Most bytes that this process has had in memory.
fn peak_memory() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    let kilobytes: u64 = number.context("/proc/self/status has no VmHWM")?.parse()?;
    Ok(1024 * kilobytes)
}

fn save(net: &str, file: &Path) -> anyhow::Result<()> {
    let (_, lowered) = nets::quantize(&nets::graph(net, SIZE)?)?;
    std::fs::write(file, lowered.plan.to_bytes()).with_context(|| file.display().to_string())
}

fn load(file: &str) -> anyhow::Result<Plan<'static>> {
    let kernels = |name: &str| QNNPACK.kernel_named(name).or_else(|| glue(name));
    Plan::from_file(file, kernels).with_context(|| file.to_string())
}

/// Fills the inputs, one behind the other, with bytes; how many that were.
fn fill(session: &mut Session<'_>, bytes: &[u8]) -> anyhow::Result<usize> {
    let mut rest = bytes;
    for index in 0..session.plan().inputs().len() {
        let input = session.input_mut(index)?;
        let (mine, more) = rest
            .split_at_checked(input.len())
            .with_context(|| format!("too few bytes for input {index}"))?;
        input.copy_from_slice(mine);
        rest = more;
    }
    Ok(bytes.len() - rest.len())
}

/// A session, and what it reads: one set of inputs, or several that it takes in turn.
struct Served {
    session: Session<'static>,
    sets: Vec<u8>,
    /// Bytes of a set.
    set: usize,
    next: usize,
}

impl Served {
    fn new(plan: &str, input: &str, threads: usize) -> anyhow::Result<Self> {
        let options = SessionOptions {
            threads,
            ..SessionOptions::with_isa(Isa::from_env()?)
        };
        let mut session = Session::new(load(plan)?, options)?;
        let sets = std::fs::read(input).with_context(|| input.to_string())?;
        let set = fill(&mut session, &sets).with_context(|| input.to_string())?;
        session.run()?;
        Ok(Self {
            session,
            next: set,
            sets,
            set,
        })
    }

    /// Nanoseconds of a run, those of the next inputs included.
    fn run(&mut self) -> anyhow::Result<u128> {
        let start = Instant::now();
        if self.sets.len() > self.set {
            if self.next + self.set > self.sets.len() {
                self.next = 0;
            }
            let bytes = self.sets.get(self.next..).unwrap_or_default();
            self.next += fill(&mut self.session, bytes)?;
        }
        self.session.run()?;
        Ok(start.elapsed().as_nanos())
    }
}

fn serve() -> anyhow::Result<()> {
    let mut served: Option<Served> = None;
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["load", file, input, threads] => {
                let made = Served::new(file, input, threads.parse()?)?;
                writeln!(out, "ok {}", made.session.isa())?;
                served = Some(made);
            }
            ["run", times] => {
                let served = served.as_mut().context("`load` comes first")?;
                let times: usize = times.parse()?;
                let mut nanoseconds = Vec::with_capacity(times);
                for _ in 0..times {
                    nanoseconds.push(served.run()?.to_string());
                }
                writeln!(out, "{}", nanoseconds.join(" "))?;
            }
            ["output", file] => {
                let served = served.as_ref().context("`load` comes first")?;
                std::fs::write(file, served.session.output(0)?)?;
                writeln!(out, "ok")?;
            }
            _ => bail!("`{line}` is no request"),
        }
        out.flush()?;
    }
    Ok(())
}
