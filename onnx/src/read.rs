//! From the bytes of a file to a [`Model`].

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use half::{bf16, f16};
use rten_onnx::onnx;
use rten_onnx::protobuf::{DecodeMessage, ValueReader};

use crate::array::{Array, Data, ElementType, elements, from_raw};
use crate::attributes::{Attribute, Attributes};
use crate::model::{Dimension, Input, Model, Node};
use crate::wire::{self, WireError};

/// A file is no model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file cannot be read.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Not protobuf.
    #[error("not an ONNX file: {0}")]
    Wire(WireError),
    /// Protobuf, but not of a model.
    #[error("not an ONNX file: {0}")]
    Decode(String),
    /// Another kind of protobuf file, or half a model.
    #[error("not an ONNX file: it has no {0}")]
    Missing(&'static str),
    /// A tensor is broken.
    #[error("tensor `{name}`: {problem}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// An opset that is not understood.
    #[error("opset {0} of the standard operators; {low} to {high} are read here", low = OPSETS.0, high = OPSETS.1)]
    Opset(i64),
    /// A node has no operator.
    #[error("node {0} has no operator")]
    Operator(usize),
}

/// The oldest and the newest version of the standard operators that is read.
pub(crate) const OPSETS: (i64, i64) = (1, 27);

/// Reads a model whose tensors are all in these bytes.
///
/// # Errors
/// [`ReadError`].
pub fn read(bytes: &[u8]) -> Result<Model, ReadError> {
    decode(bytes, None)
}

/// Reads a model, and tensors that it keeps in files beside it.
///
/// # Errors
/// [`ReadError`].
pub fn read_file(path: &Path) -> Result<Model, ReadError> {
    let bytes = file(path)?;
    decode(&bytes, Some(path.parent().unwrap_or(Path::new(""))))
}

fn file(path: &Path) -> Result<Vec<u8>, ReadError> {
    fs::read(path).map_err(|error| ReadError::File {
        path: path.into(),
        error,
    })
}

fn decode(bytes: &[u8], folder: Option<&Path>) -> Result<Model, ReadError> {
    wire::check(bytes).map_err(ReadError::Wire)?;
    let model =
        onnx::ModelProto::parse_buf(bytes).map_err(|error| ReadError::Decode(error.to_string()))?;
    let opset = model
        .opset_import
        .iter()
        .find(|set| matches!(set.domain.as_deref(), None | Some("" | "ai.onnx")))
        .and_then(|set| set.version)
        .unwrap_or(OPSETS.0);
    if !(OPSETS.0..=OPSETS.1).contains(&opset) {
        return Err(ReadError::Opset(opset));
    }
    let graph = model.graph.ok_or(ReadError::Missing("graph"))?;
    let mut files = Files {
        folder,
        read: BTreeMap::new(),
    };
    let mut initializers = BTreeMap::new();
    for tensor in &graph.initializer {
        let name = tensor.name.clone().unwrap_or_default();
        let array = files.array(tensor)?;
        initializers.insert(name, array);
    }
    let nodes = graph.node.iter().enumerate();
    let nodes = nodes
        .map(|(at, node)| files.node(at, node))
        .collect::<Result<_, _>>()?;
    let inputs = graph.input.iter().map(input);
    Ok(Model {
        opset,
        producer: model.producer_name.unwrap_or_default(),
        inputs: inputs
            .filter(|input| !initializers.contains_key(&input.name))
            .collect(),
        outputs: graph
            .output
            .iter()
            .map(|output| output.name.clone().unwrap_or_default())
            .collect(),
        nodes,
        initializers,
    })
}

fn input(value: &onnx::ValueInfoProto) -> Input {
    let tensor = value.r#type.as_ref().and_then(|of| of.tensor_type.as_ref());
    let number = tensor.and_then(|tensor| tensor.elem_type);
    let shape = tensor.and_then(|tensor| tensor.shape.as_ref());
    let dimension = |dim: &onnx::Dimension| match dim.dim_value.map(usize::try_from) {
        Some(Ok(size)) => Dimension::Fixed(size),
        _ => Dimension::Named(dim.dim_param.clone().unwrap_or_default()),
    };
    Input {
        name: value.name.clone().unwrap_or_default(),
        element_type: number.and_then(|number| ElementType::from_number(i64::from(number.0))),
        shape: shape.map(|shape| shape.dim.iter().map(dimension).collect()),
    }
}

/// Reads one tensor: what a `.pb` file of test data holds.
///
/// # Errors
/// [`ReadError`].
pub fn read_tensor(bytes: &[u8]) -> Result<Array, ReadError> {
    wire::check_tensor(bytes).map_err(ReadError::Wire)?;
    let tensor = onnx::TensorProto::decode(ValueReader::from_buf(bytes))
        .map_err(|error| ReadError::Decode(error.to_string()))?;
    Files {
        folder: None,
        read: BTreeMap::new(),
    }
    .array(&tensor)
}

/// The files that tensors are in.
struct Files<'a> {
    folder: Option<&'a Path>,
    read: BTreeMap<PathBuf, Vec<u8>>,
}

impl Files<'_> {
    fn node(&mut self, at: usize, node: &onnx::NodeProto) -> Result<Node, ReadError> {
        let op_type = node.op_type.clone().ok_or(ReadError::Operator(at))?;
        let name = node.name.clone().filter(|name| !name.is_empty());
        let mut attributes = Vec::new();
        for attribute in &node.attribute {
            let name = attribute.name.clone().unwrap_or_default();
            attributes.push((name, self.attribute(attribute)?));
        }
        Ok(Node {
            name: name.unwrap_or_else(|| format!("{op_type}_{at}")),
            op_type,
            domain: node
                .domain
                .clone()
                .filter(|domain| domain != "ai.onnx")
                .unwrap_or_default(),
            inputs: node.input.clone(),
            outputs: node.output.clone(),
            attributes: attributes.into_iter().collect::<Attributes>(),
        })
    }

    fn attribute(&mut self, attribute: &onnx::AttributeProto) -> Result<Attribute, ReadError> {
        use onnx::AttributeType as Type;
        Ok(match attribute.r#type {
            Some(Type::FLOAT) => Attribute::Float(attribute.f.unwrap_or_default()),
            Some(Type::INT) => Attribute::Int(attribute.i.unwrap_or_default()),
            Some(Type::STRING) => Attribute::String(attribute.s.clone().unwrap_or_default()),
            Some(Type::FLOATS) => Attribute::Floats(attribute.floats.clone()),
            Some(Type::INTS) => Attribute::Ints(attribute.ints.clone()),
            Some(Type::STRINGS) => Attribute::Strings(attribute.strings.clone()),
            Some(Type::TENSOR) => match &attribute.t {
                Some(tensor) => Attribute::Tensor(self.array(tensor)?),
                None => return Err(ReadError::Missing("tensor in an attribute that is one")),
            },
            // old files have no types: what is there tells
            None | Some(Type::UNDEFINED) => untyped(attribute),
            _ => Attribute::Graph,
        })
    }

    fn array(&mut self, tensor: &onnx::TensorProto) -> Result<Array, ReadError> {
        let name = tensor.name.clone().unwrap_or_default();
        let fail = |problem: String| ReadError::Tensor {
            name: name.clone(),
            problem,
        };
        let number = tensor.data_type.map_or(0, |number| number.0);
        let of = ElementType::from_number(i64::from(number))
            .ok_or_else(|| fail(format!("element type {number} is not supported")))?;
        let shape = tensor
            .dims
            .iter()
            .map(|dim| usize::try_from(*dim).ok())
            .collect::<Option<Vec<usize>>>()
            .filter(|shape| elements(shape).is_some())
            .ok_or_else(|| fail(format!("the shape {:?} is impossible", tensor.dims)))?;
        let count = elements(&shape).unwrap_or_default();
        let misfit = || fail(format!("its values do not fill the shape {shape:?}"));
        let data = if tensor.data_location == Some(onnx::DataLocation::EXTERNAL) {
            let bytes = self.external(tensor).map_err(&fail)?;
            from_raw(bytes, count, of).ok_or_else(misfit)?
        } else if let Some(raw) = &tensor.raw_data {
            from_raw(&raw.borrow(), count, of).ok_or_else(misfit)?
        } else if count > 0
            && matches!(
                of,
                ElementType::String | ElementType::UInt64 | ElementType::UInt32
            )
        {
            // fields that the decoder does not have
            return Err(fail(format!(
                "values of type {of:?} outside of `raw_data`: this is not supported"
            )));
        } else {
            typed(tensor, count, of)
                .ok_or_else(|| fail(format!("values of type {of:?} are not where they belong")))?
        };
        Array::new(shape.clone(), data).map_err(|_| misfit())
    }

    /// Bytes of a file beside the model.
    fn external(&mut self, tensor: &onnx::TensorProto) -> Result<&[u8], String> {
        let field = |key: &str| {
            let mut entries = tensor.external_data.iter();
            entries
                .find(|entry| entry.key.as_deref() == Some(key))
                .and_then(|entry| entry.value.as_deref())
        };
        let number = |key: &str| match field(key) {
            None => Ok(None),
            Some(text) => text
                .parse::<usize>()
                .map(Some)
                .map_err(|_| format!("its `{key}` is `{text}`, which is no number")),
        };
        let folder = self
            .folder
            .ok_or("its values are in another file, and the model was not read from one")?;
        let location = field("location").ok_or("it does not say which file its values are in")?;
        let relative = Path::new(location);
        if !relative
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
        {
            return Err(format!("`{location}` leads out of the model's folder"));
        }
        let path = folder.join(relative);
        if !self.read.contains_key(&path) {
            let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            self.read.insert(path.clone(), bytes);
        }
        let all = self.read.get(&path).map_or(&[][..], Vec::as_slice);
        let start = number("offset")?.unwrap_or(0);
        let end = match number("length")? {
            Some(length) => start.checked_add(length),
            None => Some(all.len()),
        };
        end.and_then(|end| all.get(start..end))
            .ok_or_else(|| format!("`{location}` is too short"))
    }
}

fn untyped(attribute: &onnx::AttributeProto) -> Attribute {
    if let Some(value) = attribute.i {
        Attribute::Int(value)
    } else if let Some(value) = attribute.f {
        Attribute::Float(value)
    } else if let Some(value) = &attribute.s {
        Attribute::String(value.clone())
    } else if !attribute.floats.is_empty() {
        Attribute::Floats(attribute.floats.clone())
    } else if !attribute.strings.is_empty() {
        Attribute::Strings(attribute.strings.clone())
    } else if attribute.g.is_some() {
        Attribute::Graph
    } else {
        Attribute::Ints(attribute.ints.clone())
    }
}

/// The values of a tensor that keeps them in the fields of its type.
fn typed(tensor: &onnx::TensorProto, count: usize, of: ElementType) -> Option<Data> {
    let words = &tensor.int32_data;
    let fits = |found: usize| (found == count).then_some(());
    // a tensor without elements may have no field at all
    macro_rules! words {
        ($convert:expr) => {{
            fits(words.len())?;
            words.iter().map($convert).collect()
        }};
    }
    Some(match of {
        ElementType::Float32 => Data::Float32(tensor.float_data.clone()),
        ElementType::Float64 => Data::Float64(tensor.double_data.clone()),
        ElementType::Int64 => Data::Int64(tensor.int64_data.clone()),
        ElementType::Int32 => Data::Int32(words.clone()),
        ElementType::Int16 => Data::Int16(words!(|x| *x as i16)),
        ElementType::Int8 => Data::Int8(words!(|x| *x as i8)),
        ElementType::UInt16 => Data::UInt16(words!(|x| *x as u16)),
        ElementType::UInt8 => Data::UInt8(words!(|x| *x as u8)),
        ElementType::Bool => Data::Bool(words!(|x| *x != 0)),
        ElementType::Float16 => Data::Float16(words!(|x| f16::from_bits(*x as u16))),
        ElementType::BFloat16 => Data::BFloat16(words!(|x| bf16::from_bits(*x as u16))),
        ElementType::Int4 | ElementType::UInt4 => {
            let bytes: Vec<u8> = words.iter().map(|x| *x as u8).collect();
            from_raw(&bytes, count, of)?
        }
        ElementType::UInt32 | ElementType::UInt64 | ElementType::String => {
            return (count == 0).then(|| match of {
                ElementType::UInt32 => Data::UInt32(Vec::new()),
                ElementType::UInt64 => Data::UInt64(Vec::new()),
                _ => Data::String(Vec::new()),
            });
        }
    })
}
