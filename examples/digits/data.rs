//! The digits: `examples/data/digits.npz`, compiled in so that the example runs from anywhere.

use std::error::Error;
use std::io::Cursor;

use npyz::NpyFile;
use qconfig::quantize::Tensor;
use zip::ZipArchive;

/// Images ready for the network, and what they show.
pub(crate) struct Labelled {
    /// `[1, 1, 28, 28]` each, normalised.
    pub(crate) images: Vec<Tensor>,
    /// 0 to 9.
    pub(crate) labels: Vec<u8>,
}

/// Calibration and evaluation images; no image is in both.
pub(crate) struct Digits {
    /// 256 digits.
    pub(crate) calibration: Vec<Tensor>,
    /// 2,500 digits.
    pub(crate) eval: Labelled,
}

const ARCHIVE: &[u8] = include_bytes!("../data/digits.npz");

/// Reads the archive.
pub(crate) fn load() -> Result<Digits, Box<dyn Error>> {
    Ok(Digits {
        calibration: normalised(&array("calib_images")?)?,
        eval: Labelled {
            images: normalised(&array("eval_images")?)?,
            labels: array("eval_labels")?,
        },
    })
}

fn array(name: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut archive = ZipArchive::new(Cursor::new(ARCHIVE))?;
    let entry = archive.by_name(&format!("{name}.npy"))?;
    Ok(NpyFile::new(entry)?.into_vec()?)
}

/// Sixteen digits as `digits_static` compiles them in: a label, then 28 x 28 pixels.
pub(crate) fn samples() -> Result<Vec<u8>, Box<dyn Error>> {
    let (images, labels) = (array("eval_images")?, array("eval_labels")?);
    let samples = labels.iter().zip(images.chunks_exact(28 * 28)).take(16);
    Ok(samples
        .flat_map(|(label, pixels)| [&[*label], pixels].concat())
        .collect())
}

/// `(x / 255 - 0.1307) / 0.3081`, the normalisation the network was trained with.
fn normalised(pixels: &[u8]) -> Result<Vec<Tensor>, Box<dyn Error>> {
    let image = |pixels: &[u8]| {
        let values = pixels
            .iter()
            .map(|x| (f32::from(*x) / 255.0 - 0.1307) / 0.3081)
            .collect();
        Ok(Tensor::new(vec![1, 1, 28, 28], values)?)
    };
    pixels.chunks_exact(28 * 28).map(image).collect()
}
