//! Operators of integers, taken apart: DequantizeLinear for each operand, the operator of floats that the
//! name says, QuantizeLinear for the result.

use super::{Bound, Importer, plain, product};
use crate::attributes::{Attribute, Attributes};
use crate::eval::Problem;
use crate::model::Node;

/// What stands where in the inputs of an operator of integers.
struct Form {
    /// The operator of floats.
    op_type: &'static str,
    /// Positions of operands; scale and zero point follow each.
    operands: &'static [usize],
    /// The position of the result's scale.
    output: usize,
    /// The position of a bias, whose scale is the product of the operands'.
    bias: Option<usize>,
}

const fn form(op_type: &'static str, operands: &'static [usize], output: usize) -> Form {
    Form {
        op_type,
        operands,
        output,
        bias: None,
    }
}

fn of(node: &Node) -> Option<Form> {
    let microsoft = node.domain == "com.microsoft";
    Some(match (node.op_type.as_str(), microsoft) {
        ("QLinearConv", _) => Form {
            bias: Some(8),
            ..form("Conv", &[0, 3], 6)
        },
        ("QLinearMatMul", _) => form("MatMul", &[0, 3], 6),
        ("QGemm", true) => Form {
            bias: Some(6),
            ..form("Gemm", &[0, 3], 7)
        },
        ("QLinearAdd", true) => form("Add", &[0, 3], 6),
        ("QLinearMul", true) => form("Mul", &[0, 3], 6),
        ("QLinearAveragePool", true) => form("AveragePool", &[0], 3),
        ("QLinearGlobalAveragePool", true) => form("GlobalAveragePool", &[0], 3),
        ("QLinearReduceMean", true) => form("ReduceMean", &[0], 3),
        ("QLinearSigmoid", true) => form("Sigmoid", &[0], 3),
        ("QLinearLeakyRelu", true) => form("LeakyRelu", &[0], 3),
        ("QLinearSoftmax", true) => form("Softmax", &[0], 3),
        ("QLinearConcat", true) => form("Concat", &[], 0),
        _ => return None,
    })
}

/// The nodes that an operator of integers stands for; `None` for all others.
///
/// # Errors
/// [`Problem`] where inputs are missing or cannot be taken apart.
pub(in super::super) fn parts(
    importer: &mut Importer<'_>,
    node: &Node,
) -> Result<Option<Vec<Node>>, Problem> {
    let Some(form) = of(node) else {
        return Ok(None);
    };
    if node.attributes.int("channels_last", 0)? != 0 {
        return Err(node.attributes.unsupported("channels_last").into());
    }
    // older versions of the operator take all dimensions from the axis on as one
    let (version, axis) = (
        node.attributes.int("opset", 13)?,
        node.attributes.int("axis", -1)?,
    );
    if form.op_type == "Softmax" && version < 13 && axis != -1 {
        return Err(node.attributes.unsupported("axis").into());
    }
    let count = node.inputs.len();
    let concatenated: Vec<usize> = (2..count).step_by(3).collect();
    let operands = match form.operands {
        [] => &concatenated[..],
        some => some,
    };
    let input = |at: usize| match node.inputs.get(at) {
        Some(name) if !name.is_empty() => Ok(name.clone()),
        _ => Err(Problem::Missing(at)),
    };
    let mut nodes = Vec::new();
    let mut floats = Vec::new();
    for at in operands {
        let output = format!("{}:{at}", node.name);
        let mut inputs = vec![input(*at)?, input(at + 1)?];
        inputs.extend(
            node.inputs
                .get(at + 2)
                .filter(|name| !name.is_empty())
                .cloned(),
        );
        // a weight has a scale for each output channel: the first dimension of a convolution's
        let along = match (form.op_type, at) {
            ("Conv", 3) => 0,
            ("Gemm", 3) => i64::from(!node.attributes.flag("transB", false)?),
            _ => -1,
        };
        let axis = Attributes::from([("axis".to_owned(), Attribute::Int(along))]);
        nodes.push(plain("DequantizeLinear", inputs, output.clone(), axis));
        floats.push(output);
    }
    let bias = form.bias.and_then(|at| node.inputs.get(at));
    if let (Some(bias), [a, b]) = (bias.filter(|name| !name.is_empty()), operands) {
        let scales = [a + 1, b + 1].map(input);
        let [a, b] = [scales[0].clone()?, scales[1].clone()?];
        let (Some(Bound::Constant(a)), Some(Bound::Constant(b))) =
            (importer.bound.get(&a), importer.bound.get(&b))
        else {
            return Err(Problem::Unsupported("a scale that is computed".into()));
        };
        let factor = node.attributes.float("alpha", 1.0)?;
        let scale = product(a, b, factor)
            .ok_or_else(|| Problem::Unsupported("an input with several scales".into()))?;
        let (name, output) = (
            format!("{}:bias_scale", node.name),
            format!("{}:bias", node.name),
        );
        importer.bound.insert(name.clone(), Bound::Constant(scale));
        let axis = Attributes::from([("axis".to_owned(), Attribute::Int(0))]);
        nodes.push(plain(
            "DequantizeLinear",
            vec![bias.clone(), name],
            output.clone(),
            axis,
        ));
        floats.push(output);
    }
    let result = node.outputs.first().cloned().unwrap_or_default();
    let is_quantized = node
        .inputs
        .get(form.output)
        .is_some_and(|name| !name.is_empty());
    let output = match is_quantized {
        true => format!("{}:result", node.name),
        false => result.clone(),
    };
    nodes.push(Node {
        name: node.name.clone(),
        op_type: form.op_type.into(),
        domain: String::new(),
        inputs: floats,
        outputs: vec![output.clone()],
        attributes: node.attributes.clone(),
    });
    if is_quantized {
        let mut inputs = vec![output, input(form.output)?];
        let zero_point = node.inputs.get(form.output + 1);
        inputs.extend(zero_point.filter(|name| !name.is_empty()).cloned());
        nodes.push(plain(
            "QuantizeLinear",
            inputs,
            result,
            Attributes::default(),
        ));
    }
    Ok(Some(nodes))
}
