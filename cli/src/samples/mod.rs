//! What a model is calibrated, run and compared with: arrays of NumPy, or folders of images.

mod image;
mod npy;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use qconfig::quantize::Tensor;

pub(crate) use self::image::Preprocess;
pub(crate) use self::npy::{Saved, labels, save, save_archive};

/// Where one input's samples come from: `FILE`, or `INPUT=FILE`.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    input: Option<String>,
    path: PathBuf,
}

impl std::str::FromStr for Source {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.split_once('=') {
            Some((input, path)) => Self {
                input: Some(input.into()),
                path: path.into(),
            },
            None => Self {
                input: None,
                path: text.into(),
            },
        })
    }
}

/// What a model is run on.
#[derive(Args, Clone, Debug)]
pub(crate) struct DataArgs {
    /// The samples: a .npy or .npz file, a photo or a folder of photos; `INPUT=FILE` where the model has
    /// several inputs.
    #[arg(long, value_name = "FILE", required = true)]
    data: Vec<Source>,
    /// How photos become inputs, step by step.
    #[arg(long, value_name = "STEPS", default_value = "")]
    preprocess: Preprocess,
}

impl DataArgs {
    /// Opens the samples for these inputs.
    pub(crate) fn open(&self, inputs: &[Wanted]) -> anyhow::Result<Samples> {
        Samples::open(&self.data, inputs, &self.preprocess)
    }
}

/// An input that wants samples.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) integers: bool,
}

/// All samples: for each, a tensor for each input.
pub(crate) struct Samples {
    columns: Vec<Column>,
    count: usize,
}

enum Column {
    Array(npy::Array),
    Images(image::Folder),
}

impl Column {
    fn len(&self) -> usize {
        match self {
            Column::Array(array) => array.len(),
            Column::Images(folder) => folder.len(),
        }
    }
}

impl Samples {
    /// Opens the sources and holds them against the inputs.
    pub(crate) fn open(
        sources: &[Source],
        inputs: &[Wanted],
        preprocess: &Preprocess,
    ) -> anyhow::Result<Self> {
        if let Some(unknown) = sources
            .iter()
            .filter_map(|source| source.input.as_deref())
            .find(|name| inputs.iter().all(|input| input.name != *name))
        {
            let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
            bail!(
                "the model has no input `{unknown}`; it has `{}`",
                names.join("`, `")
            );
        }
        let mut columns = Vec::new();
        for input in inputs {
            let named = sources
                .iter()
                .find(|source| source.input.as_deref() == Some(&input.name));
            let source = match (named, inputs, sources) {
                (Some(source), ..) => source,
                (None, [_], [source]) if source.input.is_none() => source,
                _ => match sources.iter().find(|source| is_npz(source)) {
                    Some(source) => source,
                    None => bail!(
                        "no samples for input `{0}`; give them with --data {0}=FILE.npy",
                        input.name
                    ),
                },
            };
            let column = Self::column(source, input, preprocess)
                .with_context(|| source.path.display().to_string())?;
            columns.push(column);
        }
        let count = columns.iter().map(Column::len).min().unwrap_or(0);
        if let Some(other) = columns.iter().map(Column::len).find(|len| *len != count) {
            bail!("the inputs have {count} and {other} samples");
        }
        if count == 0 {
            bail!("there are no samples");
        }
        Ok(Self { columns, count })
    }

    fn column(source: &Source, input: &Wanted, how: &Preprocess) -> anyhow::Result<Column> {
        if source.path.is_dir() || image::is_image(&source.path) {
            Ok(Column::Images(image::Folder::open(
                &source.path,
                input,
                how,
            )?))
        } else {
            Ok(Column::Array(npy::Array::open(&source.path, input)?))
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// One sample.
    pub(crate) fn get(&self, at: usize) -> anyhow::Result<Vec<Tensor>> {
        let tensors = self.columns.iter().map(|column| match column {
            Column::Array(array) => array.get(at),
            Column::Images(folder) => folder.get(at),
        });
        tensors.collect()
    }
}

fn is_npz(source: &Source) -> bool {
    has_extension(&source.path, "npz")
}

/// Whether a file is called so.
pub(crate) fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension()
        .is_some_and(|found| found.eq_ignore_ascii_case(extension))
}
