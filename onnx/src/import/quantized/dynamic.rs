//! Products of integers made as the model runs, as `onnxruntime.quantization.quantize_dynamic` writes them:
//! DynamicQuantizeLinear, MatMulInteger or ConvInteger, Cast, and Mul by both scales. Each becomes the operator of
//! floats that it stands for, with a mark where its input is to be quantized as it comes.
//!
//! ONNX Runtime takes scale and zero point from the range in `f32`, torch's engines in `f64` and with a least scale:
//! the integers of an input may differ by one.

use super::super::recognise::{View, pairs};
use super::plain;
use crate::attributes::{Attribute, Attributes};
use crate::model::Node;

/// On a product: its input is quantized to 8 bits as it comes.
pub(in super::super) const MARK: &str = "qconfig.dynamic";

/// An operand of integers, as floats: their value or the DequantizeLinear of a constant.
struct Operand {
    value: String,
    made: Option<Node>,
}

fn named(node: &Node, input: usize) -> Option<&str> {
    let name = node.inputs.get(input)?.as_str();
    (!name.is_empty()).then_some(name)
}

/// What integers with that scale and zero point stand for; `along` is the axis of several scales.
fn operand(
    view: &View<'_>,
    [integers, scale]: [&str; 2],
    zero_point: Option<&str>,
    along: i64,
) -> Option<Operand> {
    if let Some(dynamic) = view.made(integers, "DynamicQuantizeLinear") {
        let outputs = [integers, scale, zero_point?];
        let is_whole = dynamic.outputs.iter().map(String::as_str).eq(outputs);
        let value = dynamic.inputs.first()?.clone();
        return is_whole.then_some(Operand { value, made: None });
    }
    view.constant(integers)?;
    let inputs = [Some(integers), Some(scale), zero_point].into_iter();
    let inputs = inputs.flatten().map(str::to_owned).collect();
    let value = format!("{integers}:{scale}");
    let axis = Attributes::from([("axis".to_owned(), Attribute::Int(along))]);
    let made = plain("DequantizeLinear", inputs, value.clone(), axis);
    let made = Some(made);
    Some(Operand { value, made })
}

/// The operator of floats over two operands, in place of `root`.
fn product(
    root: &Node,
    op_type: &str,
    from: &Node,
    operands: [Operand; 2],
    bias: Option<&str>,
) -> Vec<Node> {
    let attributes = match operands[0].made {
        None => from.attributes.clone().with(MARK, Attribute::Int(1)),
        Some(_) => from.attributes.clone(),
    };
    let mut nodes = Vec::new();
    let mut inputs = Vec::new();
    for Operand { value, made } in operands {
        nodes.extend(made);
        inputs.push(value);
    }
    let output = root.outputs.first().cloned().unwrap_or_default();
    let product = match bias {
        None => output.clone(),
        Some(_) => format!("{output}:product"),
    };
    nodes.push(Node {
        name: from.name.clone(),
        op_type: op_type.into(),
        domain: String::new(),
        inputs,
        outputs: vec![product.clone()],
        attributes,
    });
    if let Some(bias) = bias {
        let inputs = vec![product, bias.to_owned()];
        nodes.push(plain("Add", inputs, output, Attributes::default()));
    }
    nodes
}

/// The nodes that a sum of integer products with its scales stands for.
pub(in super::super) fn parts(view: &View<'_>, root: &Node) -> Option<Vec<Node>> {
    let microsoft = root.domain == "com.microsoft";
    match (root.op_type.as_str(), microsoft) {
        ("Mul", false) => scaled(view, root),
        ("DequantizeLinear", false) => gathered(view, root),
        ("MatMulIntegerToFloat", true) => {
            let a = [named(root, 0)?, named(root, 2)?];
            let b = [named(root, 1)?, named(root, 3)?];
            let a = operand(view, a, named(root, 4), -1)?;
            let b = operand(view, b, named(root, 5), -1)?;
            Some(product(root, "MatMul", root, [a, b], named(root, 6)))
        }
        ("DynamicQuantizeMatMul", true) => {
            let value = named(root, 0)?.to_owned();
            let b = [named(root, 1)?, named(root, 2)?];
            let b = operand(view, b, named(root, 3), -1)?;
            let a = Operand { value, made: None };
            Some(product(root, "MatMul", root, [a, b], named(root, 4)))
        }
        _ => None,
    }
}

/// `Cast(integer product) * (scale of one operand * scale of the other)`.
fn scaled(view: &View<'_>, root: &Node) -> Option<Vec<Node>> {
    for [sum, scales] in pairs(root) {
        let (Some(cast), Some(scales)) = (view.made(sum, "Cast"), view.made(scales, "Mul")) else {
            continue;
        };
        let is_float = matches!(cast.attributes.int("to", 0), Ok(1));
        let sum = cast.inputs.first()?;
        let integer = view
            .made(sum, "MatMulInteger")
            .map(|node| (node, "MatMul", -1))
            .or_else(|| view.made(sum, "ConvInteger").map(|node| (node, "Conv", 0)));
        let Some((integer, op_type, along)) = integer.filter(|_| is_float) else {
            continue;
        };
        let (a, b) = (named(integer, 0)?, named(integer, 1)?);
        for [a_scale, b_scale] in pairs(scales) {
            let operands = (
                operand(view, [a, a_scale], named(integer, 2), -1),
                operand(view, [b, b_scale], named(integer, 3), along),
            );
            // scales of weights are constants, those of activations made with them
            let is_known = |name: &str, other: &str| {
                view.constant(name).is_some() == view.constant(other).is_some()
            };
            if let (Some(a_float), Some(b_float)) = operands
                && is_known(a, a_scale)
                && is_known(b, b_scale)
            {
                return Some(product(root, op_type, integer, [a_float, b_float], None));
            }
        }
    }
    None
}

/// Rows of a table of integers, all with one scale: rows of its floats.
fn gathered(view: &View<'_>, root: &Node) -> Option<Vec<Node>> {
    let gather = view.made(named(root, 0)?, "Gather")?;
    let (table, scale) = (named(gather, 0)?, named(root, 1)?);
    view.constant(table)?;
    view.number(scale)?;
    let Operand { value, made } = operand(view, [table, scale], named(root, 2), 0)?;
    let gather = Node {
        inputs: [vec![value], gather.inputs.get(1..)?.to_vec()].concat(),
        outputs: root.outputs.clone(),
        ..gather.clone()
    };
    Some(made.into_iter().chain([gather]).collect())
}
