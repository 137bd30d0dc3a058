//! Operators as kernels know them.

use qconfig_core::kernel::{Activation, NodeOp, WeightSpec, Window, Window3};

use super::form::Layout;
use crate::graph::{Node, Op, Pool, dimensions};

/// The activation a kernel applies: what is fused, or for a lone activation the node itself.
pub(super) fn own_activation(node: &Node) -> Activation {
    node.op.as_activation().unwrap_or(node.activation)
}

pub(super) fn bias(op: &Op) -> Option<&[f32]> {
    match op {
        Op::Conv(conv) => conv.bias.as_deref(),
        Op::ConvTranspose(conv) => conv.bias.as_deref(),
        Op::Linear(linear) => linear.bias.as_deref(),
        _ => None,
    }
}

/// What an operator has beside one weight and one bias, as [`NodeOp`] orders it.
pub(super) fn parameters(op: &Op) -> Vec<WeightSpec<'_>> {
    match op {
        Op::BatchNorm(bn) => [&bn.weight, &bn.bias, &bn.running_mean, &bn.running_var]
            .map(|values| WeightSpec::float(values))
            .to_vec(),
        _ => Vec::new(),
    }
}

/// The order of elements in which a node reads and writes values with spatial dimensions.
pub(super) fn layout(op: &Op) -> Layout {
    match op {
        Op::Linear(_) | Op::Recurrent(_) => Layout::Logical,
        _ => Layout::ChannelsLast,
    }
}

fn window(kernel: &[usize], stride: &[usize], padding: &[usize], dilation: &[usize]) -> Window {
    let [top, left] = dimensions(padding, 0);
    Window {
        kernel: dimensions(kernel, 1),
        stride: dimensions(stride, 1),
        padding: [top, left, top, left],
        dilation: dimensions(dilation, 1),
    }
}

fn window3(kernel: &[usize], stride: &[usize], padding: &[usize], dilation: &[usize]) -> Window3 {
    let [front, top, left] = dimensions(padding, 0);
    Window3 {
        kernel: dimensions(kernel, 1),
        stride: dimensions(stride, 1),
        padding: [front, top, left, front, top, left],
        dilation: dimensions(dilation, 1),
    }
}

fn pool_window(pool: &Pool) -> Window {
    window(&pool.kernel, &pool.stride, &pool.padding, &pool.dilation)
}

pub(super) fn node_op(op: &Op) -> NodeOp {
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
        Op::Unary(function) => NodeOp::Unary(*function),
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
        Op::Flatten { .. } | Op::Reshape(_) | Op::Identity => NodeOp::Reshape,
        Op::Recurrent(recurrent) => NodeOp::Recurrent {
            cell: recurrent.cell,
            layers: recurrent.layers(),
            bidirectional: recurrent.bidirectional,
            batch_first: recurrent.batch_first,
        },
        // no backend binds a kernel to a lone batch normalization yet, so it is never lowered
        Op::Relu | Op::Clamp { .. } | Op::BatchNorm(_) => NodeOp::Clamp,
    }
}
