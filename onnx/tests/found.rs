//! What fuzzing found, kept: small files that ask for a lot.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;

use qconfig_onnx::{Array, Attributes, ImportOptions, Model, Node, import};

fn node(op_type: &str, input: &str, output: &str) -> Node {
    Node {
        name: output.into(),
        op_type: op_type.into(),
        domain: String::new(),
        inputs: vec![input.into()],
        outputs: vec![output.into()],
        attributes: Attributes::default(),
    }
}

/// What the importer says of nodes that begin with a constant `shape`.
fn refusal(shape: &[i64], nodes: Vec<Node>) -> String {
    let shape = Array::vector(shape.to_vec());
    let model = Model {
        opset: 17,
        outputs: vec!["out".into()],
        nodes,
        initializers: BTreeMap::from([("shape".into(), shape)]),
        ..Model::default()
    };
    import(&model, &ImportOptions::default())
        .unwrap_err()
        .to_string()
}

#[test]
fn a_constant_of_a_shape_is_not_made_as_large_as_it_says() {
    for shape in [&[1 << 28][..], &[1 << 20, 1 << 20], &[i64::MAX, 2], &[-1]] {
        let found = refusal(shape, vec![node("ConstantOfShape", "shape", "out")]);
        assert!(found.contains("impossible"), "{found}");
    }
}

#[test]
fn constants_that_are_made_again_and_again_come_to_an_end() {
    let mut nodes = vec![node("ConstantOfShape", "shape", "0")];
    for at in 0..100 {
        nodes.push(node("Neg", &at.to_string(), &(at + 1).to_string()));
    }
    nodes.push(node("Neg", "100", "out"));
    let found = refusal(&[1 << 24], nodes);
    assert!(found.contains("bytes of constants"), "{found}");
}
