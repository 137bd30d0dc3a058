//! Operators that exporters take apart, put together again: what a backend's patterns and fast kernels
//! know is one node.

use std::collections::{BTreeMap, BTreeSet};

use super::quantized;
use crate::array::Array;
use crate::attributes::{Attribute, Attributes};
use crate::model::{Model, Node};

/// A model as nodes that make and read values.
pub(super) struct View<'m> {
    nodes: &'m [Node],
    /// The node that makes a value.
    makers: BTreeMap<&'m str, usize>,
    constants: BTreeMap<&'m str, &'m Array>,
}

impl<'m> View<'m> {
    fn new(model: &'m Model) -> Self {
        let mut makers = BTreeMap::new();
        let mut constants: BTreeMap<&str, &Array> = model
            .initializers
            .iter()
            .map(|(name, array)| (name.as_str(), array))
            .collect();
        for (at, node) in model.nodes.iter().enumerate() {
            for output in &node.outputs {
                makers.insert(output.as_str(), at);
            }
            if node.op_type == "Constant"
                && let (Some(output), Ok(Some(value))) =
                    (node.outputs.first(), node.attributes.opt_tensor("value"))
            {
                constants.insert(output, value);
            }
            // exporters share equal weights so
            if node.op_type == "Identity"
                && let ([input], [output]) = (node.inputs.as_slice(), node.outputs.as_slice())
                && let Some(value) = constants.get(input.as_str()).copied()
            {
                constants.insert(output, value);
            }
        }
        Self {
            nodes: &model.nodes,
            makers,
            constants,
        }
    }

    /// The node that makes a value, if it is of that kind.
    pub(super) fn made(&self, value: &str, kind: &str) -> Option<&'m Node> {
        let node = self.nodes.get(*self.makers.get(value)?)?;
        (node.op_type == kind && node.domain.is_empty()).then_some(node)
    }

    /// A value that the file holds.
    pub(super) fn constant(&self, value: &str) -> Option<&'m Array> {
        self.constants.get(value).copied()
    }

    /// The one number that a value is.
    pub(super) fn number(&self, value: &str) -> Option<f32> {
        match self.constants.get(value)?.to_f32()?[..] {
            [one] => Some(one),
            _ => None,
        }
    }

    fn is(&self, value: &str, wanted: f32) -> bool {
        self.number(value)
            .is_some_and(|found| (found - wanted).abs() <= 1e-5 * wanted.abs().max(1e-5))
    }

    /// The operand of a node beside one that a test accepts, either way round.
    fn beside<'n>(&self, node: &'n Node, accepts: impl Fn(&str) -> bool) -> Option<&'n str> {
        match node.inputs.as_slice() {
            [a, b] if accepts(b) => Some(a),
            [a, b] if accepts(a) => Some(b),
            _ => None,
        }
    }

    /// `x` of `x * 0.5 * (1 + erf(x / sqrt(2)))`, in the orders that exporters write.
    fn gelu(&self, root: &Node) -> Option<&'m str> {
        let root_inputs = match root.inputs.as_slice() {
            [a, b] if root.op_type == "Mul" => [a.as_str(), b.as_str()],
            _ => return None,
        };
        // (x * (1 + erf)) * 0.5, or (x * 0.5) * (1 + erf)
        for [rest, other] in [root_inputs, [root_inputs[1], root_inputs[0]]] {
            if self.is(other, 0.5)
                && let Some(product) = self.made(rest, "Mul")
            {
                for [x, sum] in pairs(product) {
                    if self.erf_of(sum).is_some_and(|of| of == x) {
                        return Some(x);
                    }
                }
            }
            if let Some(half) = self.made(rest, "Mul")
                && let Some(x) = self.beside(half, |value| self.is(value, 0.5))
                && self.erf_of(other).is_some_and(|of| of == x)
            {
                return self.value(x);
            }
        }
        None
    }

    /// A name that lives as long as the model.
    fn value(&self, name: &str) -> Option<&'m str> {
        self.nodes
            .iter()
            .flat_map(|node| &node.inputs)
            .map(String::as_str)
            .find(|found| *found == name)
    }

    /// `x` of `1 + erf(x / sqrt(2))`.
    fn erf_of(&self, value: &str) -> Option<&'m str> {
        let sum = self.made(value, "Add")?;
        let erf = self.beside(sum, |value| self.is(value, 1.0))?;
        let erf = self.made(erf, "Erf")?;
        let scaled = erf.inputs.first()?;
        if let Some(div) = self.made(scaled, "Div")
            && let [x, by] = div.inputs.as_slice()
            && self.is(by, std::f32::consts::SQRT_2)
        {
            return Some(x);
        }
        let mul = self.made(scaled, "Mul")?;
        let x = self.beside(mul, |value| self.is(value, std::f32::consts::FRAC_1_SQRT_2))?;
        self.value(x)
    }

    /// `x` of `x * clip(x + 3, 0, 6) / 6`, in the orders that exporters write.
    fn hard_swish(&self, root: &Node) -> Option<&'m str> {
        let (product, is_sixth) = match (root.op_type.as_str(), root.inputs.as_slice()) {
            ("Div", [rest, six]) if self.is(six, 6.0) => (self.made(rest, "Mul")?, true),
            ("Mul", [_, _]) => (root, false),
            _ => return None,
        };
        for [x, gate] in pairs(product) {
            let clip = if is_sixth {
                gate
            } else {
                let div = self.made(gate, "Div");
                match div.map(|div| div.inputs.as_slice()) {
                    Some([clip, six]) if self.is(six, 6.0) => clip.as_str(),
                    _ => continue,
                }
            };
            if self.relu6_of_plus_3(clip).is_some_and(|of| of == x) {
                return self.value(x);
            }
        }
        None
    }

    /// `x` of `clip(x + 3, 0, 6)`.
    fn relu6_of_plus_3(&self, value: &str) -> Option<&'m str> {
        let clip = self.made(value, "Clip")?;
        let bound = |at: usize, name: &str, wanted: f32| match clip.inputs.get(at) {
            Some(input) if !input.is_empty() => {
                self.number(input).is_some_and(|found| found == wanted)
            }
            _ => matches!(clip.attributes.opt_float(name), Ok(Some(found)) if *found == wanted),
        };
        if !bound(1, "min", 0.0) || !bound(2, "max", 6.0) {
            return None;
        }
        let sum = self.made(clip.inputs.first()?, "Add")?;
        let x = self.beside(sum, |value| self.is(value, 3.0))?;
        self.value(x)
    }

    /// `x` of `x * sigmoid(x)`.
    fn silu(&self, root: &Node) -> Option<&'m str> {
        if root.op_type != "Mul" {
            return None;
        }
        for [x, gate] in pairs(root) {
            let sigmoid = self.made(gate, "Sigmoid");
            if sigmoid
                .and_then(|node| node.inputs.first())
                .is_some_and(|of| of == x)
            {
                return self.value(x);
            }
        }
        None
    }

    /// Input, weight, bias and epsilon of a layer normalization over the last dimension:
    /// `d = x - mean(x); d / sqrt(mean(d^2) + epsilon) * weight + bias`.
    fn layer_norm(&self, root: &Node) -> Option<LayerNorm> {
        if root.op_type != "Add" {
            return None;
        }
        let is_vector = |value: &str| {
            let constant = self.constants.get(value);
            constant.is_some_and(|array| array.shape().len() == 1)
        };
        let scaled = self.beside(root, is_vector)?;
        let bias = self.beside(root, |value| value == scaled)?;
        let mul = self.made(scaled, "Mul")?;
        let normal = self.beside(mul, is_vector)?;
        let weight = self.beside(mul, |value| value == normal)?;
        let div = self.made(normal, "Div")?;
        let [centred, deviation] = div.inputs.as_slice() else {
            return None;
        };
        let sub = self.made(centred, "Sub")?;
        let [x, mean] = sub.inputs.as_slice() else {
            return None;
        };
        self.mean_of_last(mean).filter(|of| *of == x)?;
        let sum = self.made(self.made(deviation, "Sqrt")?.inputs.first()?, "Add")?;
        let variance = self.beside(sum, |value| self.number(value).is_some())?;
        let epsilon = self.beside(sum, |value| value == variance)?;
        let square = self.mean_of_last(variance)?;
        let is_square = match (self.made(square, "Pow"), self.made(square, "Mul")) {
            (Some(pow), _) => {
                pow.inputs.first() == Some(centred) && self.is(pow.inputs.get(1)?, 2.0)
            }
            (None, Some(mul)) => mul.inputs.iter().all(|input| input == centred),
            _ => false,
        };
        is_square.then(|| LayerNorm {
            inputs: [x.clone(), weight.to_owned(), bias.to_owned()],
            epsilon: self.number(epsilon).unwrap_or(1e-5),
        })
    }

    /// `x` of a mean over the last dimension that stays.
    fn mean_of_last(&self, value: &str) -> Option<&'m str> {
        let mean = self.made(value, "ReduceMean")?;
        let axes = match mean.inputs.get(1) {
            Some(axes) => self.constants.get(axes.as_str())?.to_i64()?,
            None => mean.attributes.opt_ints("axes").ok()??.clone(),
        };
        let keeps = mean.attributes.flag("keepdims", true).ok()?;
        (axes == [-1] && keeps).then(|| mean.inputs.first().map(String::as_str))?
    }
}

struct LayerNorm {
    inputs: [String; 3],
    epsilon: f32,
}

/// The operands of a node of two, both ways round.
pub(super) fn pairs(node: &Node) -> Vec<[&str; 2]> {
    match node.inputs.as_slice() {
        [a, b] => vec![[a, b], [b, a]],
        _ => Vec::new(),
    }
}

/// A node, or the operator that it is the last part of.
fn whole(view: &View<'_>, node: &Node) -> Node {
    if !node.domain.is_empty() {
        return node.clone();
    }
    let one = |op_type: &str, x: &str| Node {
        op_type: op_type.into(),
        inputs: vec![x.to_owned()],
        attributes: Attributes::default(),
        ..node.clone()
    };
    if let Some(x) = view.gelu(node) {
        one("Gelu", x)
    } else if let Some(x) = view.hard_swish(node) {
        one("HardSwish", x)
    } else if let Some(x) = view.silu(node) {
        one("Silu", x)
    } else if let Some(norm) = view.layer_norm(node) {
        Node {
            op_type: "LayerNormalization".into(),
            inputs: norm.inputs.to_vec(),
            attributes: Attributes::from([("epsilon".into(), Attribute::Float(norm.epsilon))]),
            ..node.clone()
        }
    } else {
        node.clone()
    }
}

/// The model with recognised operators as one node each, and without the nodes that nothing reads.
pub(super) fn recognised(model: &Model) -> Vec<Node> {
    let view = View::new(model);
    let mut nodes: Vec<Node> = Vec::new();
    // a constant that several products share is made once
    let mut made = BTreeSet::new();
    for node in &model.nodes {
        match quantized::dynamic(&view, node) {
            None => nodes.push(whole(&view, node)),
            Some(parts) => nodes.extend(
                parts
                    .into_iter()
                    .filter(|part| made.insert(part.outputs.clone())),
            ),
        }
    }
    let mut wanted: BTreeSet<String> = model.outputs.iter().cloned().collect();
    let mut kept = Vec::new();
    while let Some(node) = nodes.pop() {
        if node.outputs.iter().any(|output| wanted.contains(output)) {
            wanted.extend(node.inputs.iter().cloned());
            kept.push(node);
        }
    }
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(op_type: &str, inputs: &[&str], output: &str) -> Node {
        Node {
            name: output.into(),
            op_type: op_type.into(),
            domain: String::new(),
            inputs: inputs.iter().map(|name| (*name).to_owned()).collect(),
            outputs: vec![output.into()],
            attributes: Attributes::default(),
        }
    }

    fn found(nodes: Vec<Node>, constants: &[(&str, f32)]) -> Vec<(String, Vec<String>)> {
        let model = Model {
            outputs: vec!["y".into()],
            nodes,
            initializers: constants
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Array::scalar(*value)))
                .collect(),
            ..Model::default()
        };
        let nodes = recognised(&model).into_iter();
        nodes.map(|node| (node.op_type, node.inputs)).collect()
    }

    #[test]
    fn a_gelu_taken_apart_is_one_again() {
        let constants = [
            ("root", std::f32::consts::SQRT_2),
            ("one", 1.0),
            ("half", 0.5),
        ];
        let erf = || {
            vec![
                node("Div", &["x", "root"], "a"),
                node("Erf", &["a"], "b"),
                node("Add", &["b", "one"], "c"),
            ]
        };
        let gelu = [("Gelu".to_owned(), vec!["x".to_owned()])];
        let mut first = erf();
        first.extend([
            node("Mul", &["x", "c"], "d"),
            node("Mul", &["d", "half"], "y"),
        ]);
        assert_eq!(found(first, &constants), gelu);
        let mut second = erf();
        second.extend([
            node("Mul", &["x", "half"], "d"),
            node("Mul", &["d", "c"], "y"),
        ]);
        assert_eq!(found(second, &constants), gelu);
        // of another value it is none
        let mut other = erf();
        other.extend([
            node("Mul", &["z", "c"], "d"),
            node("Mul", &["d", "half"], "y"),
        ]);
        assert_eq!(found(other, &constants).len(), 5);
    }

    #[test]
    fn a_hard_swish_and_a_silu_are_recognised() {
        let constants = [("three", 3.0), ("zero", 0.0), ("six", 6.0)];
        let swish = vec![
            node("Add", &["x", "three"], "a"),
            node("Clip", &["a", "zero", "six"], "b"),
            node("Mul", &["x", "b"], "c"),
            node("Div", &["c", "six"], "y"),
        ];
        assert_eq!(
            found(swish, &constants),
            [("HardSwish".into(), vec!["x".into()])]
        );
        let silu = vec![node("Sigmoid", &["x"], "a"), node("Mul", &["a", "x"], "y")];
        assert_eq!(found(silu, &[]), [("Silu".into(), vec!["x".into()])]);
    }
}
