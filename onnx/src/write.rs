//! From a [`Model`] to the bytes of a file.

use std::cell::RefCell;

use rten_onnx::onnx;

use crate::array::{Array, Data, ElementType};
use crate::attributes::Attribute;
use crate::model::{Dimension, Input, Model, Node};

/// A model cannot be written.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A tensor of a type that is not written here.
    #[error("tensor `{name}`: {found:?} is not written")]
    Type {
        /// The tensor.
        name: String,
        /// Its type.
        found: ElementType,
    },
    /// An attribute that holds a graph.
    #[error("node `{0}` holds a graph, which is not written")]
    Graph(String),
    /// The encoder's own words.
    #[error("{0}")]
    Encode(String),
}

/// The version of the file format, which came with operators of version 20.
const IR: i64 = 9;

/// The bytes of a file. Outputs are written as `float32` of a shape that is not told.
///
/// # Errors
/// [`WriteError`].
pub fn write(model: &Model) -> Result<Vec<u8>, WriteError> {
    let initializers = model.initializers.iter();
    let others = model.nodes.iter().map(|node| node.domain.as_str());
    let mut domains: Vec<&str> = others.filter(|domain| !domain.is_empty()).collect();
    domains.sort_unstable();
    domains.dedup();
    let set = |domain: &str, version: i64| onnx::OperatorSetIdProto {
        domain: Some(domain.into()),
        version: Some(version),
    };
    let file = onnx::ModelProto {
        ir_version: Some(IR),
        opset_import: [set("", model.opset)]
            .into_iter()
            .chain(domains.into_iter().map(|domain| set(domain, 1)))
            .collect(),
        producer_name: Some(model.producer.clone()),
        graph: Some(onnx::GraphProto {
            node: model.nodes.iter().map(node).collect::<Result<_, _>>()?,
            initializer: initializers
                .map(|(name, array)| tensor(name, array))
                .collect::<Result<_, _>>()?,
            input: model.inputs.iter().map(input).collect(),
            output: model.outputs.iter().map(|name| output(name)).collect(),
            ..Default::default()
        }),
        ..Default::default()
    };
    file.write_buf()
        .map_err(|error| WriteError::Encode(error.to_string()))
}

fn value(name: &str, of: ElementType, shape: Option<&[Dimension]>) -> onnx::ValueInfoProto {
    let dimension = |dim: &Dimension| match dim {
        Dimension::Fixed(size) => onnx::Dimension {
            dim_value: i64::try_from(*size).ok(),
            dim_param: None,
        },
        Dimension::Named(name) => onnx::Dimension {
            dim_value: None,
            dim_param: Some(name.clone()),
        },
    };
    onnx::ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(onnx::TypeProto {
            tensor_type: Some(onnx::TypeProtoTensor {
                elem_type: Some(onnx::DataType(of.number())),
                shape: shape.map(|shape| onnx::TensorShapeProto {
                    dim: shape.iter().map(dimension).collect(),
                }),
            }),
            sequence: None,
        }),
    }
}

fn input(input: &Input) -> onnx::ValueInfoProto {
    let of = input.element_type.unwrap_or(ElementType::Float32);
    value(&input.name, of, input.shape.as_deref())
}

fn output(name: &str) -> onnx::ValueInfoProto {
    value(name, ElementType::Float32, None)
}

fn tensor(name: &str, array: &Array) -> Result<onnx::TensorProto, WriteError> {
    fn bytes<const N: usize, T: Copy>(values: &[T], to: impl Fn(T) -> [u8; N]) -> Vec<u8> {
        values.iter().flat_map(|x| to(*x)).collect()
    }
    let raw = match array.data() {
        Data::Float32(values) => bytes(values, f32::to_le_bytes),
        Data::Float64(values) => bytes(values, f64::to_le_bytes),
        Data::Int8(values) => bytes(values, i8::to_le_bytes),
        Data::Int16(values) => bytes(values, i16::to_le_bytes),
        Data::Int32(values) => bytes(values, i32::to_le_bytes),
        Data::Int64(values) => bytes(values, i64::to_le_bytes),
        Data::UInt8(values) => values.clone(),
        Data::UInt16(values) => bytes(values, u16::to_le_bytes),
        Data::UInt32(values) => bytes(values, u32::to_le_bytes),
        Data::UInt64(values) => bytes(values, u64::to_le_bytes),
        Data::Bool(values) => bytes(values, |x| [u8::from(x)]),
        other => {
            return Err(WriteError::Type {
                name: name.into(),
                found: other.element_type(),
            });
        }
    };
    let dims = array.shape().iter().map(|size| i64::try_from(*size));
    Ok(onnx::TensorProto {
        dims: dims
            .collect::<Result<_, _>>()
            .map_err(|error| WriteError::Encode(error.to_string()))?,
        data_type: Some(onnx::DataType(array.element_type().number())),
        raw_data: Some(RefCell::new(raw)),
        name: Some(name.into()),
        ..Default::default()
    })
}

fn node(node: &Node) -> Result<onnx::NodeProto, WriteError> {
    let attributes = node.attributes.iter().map(|(name, value)| {
        let (mut to, kind) = (onnx::AttributeProto::default(), onnx::AttributeType::INT);
        let kind = match value {
            Attribute::Int(x) => {
                to.i = Some(*x);
                kind
            }
            Attribute::Float(x) => {
                to.f = Some(*x);
                onnx::AttributeType::FLOAT
            }
            Attribute::String(x) => {
                to.s = Some(x.clone());
                onnx::AttributeType::STRING
            }
            Attribute::Tensor(x) => {
                to.t = Some(tensor("", x)?);
                onnx::AttributeType::TENSOR
            }
            Attribute::Floats(x) => {
                to.floats = x.clone();
                onnx::AttributeType::FLOATS
            }
            Attribute::Ints(x) => {
                to.ints = x.clone();
                onnx::AttributeType::INTS
            }
            Attribute::Strings(x) => {
                to.strings = x.clone();
                onnx::AttributeType::STRINGS
            }
            Attribute::Graph => return Err(WriteError::Graph(node.name.clone())),
        };
        to.name = Some(name.into());
        to.r#type = Some(kind);
        Ok(to)
    });
    Ok(onnx::NodeProto {
        domain: Some(node.domain.clone()),
        name: Some(node.name.clone()),
        input: node.inputs.clone(),
        output: node.outputs.clone(),
        op_type: Some(node.op_type.clone()),
        attribute: attributes.collect::<Result<_, _>>()?,
    })
}
