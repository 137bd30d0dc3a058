use qconfig_core::kernel::RecurrentCell;

use crate::gemm::clamp;
use crate::smooth::{sigmoid, tanh};

/// Takes the states of one sequence a step on. `input` and `hidden` have the gates one behind the other,
/// each as long as `h`; `c` is empty but for an LSTM.
pub(super) fn step(cell: RecurrentCell, input: &[u8], hidden: &[u8], h: &mut [u8], c: &mut [u8]) {
    let units = h.len() / 4;
    let at = |gates: &[u8], gate: usize, unit: usize| {
        let cell = gates.as_chunks::<4>().0.get(gate * units + unit);
        f32::from_ne_bytes(cell.copied().unwrap_or_default())
    };
    for (unit, state) in h.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        let both = |gate| at(hidden, gate, unit) + at(input, gate, unit);
        let old = f32::from_ne_bytes(*state);
        let new = match cell {
            RecurrentCell::Lstm => {
                let Some(memory) = c.as_chunks_mut::<4>().0.get_mut(unit) else {
                    return;
                };
                let kept = sigmoid(both(1)) * f32::from_ne_bytes(*memory);
                let next = kept + sigmoid(both(0)) * tanh(both(2));
                *memory = next.to_ne_bytes();
                sigmoid(both(3)) * tanh(next)
            }
            RecurrentCell::Gru => {
                let reset = sigmoid(both(0));
                let new = tanh(at(input, 2, unit) + at(hidden, 2, unit) * reset);
                (old - new) * sigmoid(both(1)) + new
            }
            RecurrentCell::Tanh => tanh(both(0)),
            RecurrentCell::Relu => clamp(both(0), 0.0, f32::INFINITY),
        };
        *state = new.to_ne_bytes();
    }
}
