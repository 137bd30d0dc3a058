//! Folders of photos.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, bail};
use image::imageops::{self, FilterType};
use image::{DynamicImage, RgbImage};
use qconfig::quantize::Tensor;

use super::{Wanted, has_extension};

pub(crate) fn is_image(path: &Path) -> bool {
    ["png", "jpg", "jpeg"]
        .iter()
        .any(|extension| has_extension(path, extension))
}

/// How a photo becomes an input; steps in the order given.
///
/// `crop=0.875,resize=224,filter=bicubic,mean=127,std=128`
#[derive(Clone, Debug)]
pub(crate) struct Preprocess {
    steps: Vec<Step>,
    mean: [f32; 3],
    std: [f32; 3],
    /// Blue first.
    bgr: bool,
    /// Pixels of all channels behind each other: `[N, H, W, C]`.
    nhwc: bool,
}

#[derive(Clone, Debug)]
enum Step {
    /// The middle, so much of the short side, square.
    CropShare(f32),
    /// The middle, so many pixels, square.
    Crop(u32),
    /// Width and height.
    Resize(u32, u32, FilterType),
    /// The short side.
    ResizeShort(u32, FilterType),
}

impl Default for Preprocess {
    fn default() -> Self {
        Self {
            steps: Vec::new(),
            mean: [0.0; 3],
            std: [255.0; 3],
            bgr: false,
            nhwc: false,
        }
    }
}

impl FromStr for Preprocess {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut made = Self::default();
        let mut filter = FilterType::Triangle;
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| format!("`{part}` is not KEY=VALUE"))?;
            let number = || {
                value
                    .parse::<f32>()
                    .map_err(|_| format!("`{key}` takes a number, not `{value}`"))
            };
            let pixels = |text: &str| match text.parse::<u32>() {
                Ok(n @ 1..=16_384) => Ok(n),
                _ => Err(format!("`{key}` takes pixels, not `{text}`")),
            };
            match key {
                "filter" => {
                    filter = match value {
                        "nearest" => FilterType::Nearest,
                        "bilinear" => FilterType::Triangle,
                        "bicubic" => FilterType::CatmullRom,
                        "lanczos" => FilterType::Lanczos3,
                        _ => {
                            return Err(format!(
                                "`filter` is nearest, bilinear, bicubic or lanczos, not `{value}`"
                            ));
                        }
                    };
                    // for the steps before it too: it is said once
                    for step in &mut made.steps {
                        if let Step::Resize(_, _, with) | Step::ResizeShort(_, with) = step {
                            *with = filter;
                        }
                    }
                }
                "crop" if value.contains('.') => match number()? {
                    share if share > 0.0 && share <= 1.0 => made.steps.push(Step::CropShare(share)),
                    _ => {
                        return Err(format!(
                            "`crop` takes pixels or a share of 1, not `{value}`"
                        ));
                    }
                },
                "crop" => made.steps.push(Step::Crop(pixels(value)?)),
                "resize" => made.steps.push(match value.split_once('x') {
                    Some((width, height)) => Step::Resize(pixels(width)?, pixels(height)?, filter),
                    None => Step::ResizeShort(pixels(value)?, filter),
                }),
                "mean" => made.mean = triple(key, value)?,
                "std" => {
                    made.std = triple(key, value)?;
                    if made.std.contains(&0.0) {
                        return Err("`std` must not be 0".into());
                    }
                }
                "colour" | "color" => {
                    made.bgr = match value {
                        "rgb" => false,
                        "bgr" => true,
                        _ => return Err(format!("`{key}` is rgb or bgr, not `{value}`")),
                    }
                }
                "layout" => {
                    made.nhwc = match value {
                        "nchw" => false,
                        "nhwc" => true,
                        _ => return Err(format!("`layout` is nchw or nhwc, not `{value}`")),
                    }
                }
                _ => {
                    return Err(format!(
                        "there is no step `{key}`; there are crop, resize, filter, mean, std, colour, layout"
                    ));
                }
            }
        }
        Ok(made)
    }
}

/// One number, or one a channel with `:` between.
fn triple(key: &str, value: &str) -> Result<[f32; 3], String> {
    let numbers: Result<Vec<f32>, _> = value.split(':').map(str::parse).collect();
    match numbers.as_deref() {
        Ok([one]) => Ok([*one; 3]),
        Ok([a, b, c]) => Ok([*a, *b, *c]),
        _ => Err(format!(
            "`{key}` takes one number or three with `:` between, not `{value}`"
        )),
    }
}

impl Preprocess {
    fn apply(&self, photo: &DynamicImage) -> RgbImage {
        let mut rgb = photo.to_rgb8();
        for step in &self.steps {
            let (width, height) = rgb.dimensions();
            let short = width.min(height).max(1);
            let square = |side: u32| {
                let side = side.clamp(1, short);
                let (x, y) = ((width - side) / 2, (height - side) / 2);
                imageops::crop_imm(&rgb, x, y, side, side).to_image()
            };
            rgb = match step {
                Step::CropShare(share) => square((short as f32 * share).round() as u32),
                Step::Crop(side) => square(*side),
                Step::Resize(width, height, filter) => {
                    imageops::resize(&rgb, *width, *height, *filter)
                }
                Step::ResizeShort(side, filter) => {
                    let scaled = |long: u32| {
                        let exact = f64::from(long) * f64::from(*side) / f64::from(short);
                        (exact.round() as u32).clamp(1, 1 << 15)
                    };
                    imageops::resize(&rgb, scaled(width), scaled(height), *filter)
                }
            };
        }
        rgb
    }
}

/// Photos, each read when it is asked for.
pub(crate) struct Folder {
    files: Vec<PathBuf>,
    shape: Vec<usize>,
    how: Preprocess,
}

impl Folder {
    pub(crate) fn open(path: &Path, input: &Wanted, how: &Preprocess) -> anyhow::Result<Self> {
        let (channels, rank) = match (how.nhwc, input.shape.as_slice()) {
            (false, [1, channels, _, _]) | (true, [1, _, _, channels]) => (*channels, 4),
            (_, shape) => (0, shape.len()),
        };
        if !matches!(channels, 1 | 3) || input.integers {
            bail!(
                "input `{}` has shape {:?} ({rank} dimensions); photos go into one image of 1 or 3 channels",
                input.name,
                input.shape
            );
        }
        let mut files = Vec::new();
        if path.is_dir() {
            for entry in fs::read_dir(path)? {
                let file = entry?.path();
                if is_image(&file) {
                    files.push(file);
                }
            }
            files.sort();
        } else {
            files.push(path.into());
        }
        if files.is_empty() {
            bail!("the folder holds no .png or .jpg");
        }
        Ok(Self {
            files,
            shape: input.shape.clone(),
            how: how.clone(),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    pub(crate) fn get(&self, at: usize) -> anyhow::Result<Tensor> {
        let path = self.files.get(at).context("there are fewer photos")?;
        let photo = image::open(path).with_context(|| path.display().to_string())?;
        let rgb = self.how.apply(&photo);
        let (height, width, channels) = match (self.how.nhwc, self.shape.as_slice()) {
            (false, [_, channels, height, width]) | (true, [_, height, width, channels]) => {
                (*height, *width, *channels)
            }
            _ => bail!("the input is not an image"),
        };
        if (rgb.height() as usize, rgb.width() as usize) != (height, width) {
            bail!(
                "{}: after preprocessing it has {}x{} pixels, the input takes {width}x{height}; say so with --preprocess resize={width}x{height}",
                path.display(),
                rgb.width(),
                rgb.height()
            );
        }
        let mut values = vec![0.0; channels * height * width];
        for (pixel, colour) in rgb.pixels().enumerate() {
            let [r, g, b] = colour.0.map(f32::from);
            let ordered = match (channels, self.how.bgr) {
                // luma of ITU-R BT.601, as Pillow's `L`
                (1, _) => [0.299 * r + 0.587 * g + 0.114 * b; 3],
                (_, false) => [r, g, b],
                (_, true) => [b, g, r],
            };
            for (c, value) in ordered.iter().take(channels).enumerate() {
                let to = match self.how.nhwc {
                    true => pixel * channels + c,
                    false => c * height * width + pixel,
                };
                if let (Some(slot), Some(mean), Some(std)) = (
                    values.get_mut(to),
                    self.how.mean.get(c),
                    self.how.std.get(c),
                ) {
                    *slot = (value - mean) / std;
                }
            }
        }
        Ok(Tensor::new(self.shape.clone(), values)?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn preprocessing_is_read_and_mistakes_are_named() {
        let made: Preprocess = "crop=0.875,resize=224x224,filter=bicubic,mean=127,std=128"
            .parse()
            .unwrap();
        assert!(matches!(
            made.steps[..],
            [
                Step::CropShare(_),
                Step::Resize(224, 224, FilterType::CatmullRom)
            ]
        ));
        assert_eq!((made.mean, made.std), ([127.0; 3], [128.0; 3]));
        for (wrong, says) in [
            ("crop", "not KEY=VALUE"),
            ("std=0", "must not be 0"),
            ("resize=0", "takes pixels"),
            ("blur=3", "there is no step `blur`"),
            ("mean=1:2", "one number or three"),
        ] {
            let error = wrong.parse::<Preprocess>().unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn the_middle_is_cut_out_and_scaled() {
        let photo = DynamicImage::ImageRgb8(RgbImage::from_fn(40, 20, |x, _| {
            image::Rgb([if (10..30).contains(&x) { 200 } else { 0 }; 3])
        }));
        let how: Preprocess = "crop=1.0,resize=10".parse().unwrap();
        let rgb = how.apply(&photo);
        assert_eq!(rgb.dimensions(), (10, 10));
        assert!(rgb.pixels().all(|pixel| pixel.0 == [200; 3]));
    }
}
