//! Recurrent layers and cells.

use qconfig_core::kernel::RecurrentCell;

use crate::tensor::Tensor;

/// The parameters of one layer in one direction, gates in PyTorch's order one behind the other.
#[derive(Clone, PartialEq, Debug)]
pub struct Gates {
    /// `weight_ih`: `[gates x H, I]`; `[gates x H, directions x H]` above the first layer.
    pub weight_ih: Tensor,
    /// `weight_hh`: `[gates x H, H]`.
    pub weight_hh: Tensor,
    /// `bias_ih` and `bias_hh`, `[gates x H]` each.
    pub bias: Option<[Vec<f32>; 2]>,
}

impl Gates {
    /// Without biases.
    pub fn new(weight_ih: Tensor, weight_hh: Tensor) -> Self {
        Self {
            weight_ih,
            weight_hh,
            bias: None,
        }
    }

    /// With biases.
    #[must_use]
    pub fn bias(self, bias_ih: Tensor, bias_hh: Tensor) -> Self {
        Self {
            bias: Some([bias_ih.data().to_vec(), bias_hh.data().to_vec()]),
            ..self
        }
    }
}

/// A recurrent layer over `[T, B, I]`, or a cell over `[B, I]`.
#[derive(Clone, PartialEq, Debug)]
pub struct Recurrent {
    /// What a step computes.
    pub cell: RecurrentCell,
    /// For each layer, forwards and then, where there are two directions, backwards. Either all have
    /// biases or none.
    pub gates: Vec<Gates>,
    /// Whether each layer also runs backwards in time.
    pub bidirectional: bool,
    /// Whether sequences are `[B, T, ..]`; states are not touched by it.
    pub batch_first: bool,
}

impl Recurrent {
    /// Forwards in time, time first.
    pub fn new(cell: RecurrentCell, gates: Vec<Gates>) -> Self {
        Self {
            cell,
            gates,
            bidirectional: false,
            batch_first: false,
        }
    }

    /// In both directions.
    #[must_use]
    pub fn bidirectional(self) -> Self {
        Self {
            bidirectional: true,
            ..self
        }
    }

    /// Sequences are `[B, T, ..]`.
    #[must_use]
    pub fn batch_first(self) -> Self {
        Self {
            batch_first: true,
            ..self
        }
    }

    /// 1 or 2.
    pub fn directions(&self) -> usize {
        if self.bidirectional { 2 } else { 1 }
    }

    /// Layers above each other.
    pub fn layers(&self) -> usize {
        self.gates.len() / self.directions()
    }

    /// Units: the width of a state.
    pub fn hidden(&self) -> usize {
        let first = self.gates.first();
        let shape = first.map_or(&[][..], |gates| gates.weight_hh.shape());
        shape.last().copied().unwrap_or(0)
    }
}
