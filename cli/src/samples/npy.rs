//! `.npy` and `.npz` files.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read};
use std::path::Path;

use anyhow::{Context as _, bail};
use npyz::{NpyFile, TypeChar, WriterBuilder as _};
use qconfig::quantize::Tensor;

use super::{Wanted, has_extension};

/// Samples along the first dimension of an array, as many at a time as the model's batch.
pub(crate) struct Array {
    /// Of one sample.
    shape: Vec<usize>,
    values: Values,
}

enum Values {
    Floats(Vec<f32>),
    Integers(Vec<i64>),
}

impl Array {
    pub(crate) fn open(path: &Path, input: &Wanted) -> anyhow::Result<Self> {
        let file = BufReader::new(File::open(path)?);
        if !has_extension(path, "npz") {
            return read(file, input);
        }
        let mut archive = zip::ZipArchive::new(file)?;
        let name = format!("{}.npy", input.name);
        if archive.index_for_name(&name).is_none() {
            let names: Vec<_> = archive.file_names().filter_map(Result::ok).collect();
            bail!("it holds no `{name}`, but {}", names.join(", "));
        }
        read(archive.by_name(&name)?, input)
    }

    pub(crate) fn len(&self) -> usize {
        let each = self.shape.iter().product::<usize>().max(1);
        match &self.values {
            Values::Floats(values) => values.len() / each,
            Values::Integers(values) => values.len() / each,
        }
    }

    pub(crate) fn get(&self, at: usize) -> anyhow::Result<Tensor> {
        let each: usize = self.shape.iter().product();
        let range = at * each..(at + 1) * each;
        let shape = self.shape.clone();
        Ok(match &self.values {
            Values::Floats(all) => Tensor::new(shape, all.get(range).unwrap_or_default().to_vec())?,
            Values::Integers(all) => {
                Tensor::indices(shape, all.get(range).unwrap_or_default().to_vec())?
            }
        })
    }
}

fn read(reader: impl Read, input: &Wanted) -> anyhow::Result<Array> {
    let npy = NpyFile::new(reader).context("not a .npy file")?;
    let shape: Vec<usize> = npy
        .shape()
        .iter()
        .map(|size| usize::try_from(*size))
        .collect::<Result<_, _>>()?;
    // `[samples, ..]` or, for a batch of more than one, `[samples x batch, ..]`
    let fits = match (shape.split_first(), input.shape.split_first()) {
        (Some((all, rest)), Some((batch, each))) => {
            let divides = *batch > 0 && all.is_multiple_of(*batch);
            (divides && rest == each) || rest == input.shape
        }
        _ => false,
    };
    if !fits {
        bail!(
            "its shape is {shape:?}; input `{}` takes {:?}, as many behind each other as there are samples",
            input.name,
            input.shape
        );
    }
    let descr = match npy.dtype() {
        npyz::DType::Plain(plain) => plain,
        other => bail!("its type is {}; plain numbers are needed", other.descr()),
    };
    let kind = (descr.type_char(), descr.size_field());
    let values = match (input.integers, kind) {
        (true, (TypeChar::Int, 8)) => Values::Integers(all(npy)?),
        (true, (TypeChar::Int, 4)) => {
            Values::Integers(all::<i32>(npy)?.into_iter().map(i64::from).collect())
        }
        (true, _) => bail!(
            "its type is {descr}; input `{}` takes int32 or int64",
            input.name
        ),
        (false, (TypeChar::Float, 4)) => Values::Floats(all(npy)?),
        (false, (TypeChar::Float, 8)) => {
            Values::Floats(all::<f64>(npy)?.into_iter().map(|x| x as f32).collect())
        }
        (false, (TypeChar::Uint, 1)) => {
            Values::Floats(all::<u8>(npy)?.into_iter().map(f32::from).collect())
        }
        (false, _) => bail!("its type is {descr}; floats or bytes are needed"),
    };
    Ok(Array {
        shape: input.shape.clone(),
        values,
    })
}

fn all<T: npyz::Deserialize>(npy: NpyFile<impl Read>) -> anyhow::Result<Vec<T>> {
    let values = npy.data().map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(values.collect::<Result<_, _>>()?)
}

/// Integers of a `.npy` file, of any shape.
pub(crate) fn labels(path: &Path) -> anyhow::Result<Vec<i64>> {
    let npy = NpyFile::new(BufReader::new(File::open(path)?)).context("not a .npy file")?;
    let kind = match npy.dtype() {
        npyz::DType::Plain(plain) => (plain.type_char(), plain.size_field()),
        other => bail!("its type is {}; integers are needed", other.descr()),
    };
    match kind {
        (TypeChar::Int, 8) => all(npy),
        (TypeChar::Int, 4) => Ok(all::<i32>(npy)?.into_iter().map(i64::from).collect()),
        (TypeChar::Uint, 1) => Ok(all::<u8>(npy)?.into_iter().map(i64::from).collect()),
        _ => bail!("its values are not int64, int32 or uint8"),
    }
}

/// Writes floats.
pub(crate) fn save(path: &Path, shape: &[usize], values: &[f32]) -> anyhow::Result<()> {
    let write = || -> anyhow::Result<()> {
        let shape: Vec<u64> = shape.iter().map(|size| *size as u64).collect();
        let mut writer = npyz::WriteOptions::new()
            .default_dtype()
            .shape(&shape)
            .writer(BufWriter::new(File::create(path)?))
            .begin_nd()?;
        writer.extend(values)?;
        Ok(writer.finish()?)
    };
    write().with_context(|| path.display().to_string())
}
