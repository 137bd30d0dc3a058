//! The forms of a value: its dtype, its parameters, and the order of its elements. A value is converted
//! where it is wanted in a form that it is not kept in.

use qconfig_core::kernel::{NodeOp, QParams, WeightSpec};
use qconfig_core::{DType, Kernel, KernelFamily};
use qconfig_kernels::{
    Constant, Dequantize, Quantize, Requantize, ToChannelsFirst, ToChannelsLast,
};
use qconfig_runtime::{StepInfo, TensorId, TensorInfo};

use super::{LowerError, Lowering};
use crate::graph::ValueId;
use crate::tensor::Tensor;

/// How a value's elements are ordered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Layout {
    /// As the graph has them: channels first.
    Logical,
    /// Channels last.
    ChannelsLast,
    /// `[N, features]`, the features of a channels-last value of this value's shape.
    FlatChannelsLast(ValueId),
}

/// One form of a value.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Stored {
    pub(super) tensor: TensorId,
    pub(super) dtype: DType,
    pub(super) qparams: Option<QParams>,
    pub(super) layout: Layout,
}

impl Lowering<'_> {
    pub(super) fn keep(&mut self, id: ValueId, stored: Stored) {
        self.values.entry(id).or_default().push(stored);
    }

    pub(super) fn tensor(
        &mut self,
        name: &str,
        dtype: DType,
        qparams: Option<QParams>,
        shape: &[usize],
    ) -> Result<TensorId, LowerError> {
        Ok(self.builder.tensor(TensorInfo {
            name,
            dtype,
            shape,
            qparams,
        })?)
    }

    pub(super) fn shape(&self, id: ValueId, layout: Layout) -> Vec<usize> {
        let shape = &self.model.graph.values[id.0].shape;
        match layout {
            Layout::ChannelsLast => channels_last(shape),
            Layout::Logical | Layout::FlatChannelsLast(_) => shape.clone(),
        }
    }

    /// The value in a dtype and layout, converted where it is kept in other forms only.
    pub(super) fn form(
        &mut self,
        id: ValueId,
        dtype: DType,
        qparams: Option<QParams>,
        layout: Layout,
    ) -> Result<TensorId, LowerError> {
        let layout = if is_flat(&self.model.graph.values[id.0].shape) {
            Layout::Logical
        } else {
            layout
        };
        let wanted = |stored: &&Stored| {
            (stored.dtype, stored.qparams, stored.layout) == (dtype, qparams, layout)
        };
        let forms = self.values.get(&id).cloned().unwrap_or_default();
        if let Some(found) = forms.iter().find(wanted) {
            return Ok(found.tensor);
        }
        if let Some(constant) = self.model.graph.constant(id) {
            return self.constant(id, constant, dtype, qparams, layout);
        }
        let value = &self.model.graph.values[id.0];
        // the form that is nearest: the same type, else anything
        let nearest = forms
            .iter()
            .find(|stored| (stored.dtype, stored.qparams) == (dtype, qparams))
            .or(forms.first());
        let Some(from) = nearest.copied() else {
            return Err(LowerError::NotObserved {
                value: value.name.clone(),
                dtype,
            });
        };
        if (from.dtype, from.qparams) == (dtype, qparams) {
            return self.reorder(id, from, layout);
        }
        // layouts are changed in bytes rather than in floats
        let mut from = from;
        if !dtype.is_quantized() && from.layout != layout {
            from.tensor = self.form(id, from.dtype, from.qparams, layout)?;
            from.layout = layout;
        }
        let (kernel, op, verb) = match (from.dtype.is_quantized(), dtype.is_quantized()) {
            (false, true) => (Quantize::KERNEL, NodeOp::Quantize, "quantize"),
            (true, false) => (Dequantize::KERNEL, NodeOp::Dequantize, "dequantize"),
            _ => (Requantize::KERNEL, NodeOp::Requantize, "requantize"),
        };
        let name = format!("{}:{verb}", value.name);
        let shape = self.shape(id, from.layout);
        let tensor = self.tensor(&name, dtype, qparams, &shape)?;
        self.builder
            .step(StepInfo::new(&name, kernel, op, &[from.tensor], tensor))?;
        self.keep(
            id,
            Stored {
                tensor,
                dtype,
                qparams,
                layout: from.layout,
            },
        );
        self.form(id, dtype, qparams, layout)
    }

    /// A constant in a dtype and layout, made so when the plan is.
    fn constant(
        &mut self,
        id: ValueId,
        constant: &Tensor,
        dtype: DType,
        qparams: Option<QParams>,
        layout: Layout,
    ) -> Result<TensorId, LowerError> {
        let name = &self.model.graph.values[id.0].name;
        let shape = self.shape(id, layout);
        let tensor = self.tensor(name, dtype, qparams, &shape)?;
        let order = match layout {
            Layout::ChannelsLast => channels_last_order(shape.len()),
            _ => (0..shape.len()).collect(),
        };
        let permuted = constant.permuted(&order);
        let values = permuted.data();
        self.builder.step(StepInfo {
            weight: Some(WeightSpec {
                shape: &shape,
                ..WeightSpec::float(values)
            }),
            ..StepInfo::new(name, Constant::KERNEL, NodeOp::Constant, &[], tensor)
        })?;
        self.keep(
            id,
            Stored {
                tensor,
                dtype,
                qparams,
                layout,
            },
        );
        Ok(tensor)
    }

    /// The value in the graph's order, with a new axis of size 1.
    pub(super) fn with_axis(
        &mut self,
        id: ValueId,
        dtype: DType,
        qparams: Option<QParams>,
        axis: usize,
    ) -> Result<TensorId, LowerError> {
        let from = self.form(id, dtype, qparams, Layout::Logical)?;
        let value = &self.model.graph.values[id.0];
        let (name, mut shape) = (format!("{}:row", value.name), value.shape.clone());
        shape.insert(axis, 1);
        let to = self.tensor(&name, dtype, qparams, &shape)?;
        self.builder.alias(from, to)?;
        Ok(to)
    }

    /// The value channels last as an operand of a result of that rank: what has fewer axes is aligned at
    /// the last, so that its axes are others than those it would have alone.
    pub(super) fn aligned(
        &mut self,
        id: ValueId,
        dtype: DType,
        qparams: Option<QParams>,
        rank: usize,
    ) -> Result<TensorId, LowerError> {
        let value = &self.model.graph.values[id.0];
        let missing = rank.saturating_sub(value.shape.len());
        let name = value.name.clone();
        let mut shape = vec![1; missing];
        shape.extend(&value.shape);
        if missing == 0 || is_flat(&shape) {
            return self.form(id, dtype, qparams, Layout::ChannelsLast);
        }
        let from = self.form(id, dtype, qparams, Layout::Logical)?;
        let last = channels_last(&shape);
        let to = self.tensor(&format!("{name}:aligned"), dtype, qparams, &last)?;
        if same_bytes(&shape) {
            self.builder.alias(from, to)?;
            return Ok(to);
        }
        let first = self.tensor(&format!("{name}:axes"), dtype, qparams, &shape)?;
        self.builder.alias(from, first)?;
        self.builder.step(StepInfo::new(
            &format!("{name}:layout"),
            ToChannelsLast::KERNEL,
            NodeOp::ToChannelsLast,
            &[first],
            to,
        ))?;
        Ok(to)
    }

    /// The same elements in another order.
    fn reorder(
        &mut self,
        id: ValueId,
        from: Stored,
        layout: Layout,
    ) -> Result<TensorId, LowerError> {
        let name = self.model.graph.values[id.0].name.clone();
        let typed = |lowering: &mut Self, verb: &str, shape: &[usize]| {
            lowering.tensor(&format!("{name}:{verb}"), from.dtype, from.qparams, shape)
        };
        let shape = self.shape(id, layout);
        let tensor = match (from.layout, layout) {
            (Layout::Logical, Layout::ChannelsLast) => {
                let to = typed(self, "channels_last", &shape)?;
                self.moved(
                    id,
                    ToChannelsLast::KERNEL,
                    NodeOp::ToChannelsLast,
                    from.tensor,
                    to,
                )?;
                to
            }
            (Layout::ChannelsLast, Layout::Logical) => {
                let to = typed(self, "channels_first", &shape)?;
                self.moved(
                    id,
                    ToChannelsFirst::KERNEL,
                    NodeOp::ToChannelsFirst,
                    from.tensor,
                    to,
                )?;
                to
            }
            (Layout::FlatChannelsLast(origin), _) => {
                // the kernel sees the shape that was flattened
                let (last, first) = (
                    self.shape(origin, Layout::ChannelsLast),
                    self.shape(origin, Layout::Logical),
                );
                let spatial = typed(self, "spatial", &last)?;
                self.builder.alias(from.tensor, spatial)?;
                let ordered = typed(self, "channels_first", &first)?;
                self.moved(
                    origin,
                    ToChannelsFirst::KERNEL,
                    NodeOp::ToChannelsFirst,
                    spatial,
                    ordered,
                )?;
                let flat = typed(self, "flat", &shape)?;
                self.builder.alias(ordered, flat)?;
                flat
            }
            _ => from.tensor,
        };
        self.keep(
            id,
            Stored {
                tensor,
                layout,
                ..from
            },
        );
        Ok(tensor)
    }

    /// A layout change, or another shape where both layouts have the same bytes.
    fn moved(
        &mut self,
        id: ValueId,
        kernel: &'static Kernel,
        op: NodeOp,
        from: TensorId,
        to: TensorId,
    ) -> Result<(), LowerError> {
        let value = &self.model.graph.values[id.0];
        if same_bytes(&value.shape) {
            self.builder.alias(from, to)?;
        } else {
            self.builder.step(StepInfo::new(
                &format!("{}:layout", value.name),
                kernel,
                op,
                &[from],
                to,
            ))?;
        }
        Ok(())
    }
}

/// `[N, C, spatial..]` to `[N, spatial.., C]`.
fn channels_last(shape: &[usize]) -> Vec<usize> {
    match shape {
        [n, c, spatial @ ..] if !spatial.is_empty() => [&[*n], spatial, &[*c]].concat(),
        _ => shape.to_vec(),
    }
}

/// The dimensions `[N, C, spatial..]` in the order that channels-last storage has them.
pub(super) fn channels_last_order(rank: usize) -> Vec<usize> {
    if rank < 3 {
        (0..rank).collect()
    } else {
        let spatial = 2..rank;
        [0].into_iter().chain(spatial).chain([1]).collect()
    }
}

/// No spatial dimensions: both layouts are the same.
pub(super) fn is_flat(shape: &[usize]) -> bool {
    shape.len() < 3
}

/// Both layouts have the same bytes.
fn same_bytes(shape: &[usize]) -> bool {
    match shape {
        [_, channels, spatial @ ..] => *channels == 1 || spatial.iter().all(|dim| *dim == 1),
        _ => true,
    }
}
