//! A whole model, operator by operator.

use std::collections::BTreeMap;

use crate::array::Array;
use crate::eval::{EvalError, evaluate};
use crate::model::Model;

/// A model cannot be run.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// An input was not given.
    #[error("input `{0}` was not given")]
    Input(String),
    /// A node reads a value that nothing made.
    #[error("node `{node}` reads `{value}`, which no node before it makes")]
    Value {
        /// The node; `graph outputs` for the model's own.
        node: String,
        /// The value.
        value: String,
    },
    /// An operator failed.
    #[error(transparent)]
    Node(#[from] EvalError),
}

impl Model {
    /// Computes the outputs, in order.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn run(&self, inputs: &BTreeMap<String, Array>) -> Result<Vec<Array>, RunError> {
        let mut values = self.run_all(inputs)?;
        let outputs = self.outputs.iter().map(|name| match values.remove(name) {
            Some(array) => Ok(array),
            None => match inputs.get(name).or_else(|| self.initializers.get(name)) {
                Some(array) => Ok(array.clone()),
                None => Err(RunError::Value {
                    node: "graph outputs".into(),
                    value: name.clone(),
                }),
            },
        });
        outputs.collect()
    }

    /// Computes every value that a node makes, by name.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn run_all(
        &self,
        inputs: &BTreeMap<String, Array>,
    ) -> Result<BTreeMap<String, Array>, RunError> {
        if let Some(input) = self
            .inputs
            .iter()
            .find(|input| !inputs.contains_key(&input.name))
        {
            return Err(RunError::Input(input.name.clone()));
        }
        let mut values: BTreeMap<String, Array> = BTreeMap::new();
        for node in &self.nodes {
            let mut operands = Vec::new();
            for name in &node.inputs {
                let found = values
                    .get(name)
                    .or_else(|| inputs.get(name))
                    .or_else(|| self.initializers.get(name));
                if found.is_none() && !name.is_empty() {
                    return Err(RunError::Value {
                        node: node.name.clone(),
                        value: name.clone(),
                    });
                }
                operands.push(found);
            }
            let outputs = evaluate(node, &operands, self.opset)?;
            for (name, array) in node.outputs.iter().zip(outputs) {
                if !name.is_empty() {
                    values.insert(name.clone(), array);
                }
            }
        }
        Ok(values)
    }
}
