//! Files that tests give to the command.
#![allow(dead_code, reason = "each test takes its part")]

use std::fs::File;
use std::path::Path;

use npyz::WriterBuilder as _;
use rten_onnx::onnx::{
    DataType, Dimension, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto,
    TypeProto, TypeProtoTensor, ValueInfoProto,
};

/// Writes a `.npy` file.
pub(crate) fn array<T: npyz::AutoSerialize + Copy>(path: &Path, shape: &[u64], values: &[T]) {
    let mut writer = npyz::WriteOptions::new()
        .default_dtype()
        .shape(shape)
        .writer(File::create(path).unwrap())
        .begin_nd()
        .unwrap();
    writer.extend(values).unwrap();
    writer.finish().unwrap();
}

/// A model of one operator without attributes over `x`, four numbers.
pub(crate) fn single(node: &str, operator: &str) -> Vec<u8> {
    let value = |name: &str| ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            tensor_type: Some(TypeProtoTensor {
                elem_type: Some(DataType::FLOAT),
                shape: Some(TensorShapeProto {
                    dim: vec![Dimension {
                        dim_value: Some(4),
                        dim_param: None,
                    }],
                }),
            }),
            ..TypeProto::default()
        }),
    };
    let model = ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto {
            domain: Some(String::new()),
            version: Some(17),
        }],
        graph: Some(GraphProto {
            node: vec![NodeProto {
                name: Some(node.into()),
                op_type: Some(operator.into()),
                input: vec!["x".into()],
                output: vec!["y".into()],
                ..NodeProto::default()
            }],
            input: vec![value("x")],
            output: vec![value("y")],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    };
    model.write_buf().unwrap()
}
