//! Weights in storage order: output channels first, input channels last.

use qconfig_core::DType;
use qconfig_core::kernel::{WeightData, WeightSpec};

use crate::convert::QuantizedWeight;
use crate::graph::Op;
use crate::tensor::Tensor;

/// A weight in storage order.
pub(super) struct Packed<'w> {
    dtype: DType,
    shape: Vec<usize>,
    bytes: Vec<i8>,
    floats: Vec<f32>,
    scales: &'w [f32],
    zero_points: &'w [i32],
}

impl<'w> Packed<'w> {
    pub(super) fn of(weight: &'w QuantizedWeight, op: &Op, flat: Option<&[usize]>) -> Self {
        let (shape, order) = storage_order(&weight.shape, op, flat);
        Self {
            dtype: DType::qint8,
            shape,
            bytes: order.map(|at| weight.data[at]).collect(),
            floats: Vec::new(),
            scales: &weight.qparams.scales,
            zero_points: &weight.qparams.zero_points,
        }
    }

    /// Floats that a kernel takes as they are, or rounds to `dtype`.
    pub(super) fn of_float(
        weight: &Tensor,
        dtype: DType,
        op: &Op,
        flat: Option<&[usize]>,
    ) -> Packed<'static> {
        let (shape, order) = storage_order(weight.shape(), op, flat);
        Packed {
            dtype,
            shape,
            bytes: Vec::new(),
            floats: order.map(|at| weight.data()[at]).collect(),
            scales: &[],
            zero_points: &[],
        }
    }

    pub(super) fn spec(&self) -> WeightSpec<'_> {
        let data = match self.dtype {
            DType::float16 | DType::float32 => WeightData::F32(&self.floats),
            _ => WeightData::I8(&self.bytes),
        };
        WeightSpec {
            dtype: self.dtype,
            shape: &self.shape,
            data,
            scales: self.scales,
            zero_points: self.zero_points,
        }
    }
}

/// The shape of a weight in storage order, and for each element where it comes from: a convolution's
/// input channels go last; a linear layer's features follow the channels-last order of what was
/// flattened, where `flat` gives its shape.
fn storage_order(
    shape: &[usize],
    op: &Op,
    flat: Option<&[usize]>,
) -> (Vec<usize>, Box<dyn Iterator<Item = usize>>) {
    let rows = shape[0];
    let (channels, area, stored) = match (op, flat) {
        (Op::Conv(_) | Op::ConvTranspose(_), _) => {
            let area = shape[2..].iter().product();
            (shape[1], area, [&[rows], &shape[2..], &[shape[1]]].concat())
        }
        (_, Some(flat)) => (flat[1], flat[2..].iter().product(), shape.to_vec()),
        _ => (1, shape[1..].iter().product::<usize>(), shape.to_vec()),
    };
    let row = channels * area;
    let order = (0..rows * row).map(move |to| {
        let (o, rest) = (to / row, to % row);
        let (cell, c) = (rest / channels, rest % channels);
        o * row + c * area + cell
    });
    (stored, Box::new(order))
}
