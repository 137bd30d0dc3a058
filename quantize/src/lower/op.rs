//! Operators as kernels know them.

use qconfig_core::kernel::{Activation, NodeOp, Strides, WeightSpec, Window, Window3};

use super::form::Layout;
use crate::graph::{Node, Op, Pool, dimensions, sides};

/// The activation a kernel applies: what is fused, or for a lone activation the node itself.
pub(super) fn own_activation(node: &Node) -> Activation {
    node.op.as_activation().unwrap_or(node.activation)
}

pub(crate) fn bias(op: &Op) -> Option<&[f32]> {
    match op {
        Op::Conv(conv) => conv.bias.as_deref(),
        Op::ConvTranspose(conv) => conv.bias.as_deref(),
        Op::Linear(linear) => linear.bias.as_deref(),
        _ => None,
    }
}

/// What an operator has beside one weight and one bias, as [`NodeOp`] orders it; `indices` are those of
/// [`indices`].
pub(super) fn parameters<'o>(op: &'o Op, indices: &'o [f32]) -> Vec<WeightSpec<'o>> {
    match op {
        Op::BatchNorm(bn) => [&bn.weight, &bn.bias, &bn.running_mean, &bn.running_var]
            .map(|values| WeightSpec::float(values))
            .to_vec(),
        Op::GroupNorm { norm, .. } | Op::LayerNorm { norm, .. } if !norm.weight.is_empty() => {
            vec![
                WeightSpec::float(&norm.weight),
                WeightSpec::float(&norm.bias),
            ]
        }
        Op::PRelu(slopes) => vec![WeightSpec::float(slopes)],
        Op::Select { .. } => vec![WeightSpec::float(indices)],
        Op::Own(own) if !own.parameters().is_empty() => vec![WeightSpec::float(own.parameters())],
        _ => Vec::new(),
    }
}

/// The positions that an operator selects, as floats.
pub(super) fn indices(op: &Op) -> Vec<f32> {
    match op {
        Op::Select { indices, .. } => indices.iter().map(|at| *at as f32).collect(),
        _ => Vec::new(),
    }
}

/// Whether an operator computes the same in any order of its dimensions; `shape` is that of its first input.
pub(super) fn takes_any_layout(op: &Op, shape: &[usize]) -> bool {
    match op {
        Op::Relu
        | Op::Clamp { .. }
        | Op::Unary(_)
        | Op::Add
        | Op::Mul
        | Op::Binary(_)
        | Op::Where
        | Op::Softmax { .. }
        | Op::Cat { .. }
        | Op::Pad { .. }
        | Op::Select { .. }
        | Op::ToFloat => true,
        Op::Mean { axes, keepdim } | Op::Reduce { axes, keepdim, .. } => {
            *keepdim || leaves_no_layout(axes, shape)
        }
        _ => false,
    }
}

/// Whether what is left without some dimensions has the same order of elements whichever it came from: only
/// without spatial dimensions beside the channels.
fn leaves_no_layout(axes: &[usize], shape: &[usize]) -> bool {
    let mut left = (0..shape.len()).filter(|axis| !axes.contains(axis));
    let (first, second, third) = (left.next(), left.next(), left.next());
    third.is_none() && (second.is_none() || first == Some(0))
}

/// The order of elements in which a node reads and writes values with spatial dimensions; `shape` is that
/// of its first input.
pub(super) fn layout(op: &Op, shape: &[usize]) -> Layout {
    match op {
        Op::Linear(_)
        | Op::Recurrent(_)
        | Op::Embedding(_)
        | Op::LayerNorm { .. }
        | Op::MatMul
        | Op::Own(_)
        | Op::Stack { .. } => Layout::Logical,
        Op::Mean { axes, keepdim } | Op::Reduce { axes, keepdim, .. } if !keepdim => {
            if leaves_no_layout(axes, shape) {
                Layout::ChannelsLast
            } else {
                Layout::Logical
            }
        }
        _ => Layout::ChannelsLast,
    }
}

fn window(kernel: &[usize], stride: &[usize], padding: &[usize], dilation: &[usize]) -> Window {
    let [[top, left], [bottom, right]] =
        sides(padding, stride.len()).map(|side| dimensions(side, 0));
    Window {
        kernel: dimensions(kernel, 1),
        stride: dimensions(stride, 1),
        padding: [top, left, bottom, right],
        dilation: dimensions(dilation, 1),
    }
}

fn window3(kernel: &[usize], stride: &[usize], padding: &[usize], dilation: &[usize]) -> Window3 {
    let [[front, top, left], [back, bottom, right]] =
        sides(padding, stride.len()).map(|side| dimensions(side, 0));
    Window3 {
        kernel: dimensions(kernel, 1),
        stride: dimensions(stride, 1),
        padding: [front, top, left, back, bottom, right],
        dilation: dimensions(dilation, 1),
    }
}

/// A bit for each of these dimensions, at its axis of a storage order.
fn axis_mask(axes: &[usize], layout: Layout, rank: usize) -> u32 {
    axes.iter().fold(0, |mask, axis| {
        mask | 1u32.unbounded_shl(stored_axis(layout, rank, *axis) as u32)
    })
}

/// The axis of a storage order that holds a dimension of a value of that rank.
fn stored_axis(layout: Layout, rank: usize, axis: usize) -> usize {
    match (layout, axis) {
        (Layout::ChannelsLast, 1) if rank > 2 => rank - 1,
        (Layout::ChannelsLast, 2..) => axis - 1,
        _ => axis,
    }
}

fn pool_window(pool: &Pool) -> Window {
    window(&pool.kernel, &pool.stride, &pool.padding, &pool.dilation)
}

fn pool_window3(pool: &Pool) -> Window3 {
    window3(&pool.kernel, &pool.stride, &pool.padding, &pool.dilation)
}

/// The operator; `shape` is that of its first input, `layout` the order in which it reads.
pub(super) fn node_op(op: &Op, shape: &[usize], layout: Layout) -> NodeOp {
    match op {
        Op::Conv(conv) => {
            let (kernel, groups) = (&conv.weight.shape()[2..], conv.groups);
            let (stride, padding, dilation) = (&conv.stride, &conv.padding, &conv.dilation);
            if kernel.len() == 3 {
                let window = window3(kernel, stride, padding, dilation);
                NodeOp::Conv3d { window, groups }
            } else {
                let window = window(kernel, stride, padding, dilation);
                NodeOp::Conv { window, groups }
            }
        }
        Op::ConvTranspose(conv) => NodeOp::ConvTranspose {
            window: window3(
                &conv.weight.shape()[2..],
                &conv.stride,
                &conv.padding,
                &conv.dilation,
            ),
            output_padding: dimensions(&conv.output_padding, 0),
            groups: conv.groups,
        },
        Op::Linear(_) => NodeOp::Linear,
        Op::Add => NodeOp::Add,
        Op::Mul => NodeOp::Mul,
        Op::MatMul => NodeOp::MatMul { transposed: false },
        Op::PRelu(_) => NodeOp::PRelu,
        Op::Cat { axis } => NodeOp::Cat {
            axis: stored_axis(layout, shape.len(), *axis),
        },
        Op::Stack { axis } => NodeOp::Cat { axis: *axis },
        Op::Softmax { axis } => NodeOp::Softmax {
            axis: stored_axis(layout, shape.len(), *axis),
        },
        Op::Unary(function) => NodeOp::Unary(*function),
        Op::MaxPool(pool) if pool.kernel.len() == 3 => NodeOp::MaxPool3d {
            window: pool_window3(pool),
        },
        Op::AvgPool {
            pool,
            count_include_pad,
            divisor_override,
        } if pool.kernel.len() == 3 => NodeOp::AvgPool3d {
            window: pool_window3(pool),
            count_include_pad: *count_include_pad,
            divisor_override: *divisor_override,
        },
        Op::AdaptiveAvgPool(sizes) if sizes.iter().all(|size| *size == 1) => NodeOp::GlobalAvgPool,
        Op::AdaptiveAvgPool(_) => NodeOp::AdaptiveAvgPool,
        Op::Mean { axes, .. } => NodeOp::Mean {
            axes: axis_mask(axes, layout, shape.len()),
        },
        Op::MaxPool(pool) => NodeOp::MaxPool {
            window: pool_window(pool),
        },
        Op::AvgPool {
            pool,
            count_include_pad,
            divisor_override,
        } => NodeOp::AvgPool {
            window: pool_window(pool),
            count_include_pad: *count_include_pad,
            divisor_override: *divisor_override,
        },
        Op::GlobalAvgPool => NodeOp::GlobalAvgPool,
        Op::Own(own) => NodeOp::Own {
            name: own.op().name(),
        },
        Op::Binary(function) => NodeOp::Binary(*function),
        Op::Where => NodeOp::Where,
        Op::Reduce {
            reduction, axes, ..
        } => NodeOp::Reduce {
            reduction: *reduction,
            axes: axis_mask(axes, layout, shape.len()),
        },
        Op::Pad {
            padding, before, ..
        } => {
            let mut stored = [0; Strides::RANK];
            for (axis, count) in before.iter().enumerate() {
                if let Some(to) = stored.get_mut(stored_axis(layout, shape.len(), axis)) {
                    *to = *count;
                }
            }
            NodeOp::Pad {
                padding: *padding,
                before: stored,
            }
        }
        Op::Select { axis, .. } => NodeOp::Select {
            axis: stored_axis(layout, shape.len(), *axis),
        },
        Op::ToFloat => NodeOp::ToFloat,
        Op::Interpolate(op) => NodeOp::Interpolate(op.interpolation(&shape[2..])),
        // movements are lowered in a room of their own, as views of what they read
        Op::Flatten { .. } | Op::Reshape(_) | Op::Identity | Op::Movement(_) => NodeOp::Reshape,
        Op::Embedding(table) => super::embedding::node_op(table),
        Op::Recurrent(recurrent) => NodeOp::Recurrent {
            cell: recurrent.cell,
            layers: recurrent.layers(),
            bidirectional: recurrent.bidirectional,
            batch_first: recurrent.batch_first,
        },
        Op::BatchNorm(bn) => NodeOp::BatchNorm { eps: bn.eps },
        Op::GroupNorm { groups, norm } => NodeOp::GroupNorm {
            groups: *groups,
            eps: norm.eps,
        },
        Op::LayerNorm { axes, norm } => NodeOp::LayerNorm {
            axes: *axes,
            eps: norm.eps,
        },
        Op::Relu | Op::Clamp { .. } => NodeOp::Clamp,
    }
}
