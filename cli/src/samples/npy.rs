//! `.npy` and `.npz` files.

use std::fs::File;
use std::io::{BufReader, BufWriter, Cursor, Read, Seek, Write};
use std::path::Path;

use anyhow::{Context as _, bail};
use npyz::{NpyFile, Order, TypeChar, WriterBuilder as _};
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
        read_archive(file, input)
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

/// The array of a `.npz` file that is named as the input.
pub(crate) fn read_archive(reader: impl Read + Seek, input: &Wanted) -> anyhow::Result<Array> {
    let mut archive = zip::ZipArchive::new(reader)?;
    let name = format!("{}.npy", input.name);
    if archive.index_for_name(&name).is_none() {
        let names: Vec<_> = archive.file_names().filter_map(Result::ok).collect();
        bail!("it holds no `{name}`, but {}", names.join(", "));
    }
    read(archive.by_name(&name)?, input)
}

/// Most bytes of a header: those that NumPy itself believes.
const LONGEST_HEADER: usize = 10_000;

/// A file whose header is read, and is that of plain numbers in the order of C.
///
/// The parser of headers takes a length of 4 GB at its word, brackets as deep as they come and sizes whose
/// product is no number, so those are refused before it sees them.
fn opened(mut reader: impl Read) -> anyhow::Result<NpyFile<impl Read>> {
    let mut header = Vec::new();
    let mut take = |count: usize, header: &mut Vec<u8>| -> anyhow::Result<()> {
        let found = (&mut reader).take(count as u64).read_to_end(header)?;
        if found < count {
            bail!("not a .npy file: it ends in its header");
        }
        Ok(())
    };
    take(10, &mut header)?;
    if !header.starts_with(b"\x93NUMPY") {
        bail!("not a .npy file");
    }
    let length = match header.as_slice() {
        [.., 1, _, low, high] => usize::from(u16::from_le_bytes([*low, *high])),
        _ => {
            take(2, &mut header)?;
            match header.as_slice() {
                [.., a, b, c, d] => u32::from_le_bytes([*a, *b, *c, *d]) as usize,
                _ => 0,
            }
        }
    };
    if length > LONGEST_HEADER {
        bail!("not a .npy file of plain numbers: its header has {length} bytes");
    }
    let start = header.len();
    take(length, &mut header)?;
    if !is_plain(header.get(start..).unwrap_or_default()) {
        bail!(
            "not a .npy file of plain numbers: its header has a size that cannot be, or too many brackets"
        );
    }
    let npy = NpyFile::new(Cursor::new(header).chain(reader)).context("not a .npy file")?;
    if npy.order() == Order::Fortran && npy.shape().len() > 1 {
        bail!("its values are in Fortran order; save numpy.ascontiguousarray(..) of it");
    }
    Ok(npy)
}

/// Whether the numbers in a header are decimal and their product is one, and its brackets few.
fn is_plain(text: &[u8]) -> bool {
    let opened = text.iter().filter(|byte| b"([{".contains(byte)).count();
    let mut product = Some(1u64);
    for (at, run) in text
        .chunk_by(|a, b| a.is_ascii_digit() && b.is_ascii_digit())
        .scan(0, |end, run| {
            *end += run.len();
            Some((*end, run))
        })
    {
        if !run.first().is_some_and(u8::is_ascii_digit) {
            continue;
        }
        if !text.get(at).is_some_and(|next| b",)]['\" L".contains(next)) {
            return false; // 0x10 and 1e3 are numbers too
        }
        let number = std::str::from_utf8(run)
            .ok()
            .and_then(|run| run.parse::<u64>().ok());
        product = product.and_then(|product| product.checked_mul(number?.max(1)));
    }
    opened <= 16 && product.is_some()
}

/// The array of a `.npy` file.
pub(crate) fn read(reader: impl Read, input: &Wanted) -> anyhow::Result<Array> {
    let npy = opened(reader)?;
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
        (false, _) => bail!(
            "its type is {descr}; float32, float64 or uint8 is needed: save its .astype(numpy.float32)"
        ),
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
    read_labels(BufReader::new(File::open(path)?))
}

/// As [`labels`], of the file's bytes.
pub(crate) fn read_labels(reader: impl Read) -> anyhow::Result<Vec<i64>> {
    let npy = opened(reader)?;
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

/// An array to write.
pub(crate) struct Saved<'a> {
    pub(crate) name: &'a str,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: &'a [f32],
}

impl Saved<'_> {
    fn write(&self, to: impl Write) -> anyhow::Result<()> {
        let shape: Vec<u64> = self.shape.iter().map(|size| *size as u64).collect();
        let mut writer = npyz::WriteOptions::new()
            .default_dtype()
            .shape(&shape)
            .writer(to)
            .begin_nd()?;
        writer.extend(self.values)?;
        Ok(writer.finish()?)
    }
}

/// Writes a `.npy` file.
pub(crate) fn save(path: &Path, array: &Saved<'_>) -> anyhow::Result<()> {
    let write = || array.write(BufWriter::new(File::create(path)?));
    write().with_context(|| path.display().to_string())
}

/// Writes a `.npz` file, the arrays in it by their names.
pub(crate) fn save_archive(path: &Path, arrays: &[Saved<'_>]) -> anyhow::Result<()> {
    let write = || -> anyhow::Result<()> {
        let mut archive = zip::ZipWriter::new(BufWriter::new(File::create(path)?));
        for array in arrays {
            let name = format!("{}.npy", array.name);
            archive.start_file(name, zip::write::SimpleFileOptions::default())?;
            array.write(&mut archive)?;
        }
        archive.finish()?.flush()?;
        Ok(())
    };
    write().with_context(|| path.display().to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn file(version: u8, length: &[u8], text: &str, values: &[u8]) -> Vec<u8> {
        let magic = [b"\x93NUMPY".as_slice(), &[version, 0]].concat();
        [magic.as_slice(), length, text.as_bytes(), values].concat()
    }

    fn refusal(shape: &str, order: &str) -> String {
        let text = format!("{{'descr': '<f4', 'fortran_order': {order}, 'shape': {shape}, }}\n");
        let length = u16::try_from(text.len()).unwrap().to_le_bytes();
        let bytes = file(1, &length, &text, &[0; 24]);
        let input = Wanted {
            name: "x".into(),
            shape: vec![2, 3],
            integers: false,
        };
        match read(bytes.as_slice(), &input) {
            Ok(array) => format!("{} samples", array.len()),
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn headers_that_promise_too_much_are_refused() {
        assert_eq!(refusal("(2, 3)", "False"), "1 samples");
        for shape in [
            "(9223372036854775808, 3, 2)",
            "(0, 9223372036854775808, 4)",
            "(0x7fffffffffffffff, 3)",
        ] {
            assert!(
                refusal(shape, "False").contains("a size that cannot be"),
                "{shape}"
            );
        }
        let deep = "(".repeat(5000);
        assert!(refusal(&deep, "False").contains("too many brackets"));
        let huge = file(2, &[0xff; 4], "", &[]);
        let error = read_labels(huge.as_slice()).unwrap_err().to_string();
        assert!(
            error.ends_with("its header has 4294967295 bytes"),
            "{error}"
        );
        let short = file(1, &[200, 0], "{", &[]);
        let error = read_labels(short.as_slice()).unwrap_err().to_string();
        assert!(error.ends_with("it ends in its header"), "{error}");
    }

    #[test]
    fn values_in_the_order_of_fortran_are_not_read_as_if_in_that_of_c() {
        let found = refusal("(2, 3)", "True");
        assert!(found.contains("Fortran order"), "{found}");
    }
}
