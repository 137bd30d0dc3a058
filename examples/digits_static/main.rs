//! Inference and nothing else: the plan that `digits` saved and a few real digits are compiled in; no
//! file is read, nothing is quantized, calibrated or packed at run time.
//!
//!     cargo run --release --example digits_static
//!
//! Statically linked, so that the binary runs on any Linux of its architecture:
//!
//!     cargo digits-static

use std::error::Error;
use std::time::Instant;

use qconfig::backends::QNNPACK;
use qconfig::kernels::glue;
use qconfig::runtime::{Plan, Session, SessionOptions, include_plan};

/// What `digits --save` wrote.
static PLAN: &[u8] = include_plan!("../data/digits.plan");

/// Sixteen digits of the evaluation set: a label, then 28 x 28 pixels.
static SAMPLES: &[u8] = include_bytes!("../data/samples.bin");

const SIDE: usize = 28;

fn main() -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let plan = Plan::from_bytes(PLAN, |name| {
        QNNPACK.kernel_named(name).or_else(|| glue(name))
    })?;
    let mut session = Session::new(&plan, SessionOptions::new()?)?;
    let ready = start.elapsed();

    let (mut input, mut logits) = ([0.0f32; SIDE * SIDE], [0.0f32; 10]);
    let (mut right, mut count, mut first) = (0, 0, None);
    for sample in SAMPLES.chunks_exact(1 + SIDE * SIDE) {
        let (label, pixels) = sample.split_at(1);
        for (x, pixel) in input.iter_mut().zip(pixels) {
            *x = (f32::from(*pixel) / 255.0 - 0.1307) / 0.3081;
        }
        session.set_input_f32(0, &input)?;
        session.run()?;
        session.output_f32(0, &mut logits)?;
        first.get_or_insert(start.elapsed());
        let class = logits
            .iter()
            .enumerate()
            .max_by(|a, b| a.1.total_cmp(b.1))
            .map_or(0, |(class, _)| class);
        if count < 2 {
            draw(pixels);
        }
        println!("digit {count:2}: is {}, answered {class}", label[0]);
        count += 1;
        right += usize::from(class == usize::from(label[0]));
    }
    println!(
        "\n{right} of {count} right; ready after {:.0} us, first answer after {:.0} us; {} KiB of plan, {} KiB of memory, {}",
        ready.as_secs_f64() * 1e6,
        first.unwrap_or_default().as_secs_f64() * 1e6,
        PLAN.len() / 1024,
        session.memory_bytes() / 1024,
        session.isa(),
    );
    if right == count {
        Ok(())
    } else {
        Err("a digit was answered wrong".into())
    }
}

/// Two pixels a character.
fn draw(pixels: &[u8]) {
    let rows: Vec<&[u8]> = pixels.chunks_exact(SIDE).collect();
    for pair in rows.chunks_exact(2) {
        let line =
            pair[0]
                .iter()
                .zip(pair[1])
                .map(|(top, bottom)| match (*top > 96, *bottom > 96) {
                    (true, true) => '\u{2588}',
                    (true, false) => '\u{2580}',
                    (false, true) => '\u{2584}',
                    (false, false) => ' ',
                });
        println!("{}", line.collect::<String>().trim_end());
    }
}
