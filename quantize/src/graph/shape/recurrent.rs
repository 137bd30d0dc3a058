//! Recurrent layers and cells.

use crate::graph::{GraphProblem, Recurrent};

/// The shapes that go out: the sequence, which a cell has not, and a state of each kind.
pub(super) fn outputs(
    layer: &Recurrent,
    inputs: &[&[usize]],
) -> Result<Vec<Vec<usize>>, GraphProblem> {
    let states = layer.cell.states();
    let Some((x, initial)) = inputs.split_first() else {
        return Err(GraphProblem::Inputs {
            expected: 1,
            found: 0,
        });
    };
    if !initial.is_empty() && initial.len() != states {
        return Err(GraphProblem::Inputs {
            expected: 1 + states,
            found: inputs.len(),
        });
    }
    let misfit = |what: String| GraphProblem::Shape {
        what,
        shape: x.to_vec(),
    };
    let (hidden, directions, layers) = (layer.hidden(), layer.directions(), layer.layers());
    if layers == 0 || !layer.gates.len().is_multiple_of(directions) {
        return Err(GraphProblem::Parameter(
            "a recurrent layer has gates for each layer and direction".into(),
        ));
    }
    let (batch, features, sequence) = match **x {
        [batch, features] if (layers, directions) == (1, 1) => (batch, features, None),
        [first, second, features] => {
            let batch = if layer.batch_first { first } else { second };
            let width = directions.saturating_mul(hidden);
            (batch, features, Some(vec![first, second, width]))
        }
        _ => {
            return Err(misfit(
                "a recurrent layer takes [T, B, I] or, batch first, [B, T, I]; a cell [B, I]"
                    .into(),
            ));
        }
    };
    check_gates(layer, features)?;
    let state = match sequence {
        Some(_) => vec![layers * directions, batch, hidden],
        None => vec![batch, hidden],
    };
    if let Some(other) = initial.iter().find(|shape| **shape != state) {
        return Err(GraphProblem::Shape {
            what: format!("an initial state is {state:?}"),
            shape: other.to_vec(),
        });
    }
    let all = sequence.into_iter();
    Ok(all.chain(std::iter::repeat_n(state, states)).collect())
}

fn check_gates(layer: &Recurrent, features: usize) -> Result<(), GraphProblem> {
    let (hidden, directions) = (layer.hidden(), layer.directions());
    let parameter = |what: String| Err(GraphProblem::Parameter(what));
    let Some(rows) = layer.cell.gates().checked_mul(hidden) else {
        return parameter("the weights are too large".into());
    };
    let has_bias = layer
        .gates
        .first()
        .is_some_and(|gates| gates.bias.is_some());
    for (index, gates) in layer.gates.iter().enumerate() {
        let k = if index < directions {
            features
        } else {
            directions * hidden
        };
        for (name, weight, k) in [
            ("weight_ih", &gates.weight_ih, k),
            ("weight_hh", &gates.weight_hh, hidden),
        ] {
            if weight.shape() != [rows, k] {
                return parameter(format!(
                    "{name} {index} is {:?}, [{rows}, {k}] fits",
                    weight.shape()
                ));
            }
        }
        if gates.bias.is_some() != has_bias {
            return parameter("either all layers have biases or none".into());
        }
        for bias in gates.bias.iter().flatten() {
            if bias.len() != rows {
                return parameter(format!(
                    "a bias of {index} has {} values, {rows} fit",
                    bias.len()
                ));
            }
        }
    }
    Ok(())
}
