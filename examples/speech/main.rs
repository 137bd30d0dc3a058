//! Is anybody speaking? Silero VAD from an ONNX file, frame by frame as from a microphone, its LSTM in float, with
//! int8 weights and with weights in half precision.
//!
//!     python examples/models/models.py fetch && python examples/models/models.py export   # once, and `data`
//!     cargo run --release --features onnx --example speech -- target/models/silero
//!
//! A frame is 512 samples at 16 kHz and the 64 before them; the states that the LSTM ends with go into the next run.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use qconfig::backends::QNNPACK;
use qconfig::onnx::{ImportOptions, import, read_file};
use qconfig::quantize::{Tensor, calibrate, convert, fuse, lower, prepare};
use qconfig::runtime::{Session, SessionOptions};
use qconfig::{QConfig, QConfigMapping};

const FRAME: usize = 512;
const BEFORE: usize = 64;
const HIDDEN: usize = 128;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let Some(folder) = std::env::args().nth(1).map(PathBuf::from) else {
        return Err("usage: speech FOLDER, the one of float.onnx and sample.wav".into());
    };
    let samples = wave(&std::fs::read(folder.join("sample.wav"))?)?;
    let model = folder.join("float.onnx");
    let schemes = [
        ("float", None),
        ("dynamic int8", Some(QConfig::PER_CHANNEL_DYNAMIC)),
        ("fp16 weights", Some(QConfig::FLOAT16_DYNAMIC)),
    ];
    let mut float: Vec<f32> = Vec::new();
    for (name, scheme) in schemes {
        let mut session = session(&model, scheme)?;
        let start = Instant::now();
        let found = probabilities(&mut session, &samples)?;
        let micros = start.elapsed().as_secs_f64() * 1e6 / found.len() as f64;
        if float.is_empty() {
            let speech = found.iter().filter(|p| **p > 0.5).count();
            let nearest = found.iter().map(|p| (p - 0.5).abs()).fold(1.0, f32::min);
            println!(
                "{} frames, {speech} of them speech; the nearest decision is {nearest:.4} from 0.5",
                found.len()
            );
            float.clone_from(&found);
        }
        let pairs = || float.iter().zip(&found);
        let same = pairs().filter(|(a, b)| (**a > 0.5) == (**b > 0.5)).count();
        let largest = pairs().map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!(
            "  {name:<14}{same} decisions as in float, largest difference {largest:.4}, {micros:.0} us a frame"
        );
    }
    Ok(())
}

/// The samples of a file of 16-bit numbers at 16 kHz on one channel.
fn wave(bytes: &[u8]) -> Result<Vec<f32>> {
    let mut rest = match bytes.split_at_checked(12) {
        Some((head, rest)) if head.starts_with(b"RIFF") && head.ends_with(b"WAVE") => rest,
        _ => return Err("not a .wav file".into()),
    };
    while let Some((head, behind)) = rest.split_at_checked(8) {
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let chunk = &behind[..length.min(behind.len())];
        match &head[..4] {
            b"fmt " if chunk.get(2..8) != Some(&[1, 0, 0x80, 0x3e, 0, 0]) => {
                return Err("one channel at 16 kHz is needed".into());
            }
            b"data" => {
                let values = chunk.as_chunks().0.iter();
                return Ok(values
                    .map(|sample| f32::from(i16::from_le_bytes(*sample)) / 32768.0)
                    .collect());
            }
            _ => {}
        }
        rest = behind.get(length.next_multiple_of(2)..).unwrap_or_default();
    }
    Err("the .wav file holds no samples".into())
}

/// A plan for one frame at a time.
fn session(model: &Path, with: Option<QConfig>) -> Result<Session<'static>> {
    let options = ImportOptions {
        dimensions: [("sequence_length".to_owned(), 1)].into(),
        ..ImportOptions::default()
    };
    let graph = import(&read_file(model)?, &options)?.graph;
    let mapping = QConfigMapping::new().global(with);
    let prepared = prepare(&fuse(&graph, &QNNPACK), &QNNPACK, &mapping)?;
    let none: [&[Tensor]; 0] = [];
    let lowered = lower(&convert(&calibrate(&prepared, none, |_| {})?)?)?;
    Ok(Session::new(lowered.plan, SessionOptions::new()?)?)
}

/// Of each frame, how likely it is speech.
fn probabilities(session: &mut Session<'_>, samples: &[f32]) -> Result<Vec<f32>> {
    let mut states = [[0.0; HIDDEN]; 2];
    let mut window = [0.0; BEFORE + FRAME];
    let mut found = Vec::new();
    for frame in samples.chunks(FRAME) {
        window.copy_within(FRAME.., 0);
        window[BEFORE..].fill(0.0);
        window[BEFORE..][..frame.len()].copy_from_slice(frame);
        session.set_input_f32(0, &window)?;
        for (at, state) in states.iter().enumerate() {
            session.set_input_f32(1 + at, state)?;
        }
        session.run()?;
        let mut probability = [0.0];
        session.output_f32(0, &mut probability)?;
        for (at, state) in states.iter_mut().enumerate() {
            session.output_f32(1 + at, state)?;
        }
        found.extend(probability);
    }
    Ok(found)
}
