//! Pieces of trained models, small enough to mutate: their structure as exporters write it, their weights one number
//! repeated, which a node makes of four bytes of shape.

use std::collections::BTreeSet;

use qconfig::DType;
use qconfig::onnx::{
    Array, Attribute, Attributes, Dimension, ElementType, Imported, Input, Model, Node,
};

/// Nodes of a piece.
const NODES: usize = 12;
/// Most elements of a constant that stays as it is: shapes, axes and scalars.
const FEW: usize = 16;
/// Most elements of all weights: a sanitizer is slow, and an input should take milliseconds.
const WEIGHTS: usize = 1 << 16;

/// Windows of nodes that follow each other, as models of their own; those that read what is no value of the graph,
/// such as a shape computed before them, and those with
/// large weights are left out.
pub(crate) fn pieces(model: &Model, imported: &Imported) -> Vec<Model> {
    let windows = model.nodes.chunks(NODES);
    windows
        .filter_map(|nodes| piece(model, imported, nodes))
        .collect()
}

fn piece(model: &Model, imported: &Imported, nodes: &[Node]) -> Option<Model> {
    let made: BTreeSet<&String> = nodes.iter().flat_map(|node| &node.outputs).collect();
    let read: BTreeSet<&String> = nodes.iter().flat_map(|node| &node.inputs).collect();
    let mut piece = Model {
        opset: model.opset,
        producer: model.producer.clone(),
        ..Model::default()
    };
    let mut weights = 0;
    for name in read
        .iter()
        .filter(|name| !name.is_empty() && !made.contains(*name))
    {
        match model.initializers.get(*name) {
            Some(array) if array.len() <= FEW => {
                piece.initializers.insert((*name).clone(), array.clone());
            }
            Some(array) => {
                weights += array.len();
                let shape = format!("{name}:shape");
                let sizes = array.shape().iter().map(|size| *size as i64).collect();
                piece
                    .initializers
                    .insert(shape.clone(), Array::vector::<i64>(sizes));
                piece.nodes.push(repeated(name, shape, array)?);
            }
            None => piece.inputs.push(input(name, imported)?),
        }
    }
    (weights <= WEIGHTS).then_some(())?;
    piece.nodes.extend_from_slice(nodes);
    // constants that another part reads are no outputs of a graph
    let is_computed = |name: &&String| {
        let id = imported.values.get(*name);
        id.is_some_and(|id| imported.graph.constant(*id).is_none())
    };
    let outputs = made.into_iter().filter(|name| !read.contains(name));
    piece.outputs = outputs.filter(is_computed).cloned().collect();
    Some(piece)
}

/// The first value of an array, as often as it has values.
fn repeated(name: &str, shape: String, array: &Array) -> Option<Node> {
    let first = array.gathered(vec![1], |_| 0)?;
    Some(Node {
        name: format!("{name}:repeated"),
        op_type: "ConstantOfShape".into(),
        domain: String::new(),
        inputs: vec![shape],
        outputs: vec![name.into()],
        attributes: Attributes::from([("value".to_owned(), Attribute::Tensor(first))]),
    })
}

/// A value that another part of the model computes.
fn input(name: &str, imported: &Imported) -> Option<Input> {
    let value = imported.graph.value(*imported.values.get(name)?);
    let element_type = match value.dtype {
        DType::float32 => ElementType::Float32,
        _ => ElementType::Int64,
    };
    Some(Input {
        name: name.into(),
        element_type: Some(element_type),
        shape: Some(value.shape.iter().copied().map(Dimension::Fixed).collect()),
    })
}
