//! Operators that only move elements: another view of the same bytes where there is one, else a copy.

use qconfig_core::kernel::{NodeOp, Strides};
use qconfig_runtime::StepInfo;

use super::form::{Layout, Stored, channels_last_order, is_flat};
use super::way::Way;
use super::{LowerError, Lowering};
use crate::graph::{Movement, Node, Op, ValueId};
use crate::tensor::row_major;

impl Lowering<'_> {
    pub(super) fn movement(
        &mut self,
        node: &Node,
        movement: &Movement,
        way: Way<'_>,
    ) -> Result<(), LowerError> {
        if self.transposed(node.output).is_some() {
            // the products read what it reads
            return Ok(());
        }
        let input = node.inputs[0];
        let (dtype, qparams) = self.typed(input, way.input(), way)?;
        // read as it is kept, written as the next one reads
        let kept = self.values.get(&input).into_iter().flatten();
        let kept = kept
            .filter(|form| (form.dtype, form.qparams) == (dtype, qparams))
            .map(|form| form.layout)
            .find(|layout| !matches!(layout, Layout::FlatChannelsLast(_)));
        let graph = &self.model.graph;
        let (from_shape, shape) = (
            graph.values[input.0].shape.clone(),
            graph.values[node.output.0].shape.clone(),
        );
        let reader = graph.readers(node.output).next();
        let wanted = match reader {
            None => Layout::Logical,
            Some((_, reader)) if super::op::takes_any_layout(&reader.op, &shape) => {
                kept.unwrap_or(Layout::ChannelsLast)
            }
            Some((_, reader)) if matches!(reader.op, Op::Reshape(_) | Op::Flatten { .. }) => {
                Layout::Logical
            }
            Some((_, reader)) => super::op::layout(&reader.op, &shape),
        };
        let layout = |shape: &[usize], layout| {
            if is_flat(shape) {
                Layout::Logical
            } else {
                layout
            }
        };
        let from_layout = layout(&from_shape, kept.unwrap_or(Layout::ChannelsLast));
        let to_layout = layout(&shape, wanted);
        let from = self.form(input, dtype, qparams, from_layout)?;
        let to_storage = self.shape(node.output, to_layout);
        let to = self.tensor(&node.name, dtype, qparams, &to_storage)?;

        let strides = storage_strides(&from_shape, from_layout);
        let order = storage_order(shape.len(), to_layout);
        let view = movement
            .view(&from_shape)
            .ok()
            .map(|view| view.strides(&strides, order));
        let strides = view.and_then(|(steps, offset)| Strides::new(&steps, offset));
        match strides.as_ref().and_then(Strides::run) {
            Some(offset) => {
                let bytes = dtype.bits() as usize / 8;
                self.builder.view(from, offset * bytes, to)?;
            }
            None => {
                // a view of too many dimensions is refused by the kernel
                let op = NodeOp::Rearrange(strides.unwrap_or(Strides::IDENTITY));
                let kernel = self.kernel(node, way, &op)?;
                self.builder.step(StepInfo {
                    pattern: &way.pattern(node),
                    dtype_config: way.dtype_config(),
                    ..StepInfo::new(&node.name, kernel, op, &[from], to)
                })?;
            }
        }
        self.keep(
            node.output,
            Stored {
                tensor: to,
                dtype,
                qparams,
                layout: to_layout,
            },
        );
        Ok(())
    }
}

impl Lowering<'_> {
    /// The value that this one is the transpose of, last dimension for the one before, where nothing but
    /// products of matrices read it, on their right: these take either order.
    pub(super) fn transposed(&self, value: ValueId) -> Option<ValueId> {
        let graph = &self.model.graph;
        let all = graph.nodes.iter().zip(&self.model.decisions);
        let (node, decision) = { all }.find(|(node, _)| node.output == value)?;
        let Op::Movement(Movement::Permute(order)) = &node.op else {
            return None;
        };
        let way = Way::from(decision);
        let rank = order.len();
        let mut swapped: Vec<usize> = (0..rank).collect();
        swapped.swap(rank.checked_sub(2)?, rank - 1);
        let source = *node.inputs.first()?;
        let typed = |value, side| self.typed(value, side, way).ok();
        let is_same = typed(source, way.input()) == typed(value, way.output());
        let mut readers = graph.readers(value).peekable();
        let is_read = readers.peek().is_some();
        let on_the_right = readers.all(|(at, reader)| {
            let is_right = matches!(reader.inputs[..], [left, _] if left != value);
            let reads = self.model.decisions.get(at).map(Way::from);
            let is_alike = reads.is_some_and(|reads| match way {
                Way::WeightOnly(_) | Way::Float(_) => reads.is_float(),
                Way::Quantized(_) => reads.is_static(),
            });
            matches!(reader.op, Op::MatMul) && is_right && is_alike
        });
        let is_hidden = is_same && is_read && on_the_right && !graph.outputs.contains(&value);
        (*order == swapped && is_hidden).then_some(source)
    }
}

/// Elements between neighbours of each logical dimension, as a value is stored.
fn storage_strides(shape: &[usize], layout: Layout) -> Vec<usize> {
    let order = storage_order(shape.len(), layout);
    let stored: Vec<usize> = order.iter().map(|dim| shape[*dim]).collect();
    let mut strides = vec![0; shape.len()];
    for (dim, stride) in order.into_iter().zip(row_major(&stored)) {
        strides[dim] = stride;
    }
    strides
}

/// The logical dimensions in the order they are stored.
fn storage_order(rank: usize, layout: Layout) -> Vec<usize> {
    match layout {
        Layout::ChannelsLast => channels_last_order(rank),
        Layout::Logical | Layout::FlatChannelsLast(_) => (0..rank).collect(),
    }
}
