//! Runs one node on a kernel, on every instruction set and on several splits, and compares.

use std::cell::Cell;
use std::fmt::Write;
use std::ops::Range;

use qconfig_core::kernel::{Call, Kernel, NodeSpec};
use qconfig_core::{Isa, IsaLevel};
use qconfig_runtime::AlignedBytes;

use crate::golden::{Archive, Case};

/// On how many threads a node is thought to run.
const PARTS: [usize; 2] = [1, 3];

/// Packs a node and computes it on one instruction set, cut into `parts`, each with dirty scratch.
pub fn run(
    kernel: &Kernel,
    node: &NodeSpec<'_>,
    inputs: &[&[u8]],
    isa: Isa,
    parts: usize,
) -> Result<Vec<u8>, String> {
    let refused = |refusal| format!("{} refuses the node: {refusal}", kernel.name);
    let sizes = (kernel.sizes)(node).map_err(refused)?;
    let mut blob = dirty(sizes.blob);
    (kernel.pack)(node, &mut blob).map_err(refused)?;
    let lengths: Vec<usize> = inputs.iter().map(|input| input.len()).collect();
    let damaged = |error| format!("{} refuses its own blob: {error}", kernel.name);
    let split = (kernel.split)(&blob, &lengths).map_err(damaged)?;
    let bytes = node.output.bytes().ok_or("the output is too large")?;
    if split.output_bytes != bytes {
        return Err(format!(
            "the split says {} output bytes, the node has {bytes}",
            split.output_bytes
        ));
    }
    let inputs: Vec<AlignedBytes> = inputs
        .iter()
        .map(|input| AlignedBytes::copy_of(input).unwrap())
        .collect();
    let inputs: Vec<&[u8]> = inputs.iter().map(|input| &**input).collect();
    let mut output = dirty(bytes);
    for part in 0..parts {
        let units: Range<usize> = split.units * part / parts..split.units * (part + 1) / parts;
        let range = split.bytes(&units);
        (kernel.run)(Call {
            blob: &blob,
            inputs: &inputs,
            output: &mut output[range],
            units,
            scratch: &mut dirty(sizes.scratch),
            isa,
        })
        .map_err(damaged)?;
    }
    Ok(output.to_vec())
}

/// Memory that nothing may rely on.
fn dirty(len: usize) -> AlignedBytes {
    let mut bytes = AlignedBytes::zeroed(len).unwrap();
    bytes.fill(0xA5);
    bytes
}

/// Gathers what a family's cases gave, prints the counts, and fails at the end with the first
/// mismatches.
#[derive(Debug)]
pub struct Tally {
    family: String,
    cases: usize,
    elements: usize,
    wrong_cases: usize,
    wrong: usize,
    /// Steps that an element may be from torch's.
    most: u8,
    /// Elements that are, of so many.
    off: [Cell<usize>; 2],
    report: String,
}

impl Tally {
    /// An empty one.
    pub fn new(family: &str) -> Self {
        Self {
            family: family.into(),
            cases: 0,
            elements: 0,
            wrong_cases: 0,
            wrong: 0,
            most: 0,
            off: Default::default(),
            report: String::new(),
        }
    }

    /// As [`Tally::new`], where [`Tally::check`] allows so many steps between an element and torch's.
    pub fn within(family: &str, most: u8) -> Self {
        Self {
            most,
            ..Self::new(family)
        }
    }

    /// Counts a case, which agrees where `differences` is empty.
    pub fn count(&mut self, case: &str, elements: usize, differences: &[String]) {
        self.cases += 1;
        self.elements += elements;
        self.wrong += differences.len();
        if let Some(first) = differences.first() {
            self.wrong_cases += 1;
            if self.wrong_cases <= 5 {
                let more = differences.len() - 1;
                let _ = writeln!(self.report, "  {case}: {first} (and {more} more)");
            }
        }
    }

    /// Computes a node everywhere and compares its bytes with torch's.
    pub fn check(
        &mut self,
        case: &Case<'_>,
        kernel: &Kernel,
        node: &NodeSpec<'_>,
        inputs: &[&[u8]],
        expected: &[u8],
    ) {
        let (most, [off, all]) = (self.most, self.off.clone());
        self.check_with(case, kernel, node, inputs, |got| {
            let pairs = got.iter().zip(expected);
            off.update(|off| off + pairs.filter(|(a, b)| a != b).count());
            all.update(|all| all + expected.len());
            steps(got, expected, most)
        });
        self.off = [off, all];
    }

    /// Computes a node everywhere; `compare` lists how the bytes are not what they should be.
    pub fn check_with(
        &mut self,
        case: &Case<'_>,
        kernel: &Kernel,
        node: &NodeSpec<'_>,
        inputs: &[&[u8]],
        compare: impl Fn(&[u8]) -> Vec<String>,
    ) {
        let mut found = Vec::new();
        for isa in Isa::available() {
            for parts in PARTS {
                let place = || format!("on {isa} in {parts} part(s): ");
                match run(kernel, node, inputs, isa, parts) {
                    Ok(got) => found.extend(compare(&got).into_iter().map(|text| place() + &text)),
                    Err(error) => found.push(place() + &error),
                }
            }
        }
        self.count(&case.name(), node.output.elements().unwrap_or(0), &found);
    }

    /// Prints the counts; fails where a case disagrees, or where there are fewer than `least`.
    pub fn finish(self, least: usize) {
        let has = |level: &IsaLevel| Isa::require(*level).is_ok();
        let names = |levels: Vec<&IsaLevel>| {
            let names: Vec<&str> = levels.iter().map(|level| level.name()).collect();
            names.join(", ")
        };
        let (ran, missing): (Vec<_>, Vec<_>) = IsaLevel::ALL.iter().partition(|level| has(level));
        println!(
            "{}: {} cases, {} elements; {} cases differ; on {}, not on {}",
            self.family,
            self.cases,
            self.elements,
            self.wrong_cases,
            names(ran),
            names(missing)
        );
        let [off, all] = self.off.map(Cell::into_inner);
        if self.most > 0 {
            println!(
                "{}: {off} of {all} elements ({:.4} %) are a step from torch's",
                self.family,
                100.0 * off as f64 / all.max(1) as f64
            );
        }
        assert!(
            self.cases >= least,
            "{}: only {} cases, {least} are asked for",
            self.family,
            self.cases
        );
        assert!(
            self.wrong_cases == 0,
            "{}: {} of {} cases differ from torch:\n{}",
            self.family,
            self.wrong_cases,
            self.cases,
            self.report
        );
    }
}

/// Where two buffers differ.
pub fn differences(got: &[u8], expected: &[u8]) -> Vec<String> {
    if got.len() != expected.len() {
        return vec![format!("{} bytes, torch has {}", got.len(), expected.len())];
    }
    let pairs = got.iter().zip(expected).enumerate();
    pairs
        .filter(|(_, (got, expected))| got != expected)
        .map(|(at, (got, expected))| format!("element {at} is {got}, torch's is {expected}"))
        .collect()
}

/// Where bytes are more than so many steps apart.
pub fn steps(got: &[u8], expected: &[u8], most: u8) -> Vec<String> {
    let near: Vec<u8> = expected
        .iter()
        .zip(got)
        .map(|(want, got)| {
            if want.abs_diff(*got) <= most {
                *got
            } else {
                *want
            }
        })
        .chain(expected.iter().skip(got.len()).copied())
        .collect();
    differences(got, &near)
}

/// Where two `f32` buffers differ in a bit; `-0.0` and `0.0` count as the same.
pub fn float_differences(got: &[u8], expected: &[f32]) -> Vec<String> {
    let got = floats(got);
    if got.len() != expected.len() {
        return vec![format!(
            "{} elements, torch has {}",
            got.len(),
            expected.len()
        )];
    }
    let pairs = got.iter().zip(expected).enumerate();
    pairs
        .filter(|(_, (got, expected))| got != expected)
        .map(|(at, (got, expected))| format!("element {at} is {got:?}, torch's is {expected:?}"))
        .collect()
}

/// The bytes of `f32` values, as kernels store them.
pub fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_ne_bytes()).collect()
}

/// `f32` values out of bytes.
pub fn floats(bytes: &[u8]) -> Vec<f32> {
    let (chunks, rest) = bytes.as_chunks();
    assert!(rest.is_empty(), "f32 values take four bytes each");
    chunks.iter().map(|x| f32::from_ne_bytes(*x)).collect()
}

/// Opens a numerics family and runs every case of it.
pub fn family(name: &str, least: usize, mut case: impl FnMut(&Case<'_>, &mut Tally)) {
    let archive = Archive::open(&format!("numerics/{name}.npz"));
    let mut tally = Tally::new(name);
    for one in archive.cases() {
        case(&one, &mut tally);
    }
    tally.finish(least);
}
