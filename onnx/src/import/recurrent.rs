//! Recurrent layers: ONNX orders gates and outputs in another way than PyTorch.

use qconfig_core::Spelled;
use qconfig_core::kernel::RecurrentCell;
use qconfig_core::operator::method;
use qconfig_quantize::{Gates, Movement, Op, Recurrent, Tensor, ValueId};

use super::{Bound, Importer, Place, Refusal, unsupported};
use crate::eval::{Problem, misfit};

/// The blocks of a direction's rows, `[gates x H, ..]`, in another order.
fn reordered(rows: &[f32], gates: &[usize]) -> Vec<f32> {
    let block = rows.len() / gates.len().max(1);
    let blocks = gates
        .iter()
        .map(|gate| rows.get(gate * block..(gate + 1) * block));
    blocks
        .flat_map(Option::unwrap_or_default)
        .copied()
        .collect()
}

impl Importer<'_> {
    pub(super) fn recurrent(&mut self, at: Place<'_>) -> Result<Vec<Bound>, Refusal> {
        let attributes = at.attributes();
        let shape = self.shape_of(at, 0)?;
        let (w, r) = (self.weight(at, 1)?, self.weight(at, 2)?);
        let b = self.optional_weight(at, 3)?;
        let (&[steps, batch, input], &[directions, rows, hidden]) = (&shape[..], r.shape()) else {
            return misfit("a sequence [T, B, I] and weights [D, gates x H, ..]")
                .map_err(Into::into);
        };
        if w.shape() != [directions, rows, input] || !(1..=2).contains(&directions) {
            return misfit(format!("weights {:?} and {:?}", w.shape(), r.shape()))
                .map_err(Into::into);
        }
        let bidirectional = match (attributes.string("direction", "forward")?, directions) {
            ("forward", 1) => false,
            ("bidirectional", 2) => true,
            _ => return Err(attributes.unsupported("direction").into()),
        };
        // torch: input, forget, cell, output; reset, update, new
        let (cell, order): (_, &[usize]) = match at.node.op_type.as_str() {
            "LSTM" => (RecurrentCell::Lstm, &[0, 2, 3, 1]),
            "GRU" => (RecurrentCell::Gru, &[1, 0, 2]),
            _ => (RecurrentCell::Tanh, &[0]),
        };
        if cell == RecurrentCell::Gru && !attributes.flag("linear_before_reset", false)? {
            return unsupported(
                "a GRU whose reset gate comes before the product (linear_before_reset 0)",
            );
        }
        for name in [
            "activations",
            "clip",
            "activation_alpha",
            "activation_beta",
            "layout",
        ] {
            let default: &[&str] = match cell {
                RecurrentCell::Lstm => &["Sigmoid", "Tanh", "Tanh"],
                RecurrentCell::Gru => &["Sigmoid", "Tanh"],
                _ => &["Tanh"],
            };
            let usual = match attributes.iter().find(|(found, _)| *found == name) {
                None => true,
                Some((_, crate::attributes::Attribute::Int(0))) => true,
                Some((_, crate::attributes::Attribute::Strings(list))) => list
                    .chunks(default.len())
                    .all(|one| one.iter().map(String::as_str).eq(default.iter().copied())),
                Some(_) => false,
            };
            if !usual {
                return Err(attributes.unsupported(name).into());
            }
        }
        if let Some(lengths) = self.optional_constant(at, 4)? {
            let all = i64::try_from(steps).unwrap_or(i64::MAX);
            let whole = lengths
                .to_i64()
                .is_some_and(|list| list.iter().all(|length| *length == all));
            if !whole {
                return unsupported("sequences of different lengths");
            }
        }
        if at.node.inputs.get(7).is_some_and(|name| !name.is_empty()) {
            return unsupported("peepholes");
        }
        let gate = order.len() * hidden;
        if rows != gate {
            return misfit(format!(
                "{rows} rows of weights for a hidden size of {hidden}"
            ))
            .map_err(Into::into);
        }
        let tensor = |shape: Vec<usize>, values: Vec<f32>| {
            Tensor::new(shape, values).map_err(|error| Problem::Input(error.to_string()))
        };
        let mut gates = Vec::new();
        for d in 0..directions {
            let part = |all: &Tensor, each: usize| {
                let values = all.data().get(d * each..(d + 1) * each);
                values.unwrap_or_default().to_vec()
            };
            let ih = tensor(vec![rows, input], reordered(&part(&w, rows * input), order))?;
            let hh = tensor(
                vec![rows, hidden],
                reordered(&part(&r, rows * hidden), order),
            )?;
            let made = Gates::new(ih, hh);
            gates.push(match &b {
                None => made,
                Some(b) => {
                    let both = part(b, 2 * rows);
                    let (of_input, of_hidden) = both.split_at(rows.min(both.len()));
                    let bias = |values: &[f32]| tensor(vec![rows], reordered(values, order));
                    made.bias(bias(of_input)?, bias(of_hidden)?)
                }
            });
        }
        let mut states = Vec::new();
        for input in 5..5 + cell.states() {
            if at
                .node
                .inputs
                .get(input)
                .is_some_and(|name| !name.is_empty())
            {
                states.push(self.value(at, input)?);
            }
        }
        if !states.is_empty() && states.len() != cell.states() {
            return unsupported("one initial state of two");
        }
        let x = self.value(at, 0)?;
        let recurrent = Recurrent {
            bidirectional,
            ..Recurrent::new(cell, gates)
        };
        let outputs = self
            .builder
            .recurrent(&at.node.name, x, &states, recurrent)?;
        let mut bound = Vec::new();
        for (i, id) in outputs.into_iter().enumerate() {
            bound.push(Bound::Value(match i {
                0 => self.sequence(at, id, [steps, batch, directions, hidden])?,
                _ => id,
            }));
        }
        Ok(bound)
    }

    /// `[T, B, D x H]` as ONNX has it: `[T, D, B, H]`.
    fn sequence(
        &mut self,
        at: Place<'_>,
        id: ValueId,
        [steps, batch, directions, hidden]: [usize; 4],
    ) -> Result<ValueId, Refusal> {
        // nothing that does not matter is added
        if at.node.outputs.first().is_none_or(String::is_empty) {
            return Ok(id);
        }
        let mut name = format!("{}:directions", at.node.name);
        if directions == 1 || batch == 1 {
            let to = Op::Reshape(vec![steps, directions, batch, hidden]);
            return Ok(self
                .builder
                .node(&name, method::reshape::SPELLING, to, &[id])?);
        }
        let to = Op::Reshape(vec![steps, batch, directions, hidden]);
        let split = self
            .builder
            .node(&name, method::reshape::SPELLING, to, &[id])?;
        name += ":order";
        let order = Op::Movement(Movement::Permute(vec![0, 2, 1, 3]));
        Ok(self
            .builder
            .node(&name, method::permute::SPELLING, order, &[split])?)
    }
}
