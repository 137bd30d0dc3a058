//! Readers of the data in `tests/golden`; `tests/oracle/README.md` describes it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use npyz::{DType, NpyFile, TypeChar};
use qconfig_core::kernel::QParams;
use serde_json::{Map, Value};
use zip::ZipArchive;

/// A file of the golden data.
pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(name)
}

/// The text of a file; `.gz` is unpacked.
pub fn text(name: &str) -> String {
    let mut file = File::open(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut text = String::new();
    if name.ends_with(".gz") {
        flate2::read::GzDecoder::new(file).read_to_string(&mut text)
    } else {
        file.read_to_string(&mut text)
    }
    .unwrap_or_else(|error| panic!("{name}: {error}"));
    text
}

/// A JSON file.
pub fn json(name: &str) -> Value {
    serde_json::from_str(&text(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The values of one array.
#[derive(Clone, PartialEq, Debug)]
pub enum Values {
    /// `quint8`.
    U8(Vec<u8>),
    /// `qint8`, weights.
    I8(Vec<i8>),
    /// Zero points.
    I32(Vec<i32>),
    /// Real values.
    F32(Vec<f32>),
    /// Scales of observers.
    F64(Vec<f64>),
}

/// An array of a NumPy archive, flat, with its shape.
#[derive(Clone, PartialEq, Debug)]
pub struct Array {
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Values,
}

/// A NumPy archive whose `meta` is JSON.
#[derive(Debug)]
pub struct Archive {
    /// Its name within `tests/golden`.
    pub name: String,
    /// The JSON in `meta`.
    pub meta: Value,
    /// The other arrays.
    pub arrays: BTreeMap<String, Array>,
}

/// All arrays of a NumPy archive.
pub fn arrays(path: &Path) -> BTreeMap<String, Array> {
    let place = path.display();
    let file = File::open(path).unwrap_or_else(|error| panic!("{place}: {error}"));
    let mut zip = ZipArchive::new(BufReader::new(file)).expect("a NumPy archive");
    let mut arrays = BTreeMap::new();
    for at in 0..zip.len() {
        let entry = zip.by_index(at).expect("readable");
        let name = entry.name().expect("a name");
        let name = name.trim_end_matches(".npy").to_owned();
        let npy = NpyFile::new(entry).expect("a NumPy array");
        let shape = npy.shape().iter().map(|dim| *dim as usize).collect();
        let DType::Plain(dtype) = npy.dtype() else {
            panic!("{place}: {name} is a structured array")
        };
        let values = match (dtype.type_char(), dtype.size_field()) {
            (TypeChar::Uint, 1) => npy.into_vec().map(Values::U8),
            (TypeChar::Int, 1) => npy.into_vec().map(Values::I8),
            (TypeChar::Int, 4) => npy.into_vec().map(Values::I32),
            (TypeChar::Float, 4) => npy.into_vec().map(Values::F32),
            (TypeChar::Float, 8) => npy.into_vec().map(Values::F64),
            _ => panic!("{place}: {name} holds {dtype:?}"),
        };
        let values = values.unwrap_or_else(|error| panic!("{place}: {name}: {error}"));
        arrays.insert(name, Array { shape, values });
    }
    arrays
}

impl Array {
    /// Its bytes.
    pub fn u8(&self) -> &[u8] {
        let Values::U8(values) = &self.values else {
            panic!("not u8")
        };
        values
    }

    /// Its values as a weight.
    pub fn i8(&self) -> Tensor<i8> {
        let Values::I8(values) = &self.values else {
            panic!("not i8")
        };
        Tensor {
            shape: self.shape.clone(),
            data: values.clone(),
        }
    }

    /// Its real values.
    pub fn f32(&self) -> &[f32] {
        let Values::F32(values) = &self.values else {
            panic!("not f32")
        };
        values
    }
}

impl Archive {
    /// Reads all arrays of an archive.
    pub fn open(name: &str) -> Self {
        let mut arrays = arrays(&path(name));
        let meta = arrays.remove("meta").expect("a golden archive has `meta`");
        let meta = serde_json::from_slice(meta.u8()).expect("meta is JSON");
        Self {
            name: name.into(),
            meta,
            arrays,
        }
    }

    /// A numerics family with the answers of another of torch's engines, where they are other ones than those
    /// in its own archive; `None` where the engine has no such operator.
    pub fn of_engine(family: &str, engine: &str) -> Option<Self> {
        let mut archive = Self::open(&format!("numerics/{family}.npz"));
        let engines = Self::open("numerics/engines.npz");
        let known = engines.meta["engines"].as_array().expect("a list");
        assert!(known.iter().any(|name| name == engine), "no such engine");
        archive.name += &format!(" as {engine}");
        let entries = match engines.meta["families"][family].get(engine) {
            None => return Some(archive),
            Some(entries) => entries.as_array()?,
        };
        let number = |value: &Value| value.as_u64().expect("a number") as usize;
        for entry in entries {
            let fields = &mut archive.meta["cases"][number(&entry["case"])];
            if entry["y"].is_null() {
                fields["left_out"] = true.into();
                continue;
            }
            let name = if fields["y"].is_null() { "out" } else { "y" };
            let range = number(&entry["y"][0])..;
            let len = number(&entry["y"][1]);
            let answers = &mut archive.arrays.get_mut(name).expect("answers").values;
            fields[name][0] = match answers {
                Values::U8(all) => append(all, &engines.array("uint8").u8()[range][..len]),
                Values::I8(all) => append(all, &engines.array("int8").i8().data[range][..len]),
                Values::F32(all) => append(all, &engines.array("float32").f32()[range][..len]),
                other => panic!("{family}: answers are {other:?}"),
            }
            .into();
        }
        Some(archive)
    }

    /// An array by name.
    pub fn array(&self, name: &str) -> &Array {
        let found = self.arrays.get(name);
        found.unwrap_or_else(|| panic!("{} has no array `{name}`", self.name))
    }

    /// The cases of a numerics family.
    pub fn cases(&self) -> impl Iterator<Item = Case<'_>> {
        let cases = self.meta["cases"].as_array().expect("a list of cases");
        cases.iter().enumerate().map(|(index, fields)| Case {
            archive: self,
            index,
            fields: fields.as_object().expect("an object"),
        })
    }
}

/// Where the values are, once they are behind all others.
fn append<T: Copy>(all: &mut Vec<T>, more: &[T]) -> usize {
    all.extend_from_slice(more);
    all.len() - more.len()
}

/// One case of a numerics family.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    archive: &'a Archive,
    /// Its position.
    pub index: usize,
    /// Its description.
    pub fields: &'a Map<String, Value>,
}

/// A tensor in torch's logical order.
#[derive(Clone, PartialEq, Debug)]
pub struct Tensor<T> {
    /// Dimensions, channels second.
    pub shape: Vec<usize>,
    /// Row-major.
    pub data: Vec<T>,
}

impl<T: Copy> Tensor<T> {
    /// The axes after the second, then the second: NCHW to NHWC, OIHW to OHWI. Of fewer than three
    /// axes, the same.
    pub fn channels_last(&self) -> Self {
        if self.shape.len() < 3 {
            return self.clone();
        }
        let (channels, inner) = (self.shape[1], self.shape[2..].iter().product::<usize>());
        let mut data = Vec::with_capacity(self.data.len());
        for image in self.data.chunks(channels * inner) {
            for at in 0..inner {
                data.extend((0..channels).map(|c| image[c * inner + at]));
            }
        }
        let mut shape = vec![self.shape[0]];
        shape.extend(&self.shape[2..]);
        shape.push(channels);
        Self { shape, data }
    }
}

impl<'a> Case<'a> {
    /// What the case is called in a message.
    pub fn name(&self) -> String {
        format!("{} case {}", self.archive.name, self.index)
    }

    fn part(&self, name: &str) -> Option<(&'a Values, std::ops::Range<usize>, Vec<usize>)> {
        let field = self.fields.get(name)?;
        let offset = field[0].as_u64()? as usize;
        let dims = field[1].as_array()?;
        let shape: Vec<usize> = dims
            .iter()
            .map(|dim| dim.as_u64().expect("a dimension") as usize)
            .collect();
        let len = shape.iter().product::<usize>();
        Some((
            &self.archive.array(name).values,
            offset..offset + len,
            shape,
        ))
    }

    /// A quantized tensor as kernels store it: `qint8` with the sign bit flipped.
    pub fn stored(&self, name: &str) -> Tensor<u8> {
        match self.part(name) {
            Some((Values::U8(all), range, shape)) => Tensor {
                shape,
                data: all[range].to_vec(),
            },
            Some((Values::I8(all), range, shape)) => Tensor {
                shape,
                data: all[range].iter().map(|q| *q as u8 ^ 0x80).collect(),
            },
            other => panic!("{}: `{name}` is {other:?}", self.name()),
        }
    }

    /// A weight.
    pub fn i8(&self, name: &str) -> Tensor<i8> {
        let Some((Values::I8(all), range, shape)) = self.part(name) else {
            panic!("{}: `{name}` is no weight", self.name())
        };
        Tensor {
            shape,
            data: all[range].to_vec(),
        }
    }

    /// Real values, if the case has that tensor.
    pub fn f32_if_any(&self, name: &str) -> Option<Tensor<f32>> {
        let Some((Values::F32(all), range, shape)) = self.part(name) else {
            return None;
        };
        Some(Tensor {
            shape,
            data: all[range].to_vec(),
        })
    }

    /// Real values.
    pub fn f32(&self, name: &str) -> Tensor<f32> {
        let found = self.f32_if_any(name);
        found.unwrap_or_else(|| panic!("{}: `{name}` is not f32", self.name()))
    }

    /// Scales of an observer.
    pub fn f64(&self, name: &str) -> Vec<f64> {
        let Some((Values::F64(all), range, _)) = self.part(name) else {
            panic!("{}: `{name}` is not f64", self.name())
        };
        all[range].to_vec()
    }

    /// Zero points.
    pub fn i32(&self, name: &str) -> Vec<i32> {
        let Some((Values::I32(all), range, _)) = self.part(name) else {
            panic!("{}: `{name}` is not i32", self.name())
        };
        all[range].to_vec()
    }

    fn field(&self, name: &str) -> &'a Value {
        let found = self.fields.get(name);
        found.unwrap_or_else(|| panic!("{} has no `{name}`", self.name()))
    }

    /// A number.
    pub fn number(&self, name: &str) -> f64 {
        self.field(name).as_f64().expect("a number")
    }

    /// A number, or `None` where it is null.
    pub fn number_if_any(&self, name: &str) -> Option<f64> {
        self.field(name).as_f64()
    }

    /// A count.
    pub fn count(&self, name: &str) -> usize {
        self.field(name).as_u64().expect("a count") as usize
    }

    /// A list of counts.
    pub fn counts(&self, name: &str) -> Vec<usize> {
        let list = self.field(name).as_array().expect("a list");
        list.iter()
            .map(|n| n.as_u64().expect("a count") as usize)
            .collect()
    }

    /// A list of numbers.
    pub fn numbers(&self, name: &str) -> Vec<f64> {
        let list = self.field(name).as_array().expect("a list");
        list.iter().map(|n| n.as_f64().expect("a number")).collect()
    }

    /// A flag.
    pub fn flag(&self, name: &str) -> bool {
        self.field(name).as_bool().expect("a flag")
    }

    /// A word.
    pub fn word(&self, name: &str) -> &'a str {
        self.field(name).as_str().expect("a word")
    }

    /// `NAME_scale` and `NAME_zero_point`.
    pub fn qparams(&self, name: &str) -> QParams {
        QParams {
            scale: self.number(&format!("{name}_scale")) as f32,
            zero_point: self.number(&format!("{name}_zero_point")) as i32,
        }
    }
}
