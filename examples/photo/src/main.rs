//! One binary with a network in it: a photo (JPEG) in, the five likeliest classes out. No file but the photo is
//! read, nothing is packed or compiled at run time.
//!
//! ```text
//! QCONFIG_PLAN=lite0.plan QCONFIG_CLASSES=classes.txt QCONFIG_MEAN=127 QCONFIG_STD=128 QCONFIG_CROP=0.875 cargo photo
//! photo dog.jpg
//! ```
//!
//! `examples/models/lite0.sh` makes that plan. Without the variables the network is that of the digits.

use std::error::Error;
use std::time::Instant;

use image::imageops::{self, FilterType};
use qconfig::runtime::{Plan, Session, SessionOptions, include_plan};

static PLAN: &[u8] = include_plan!(env!("PHOTO_PLAN"));
static CLASSES: &str = include_str!(env!("PHOTO_CLASSES"));

qconfig::kernels! {
    /// What convolutional networks for photos use: no other kernel is linked. A plan that needs one more says
    /// which.
    static KERNELS: qconfig::backends::qnnpack;

    nn::Conv2d | nn::Linear @ weighted_quint8;
    torch::add | nn::MaxPool2d | nn::AdaptiveAvgPool2d @ default_quint8;
    kernel qconfig::kernels::Quantize;
    kernel qconfig::kernels::ToChannelsLast;
    kernel qconfig::kernels::Dequantize;
}

/// What the build was given: `MEAN` and `STD` of a pixel, and the part of a photo's shorter side that is taken.
mod given {
    include!(env!("PHOTO_NUMBERS"));
}

fn main() -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let plan = Plan::from_bytes(PLAN, |name| KERNELS.named(name))?;
    let mut session = Session::new(&plan, SessionOptions::new()?)?;
    let &[1, channels, height, width] = plan
        .inputs()
        .first()
        .and_then(|id| plan.tensor(*id))
        .ok_or("the plan has no input")?
        .shape()
    else {
        return Err("the plan does not take one image".into());
    };
    let classes = plan
        .outputs()
        .first()
        .and_then(|id| plan.tensor(*id))
        .map_or(0, |tensor| tensor.shape().iter().product());
    let ready = start.elapsed();
    let mut scores = vec![0.0; classes];
    let photos: Vec<String> = std::env::args().skip(1).collect();
    if photos.is_empty() {
        // a grey picture: what the first answer takes, without a file
        session.set_input_f32(0, &vec![0.0; channels * height * width])?;
        session.run()?;
        session.output_f32(0, &mut scores)?;
    }
    for photo in &photos {
        let pixels = pixels(photo, [channels, height, width])?;
        session.set_input_f32(0, &pixels)?;
        session.run()?;
        session.output_f32(0, &mut scores)?;
        println!("{photo}");
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
        for class in order.into_iter().take(5) {
            let name = CLASSES.lines().nth(class).unwrap_or("?");
            println!("  {:>8.3}  {name}", scores[class]);
        }
    }
    println!(
        "ready after {:.1} ms, last answer after {:.1} ms; {} KiB of plan, {} KiB of memory, {}",
        ready.as_secs_f64() * 1e3,
        start.elapsed().as_secs_f64() * 1e3,
        PLAN.len() / 1024,
        session.memory_bytes() / 1024,
        session.isa(),
    );
    Ok(())
}

/// The middle of a photo, scaled, channels first.
fn pixels(photo: &str, [channels, height, width]: [usize; 3]) -> Result<Vec<f32>, Box<dyn Error>> {
    let rgb = image::open(photo)
        .map_err(|error| format!("{photo}: {error}"))?
        .to_rgb8();
    let short = rgb.width().min(rgb.height());
    let side = ((short as f32 * given::CROP) as u32).clamp(1, short);
    let (x, y) = ((rgb.width() - side) / 2, (rgb.height() - side) / 2);
    let square = imageops::crop_imm(&rgb, x, y, side, side).to_image();
    let (w, h) = (u32::try_from(width)?, u32::try_from(height)?);
    let scaled = imageops::resize(&square, w, h, FilterType::CatmullRom);
    let mut values = Vec::with_capacity(channels * height * width);
    for c in 0..channels {
        for pixel in scaled.pixels() {
            let [r, g, b] = pixel.0.map(f32::from);
            let value = match (channels, c) {
                (1, _) => 0.299 * r + 0.587 * g + 0.114 * b,
                (_, 0) => r,
                (_, 1) => g,
                _ => b,
            };
            values.push((value - given::MEAN) / given::STD);
        }
    }
    Ok(values)
}
