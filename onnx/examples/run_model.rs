//! Runs a model operator by operator on rows of .npy files, and compares an output with another file:
//!
//! ```text
//! cargo run -p qconfig-onnx --release --example run_model -- MODEL ROWS \
//!     input=frames.npy logits=wanted.npy hn=>h
//! ```
//!
//! `NAME=FILE` of an input feeds row by row, of an output compares; `OUTPUT=>INPUT` carries a state from a row
//! to the next, from zeros on.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::time::Instant;

use npyz::NpyFile;
use qconfig_onnx::{Array, Data, Dimension, read_file};

/// Values of a file, and the sizes of a row.
fn load(path: &str) -> Result<(Vec<f32>, Vec<usize>), Box<dyn Error>> {
    let file = NpyFile::new(BufReader::new(File::open(path)?))?;
    let shape: Vec<usize> = file.shape().iter().map(|size| *size as usize).collect();
    Ok((
        file.into_vec()?,
        shape.get(1..).unwrap_or_default().to_vec(),
    ))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = read_file(Path::new(&arguments.next().ok_or("a model is needed")?))?;
    let rows: usize = arguments
        .next()
        .ok_or("a number of rows is needed")?
        .parse()?;
    let (mut fed, mut wanted, mut carried) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for argument in arguments {
        let (name, value) = argument.split_once('=').ok_or("NAME=FILE is needed")?;
        if let Some(input) = value.strip_prefix('>') {
            carried.push((name.to_owned(), input.to_owned()));
        } else if model.outputs.iter().any(|output| output == name) {
            wanted.insert(name.to_owned(), load(value)?.0);
        } else {
            fed.insert(name.to_owned(), load(value)?);
        }
    }
    let mut inputs = BTreeMap::new();
    for (_, name) in &carried {
        let input = model
            .inputs
            .iter()
            .find(|input| input.name == *name)
            .ok_or("no such input")?;
        let sizes = input.shape.iter().flatten().map(|size| match size {
            Dimension::Fixed(size) => *size,
            Dimension::Named(_) => 1,
        });
        let shape: Vec<usize> = sizes.collect();
        let zeros = vec![0.0; shape.iter().product()];
        inputs.insert(name.clone(), Array::new(shape, Data::Float32(zeros))?);
    }
    let mut found: BTreeMap<&String, Vec<f32>> = BTreeMap::new();
    let began = Instant::now();
    for row in 0..rows {
        for (name, (values, shape)) in &fed {
            let size: usize = shape.iter().product();
            let part = values
                .get(row * size..(row + 1) * size)
                .ok_or("no such row")?;
            let shape = [&[1], shape.as_slice()].concat();
            inputs.insert(
                name.clone(),
                Array::new(shape, Data::Float32(part.to_vec()))?,
            );
        }
        let outputs = model.run(&inputs)?;
        for (name, output) in model.outputs.iter().zip(outputs) {
            for (_, input) in carried.iter().filter(|(from, _)| from == name) {
                inputs.insert(input.clone(), output.clone());
            }
            found
                .entry(name)
                .or_default()
                .extend(output.to_f32().unwrap_or_default());
        }
    }
    println!(
        "{:.1} ms a row",
        began.elapsed().as_secs_f64() * 1e3 / rows as f64
    );
    for (name, wanted) in &wanted {
        let found = found.get(name).ok_or("no such output")?;
        let pairs = || {
            found
                .iter()
                .zip(wanted)
                .map(|(x, y)| (f64::from(*x), f64::from(*y)))
        };
        let largest = pairs().map(|(_, y)| y.abs()).fold(0.0, f64::max);
        let worst = pairs().map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
        let (signal, noise) = pairs().fold((0.0, 0.0), |(s, n), (x, y)| {
            (s + y * y, n + (x - y) * (x - y))
        });
        println!(
            "{name}: {} values, differ by at most {worst:.3e}, {:.3e} of the largest; {:.1} dB",
            found.len(),
            worst / largest,
            10.0 * (signal / noise).log10()
        );
    }
    Ok(())
}
