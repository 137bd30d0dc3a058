//! Recurrent layers and cells (`aten/src/ATen/native/RNN.cpp`).

use qconfig_core::kernel::RecurrentCell;

use super::filled;
use super::linear::product;
use crate::graph::Recurrent;
use crate::tensor::Tensor;

/// The sequence, which a cell has not, and the last states, of those shapes; `weight` gives weights that
/// take the place of the layer's own, in the order `weight_ih`, `weight_hh` of each layer and direction;
/// `factor` gives what takes the place of the values that weights are multiplied with.
pub(super) fn run<'w>(
    recurrent: &'w Recurrent,
    weight: impl Fn(usize) -> Option<&'w Tensor>,
    factor: impl Fn(&[f32]) -> Option<Vec<f32>>,
    inputs: &[&Tensor],
    shapes: &[&[usize]],
) -> Vec<Tensor> {
    let (x, initial) = (inputs[0], &inputs[1..]);
    let (steps, batch) = match *x.shape() {
        [batch, steps, _] if recurrent.batch_first => (steps, batch),
        [steps, batch, _] => (steps, batch),
        _ => (1, x.shape()[0]),
    };
    let (hidden, directions) = (recurrent.hidden(), recurrent.directions());
    let (gates, width, slab) = (
        recurrent.cell.gates() * hidden,
        directions * hidden,
        batch * hidden,
    );
    let mut source = x.data().to_vec();
    let mut last = vec![Vec::new(); recurrent.cell.states()];
    for layer in 0..recurrent.layers() {
        let mut sequence = vec![0.0; steps * batch * width];
        for direction in 0..directions {
            let index = layer * directions + direction;
            let parameters = &recurrent.gates[index];
            let linear = |x: &[f32], own: &'w Tensor, at: usize| {
                let w = weight(2 * index + at).unwrap_or(own);
                let k = w.shape()[1];
                let replaced = factor(x);
                let x = replaced.as_deref().unwrap_or(x);
                let mut y = product(x, w.data(), (x.len() / k, k, gates), true);
                if let Some(biases) = &parameters.bias {
                    for row in y.chunks_mut(gates) {
                        row.iter_mut().zip(&biases[at]).for_each(|(y, b)| *y += b);
                    }
                }
                y
            };
            let start = |kind: usize| match initial.get(kind) {
                Some(state) => state.data()[index * slab..][..slab].to_vec(),
                None => vec![0.0; slab],
            };
            let of_input = linear(&source, &parameters.weight_ih, 0);
            let (mut h, mut c) = (start(0), start(1));
            for step in 0..steps {
                let step = if direction == 1 {
                    steps - 1 - step
                } else {
                    step
                };
                let of_hidden = linear(&h, &parameters.weight_hh, 1);
                for at in 0..batch {
                    let row = if recurrent.batch_first && shapes.len() > last.len() {
                        at * steps + step
                    } else {
                        step * batch + at
                    };
                    let (i, u) = (&of_input[row * gates..], &of_hidden[at * gates..]);
                    let units = at * hidden..(at + 1) * hidden;
                    let states = h[units.clone()].iter_mut().zip(&mut c[units.clone()]);
                    for (unit, (h, c)) in states.enumerate() {
                        let gate = |gate: usize| (i[gate * hidden + unit], u[gate * hidden + unit]);
                        *h = next(recurrent.cell, gate, *h, c);
                    }
                    sequence[row * width + direction * hidden..][..hidden]
                        .copy_from_slice(&h[units]);
                }
            }
            for (last, state) in last.iter_mut().zip([h, c]) {
                last.extend(state);
            }
        }
        source = sequence;
    }
    let sequence = (shapes.len() > last.len()).then_some(source);
    let values = sequence.into_iter().chain(last);
    let pairs = shapes.iter().zip(values);
    pairs
        .map(|(shape, values)| filled(shape, values.into_iter()))
        .collect()
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// The hidden state after a step; `gate` gives a gate's share of the input and of the hidden state.
fn next(cell: RecurrentCell, gate: impl Fn(usize) -> (f32, f32), h: f32, c: &mut f32) -> f32 {
    let both = |at: usize| {
        let (i, u) = gate(at);
        u + i
    };
    match cell {
        RecurrentCell::Lstm => {
            *c = sigmoid(both(1)) * *c + sigmoid(both(0)) * both(2).tanh();
            sigmoid(both(3)) * c.tanh()
        }
        RecurrentCell::Gru => {
            let (i, u) = gate(2);
            let new = (i + u * sigmoid(both(0))).tanh();
            (h - new) * sigmoid(both(1)) + new
        }
        RecurrentCell::Tanh => both(0).tanh(),
        RecurrentCell::Relu => both(0).max(0.0),
    }
}
