//! From a reference model to one of ONNX: each quantized node stands between DequantizeLinear and
//! QuantizeLinear, so that other runtimes find the integers in it (the QDQ form).

mod operator;
mod quantized;

use std::collections::{BTreeMap, BTreeSet};

use qconfig_core::DType;
use qconfig_quantize::{Decision, Node as GraphNode, ReferenceModel, ValueId};

use crate::array::{Array, Data, ElementType};
use crate::attributes::{Attribute, Attributes};
use crate::model::{Dimension, Input, Model, Node};

/// A model cannot be written as ONNX.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// An operator that is not written, or not as it is quantized.
    #[error("node `{node}`: {what} is not written as ONNX")]
    Unsupported {
        /// The node.
        node: String,
        /// What it is.
        what: String,
    },
    /// The outputs have more or fewer names than there are.
    #[error("{given} names for {outputs} outputs")]
    Outputs {
        /// Names.
        given: usize,
        /// Outputs.
        outputs: usize,
    },
}

/// The version of the operators that is written.
const OPSET: i64 = 20;

/// Writes a reference model with its scales, zero points and integer weights; `outputs` names what goes
/// out.
///
/// Biases are `int32` in the scale of the products, where they fit, else floats.
///
/// # Errors
/// [`ExportError`].
pub fn export(model: &ReferenceModel, outputs: &[String]) -> Result<Model, ExportError> {
    let graph = model.graph();
    if outputs.len() != graph.outputs().len() {
        return Err(ExportError::Outputs {
            given: outputs.len(),
            outputs: graph.outputs().len(),
        });
    }
    let mut exporter = Exporter {
        model,
        to: Model {
            opset: OPSET,
            producer: "qconfig".into(),
            outputs: outputs.to_vec(),
            ..Model::default()
        },
        floats: BTreeMap::new(),
        rounded: BTreeMap::new(),
        taken: outputs.iter().cloned().collect(),
    };
    exporter.inputs();
    for (at, (node, decision)) in graph.nodes().iter().zip(model.decisions()).enumerate() {
        exporter.node(at, node, decision)?;
    }
    for (id, name) in graph.outputs().iter().zip(outputs) {
        let value = exporter.float(*id);
        exporter.emit("Identity", vec![value], name.clone(), []);
    }
    Ok(exporter.to)
}

struct Exporter<'m> {
    model: &'m ReferenceModel,
    to: Model,
    /// The name of each value as floats.
    floats: BTreeMap<ValueId, String>,
    /// The name of each value as floats that have been rounded to a dtype.
    rounded: BTreeMap<(ValueId, DType), String>,
    /// Names in use.
    taken: BTreeSet<String>,
}

impl Exporter<'_> {
    fn inputs(&mut self) {
        let graph = self.model.graph();
        for id in graph.inputs() {
            let value = graph.value(*id);
            let name = self.fresh(&value.name);
            let of = match value.dtype {
                DType::int32 => ElementType::Int32,
                DType::int64 => ElementType::Int64,
                _ => ElementType::Float32,
            };
            self.to.inputs.push(Input {
                name: name.clone(),
                element_type: Some(of),
                shape: Some(value.shape.iter().copied().map(Dimension::Fixed).collect()),
            });
            self.floats.insert(*id, name);
        }
        for (id, tensor) in graph.constants() {
            let name = self.floats(&graph.value(id).name, tensor.shape(), tensor.data());
            self.floats.insert(id, name);
        }
    }

    /// A name that nothing has yet.
    fn fresh(&mut self, wanted: &str) -> String {
        let numbered = (1usize..).map(|at| format!("{wanted}_{at}"));
        let mut names = [wanted.to_owned()].into_iter().chain(numbered);
        let name = names.find(|name| !self.taken.contains(name));
        let name = name.unwrap_or_default();
        self.taken.insert(name.clone());
        name
    }

    /// A tensor that the file holds.
    fn initializer(&mut self, wanted: &str, shape: &[usize], data: Data) -> String {
        let name = self.fresh(wanted);
        if let Ok(array) = Array::new(shape.to_vec(), data) {
            self.to.initializers.insert(name.clone(), array);
        }
        name
    }

    fn floats(&mut self, wanted: &str, shape: &[usize], values: &[f32]) -> String {
        self.initializer(wanted, shape, Data::Float32(values.to_vec()))
    }

    fn integers(&mut self, wanted: &str, values: impl IntoIterator<Item = usize>) -> String {
        let values: Vec<i64> = values.into_iter().map(|x| x as i64).collect();
        self.initializer(wanted, &[values.len()], Data::Int64(values))
    }

    fn emit<const N: usize>(
        &mut self,
        op_type: &str,
        inputs: Vec<String>,
        output: String,
        attributes: [(&str, Attribute); N],
    ) -> String {
        let attributes = attributes.into_iter();
        self.to.nodes.push(Node {
            name: output.clone(),
            op_type: op_type.into(),
            domain: String::new(),
            inputs,
            outputs: vec![output.clone()],
            attributes: attributes
                .map(|(name, value)| (name.to_owned(), value))
                .collect::<Attributes>(),
        });
        output
    }

    /// The value as floats, as its maker gives it.
    fn float(&self, id: ValueId) -> String {
        self.floats.get(&id).cloned().unwrap_or_default()
    }

    fn node(
        &mut self,
        at: usize,
        node: &GraphNode,
        decision: &Decision,
    ) -> Result<(), ExportError> {
        let unsupported = |what: &str| ExportError::Unsupported {
            node: node.name.clone(),
            what: what.into(),
        };
        let dtypes = match decision {
            Decision::Quantized(quantized) if !quantized.is_static() => {
                return Err(unsupported("a weight without quantized activations"));
            }
            Decision::WeightOnly(_) => {
                return Err(unsupported("a weight without quantized activations"));
            }
            Decision::Quantized(quantized) => {
                let dtypes = quantized.dtypes();
                let (Some(input), Some(output)) = (dtypes.input, dtypes.output) else {
                    return Err(unsupported("a dtype config without activations"));
                };
                Some((input.dtype, output.dtype))
            }
            Decision::Float(_) => None,
        };
        let inputs = match dtypes {
            Some((input, _)) => (node.inputs.iter())
                .map(|id| self.rounded(*id, input))
                .collect(),
            None => node.inputs.iter().map(|id| self.float(*id)).collect(),
        };
        if !node.more.is_empty() {
            return Err(unsupported("an operator of several outputs"));
        }
        let result = self.operator(at, node, inputs)?;
        let output = dtypes.map(|(_, output)| output);
        let result = self.activated(node, output, result);
        self.floats.insert(node.output, result);
        if let Some(dtype) = output {
            let rounded = self.rounded(node.output, dtype);
            self.floats.insert(node.output, rounded);
        }
        Ok(())
    }
}
