//! Spelling to phonemes: a GRU encoder and a GRU decoder from ONNX files, in float and with int8 weights.
//!
//!     python examples/models/models.py fetch && python examples/models/models.py export   # once, and `data`
//!     cargo run --release --features onnx --example phonemes -- target/models/g2p
//!
//! A word's length is the length of the encoder's sequence, so there is a plan for each length; the decoder
//! is one step.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use qconfig::backends::QNNPACK;
use qconfig::onnx::{Array, ImportOptions, Model, import, read_file};
use qconfig::quantize::{Tensor, calibrate, convert, fuse, lower, prepare, set_input};
use qconfig::runtime::{Session, SessionOptions};
use qconfig::{QConfig, QConfigMapping};

/// Symbols of the decoder: `<pad>`, `<unk>`, `<s>`, `</s>`, then the phonemes in this order.
const PHONEMES: &str = "AA0 AA1 AA2 AE0 AE1 AE2 AH0 AH1 AH2 AO0 AO1 AO2 AW0 AW1 AW2 AY0 AY1 AY2 B CH D DH \
    EH0 EH1 EH2 ER0 ER1 ER2 EY0 EY1 EY2 F G HH IH0 IH1 IH2 IY0 IY1 IY2 JH K L M N NG OW0 OW1 OW2 OY0 OY1 OY2 \
    P R S SH T TH UH0 UH1 UH2 UW UW0 UW1 UW2 V W Y Z ZH";
const START: i64 = 2;
const END: usize = 3;
const STEPS: usize = 20;
const HIDDEN: usize = 256;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let Some(folder) = std::env::args().nth(1).map(PathBuf::from) else {
        return Err(
            "usage: phonemes FOLDER, the one of encoder.onnx, decoder.onnx and words.tsv".into(),
        );
    };
    let words = std::fs::read_to_string(folder.join("words.tsv"))?;
    let words: Vec<(&str, Vec<&str>)> = words
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(word, phonemes)| (word, phonemes.split_whitespace().collect()))
        .collect();
    let float = accuracy(&folder, &words, None)?;
    let int8 = accuracy(&folder, &words, Some(QConfig::PER_CHANNEL_DYNAMIC))?;
    let fp16 = accuracy(&folder, &words, Some(QConfig::FLOAT16_DYNAMIC))?;
    println!(
        "{} words, share of phonemes right (1 - edits / phonemes):",
        words.len()
    );
    for (name, share) in [
        ("float", float),
        ("dynamic int8", int8),
        ("fp16 weights", fp16),
    ] {
        println!("  {name:<14}{:.2} %", 100.0 * share);
    }
    Ok(())
}

fn accuracy(folder: &Path, words: &[(&str, Vec<&str>)], with: Option<QConfig>) -> Result<f64> {
    let encoder = read_file(&folder.join("encoder.onnx"))?;
    let decoder = read_file(&folder.join("decoder.onnx"))?;
    let mut decode = session(&decoder, 1, with)?;
    let mut encoders: BTreeMap<usize, Session<'static>> = BTreeMap::new();
    let names: Vec<&str> = PHONEMES.split_whitespace().collect();
    let (mut wrong, mut all) = (0, 0);
    for (at, (word, expected)) in words.iter().enumerate() {
        let letters = letters(word);
        let encode = match encoders.entry(letters.len()) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(new) => {
                new.insert(session(&encoder, letters.len(), with)?)
            }
        };
        let length = letters.len();
        set_input(encode, 0, &Tensor::indices(vec![length, 1], letters)?)?;
        encode.run()?;
        let mut hidden = vec![0.0; HIDDEN];
        encode.output_f32(0, &mut hidden)?;
        let found = greedy(&mut decode, hidden)?;
        let found: Vec<&str> = found
            .into_iter()
            .map(|symbol| names.get(symbol.wrapping_sub(4)).copied().unwrap_or("?"))
            .collect();
        if at < 3 && with.is_none() {
            println!("{word}: {}", found.join(" "));
        }
        wrong += edits(expected, &found);
        all += expected.len();
    }
    Ok(1.0 - wrong as f64 / all as f64)
}

/// The encoder's symbols: `<pad>`, `<unk>`, `</s>`, then a to z; a word ends with `</s>`.
fn letters(word: &str) -> Vec<i64> {
    let letter = |c: char| match c {
        'a'..='z' => i64::from(u32::from(c) - u32::from('a')) + 3,
        _ => 1,
    };
    word.chars().map(letter).chain([2]).collect()
}

/// A plan for sequences of one length.
fn session(model: &Model, length: usize, with: Option<QConfig>) -> Result<Session<'static>> {
    let mut fixed = BTreeMap::new();
    if model.inputs.iter().any(|input| input.name == "lengths") {
        let lengths = vec![i32::try_from(length)?];
        fixed.insert("lengths".to_owned(), Array::vector(lengths));
    }
    let options = ImportOptions {
        dimensions: [("length".to_owned(), length)].into(),
        fixed,
        ..ImportOptions::default()
    };
    let graph = import(model, &options)?.graph;
    // the table of letters and the scores stay as they are: both are small
    let mapping = QConfigMapping::new().global(with);
    let prepared = prepare(&fuse(&graph, &QNNPACK), &QNNPACK, &mapping)?;
    let none: [&[Tensor]; 0] = [];
    let lowered = lower(&convert(&calibrate(&prepared, none, |_| {})?)?)?;
    Ok(Session::new(lowered.plan, SessionOptions::new()?)?)
}

/// The likeliest symbol again and again, until the end sign.
fn greedy(decode: &mut Session<'_>, mut hidden: Vec<f32>) -> Result<Vec<usize>> {
    let (mut last, mut symbols) = (START, Vec::new());
    for _ in 0..STEPS {
        set_input(decode, 0, &Tensor::indices(vec![1, 1], vec![last])?)?;
        decode.set_input_f32(1, &hidden)?;
        decode.run()?;
        let mut scores = vec![0.0; 74];
        decode.output_f32(0, &mut scores)?;
        decode.output_f32(1, &mut hidden)?;
        let best = (0..scores.len()).fold(0, |best, at| match scores[at] > scores[best] {
            true => at,
            false => best,
        });
        if best == END {
            break;
        }
        symbols.push(best);
        last = i64::try_from(best)?;
    }
    Ok(symbols)
}

/// Insertions, deletions and replacements that make one sequence the other.
fn edits(a: &[&str], b: &[&str]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
