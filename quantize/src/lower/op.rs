//! Operators as kernels know them.

use qconfig_core::kernel::{Activation, NodeOp, WeightSpec, Window};

use super::form::Layout;
use crate::graph::{Node, Op, Pool, pair};

/// The activation a kernel applies: what is fused, or for a lone activation the node itself.
pub(super) fn own_activation(node: &Node) -> Activation {
    node.op.as_activation().unwrap_or(node.activation)
}

pub(super) fn bias(op: &Op) -> Option<&[f32]> {
    match op {
        Op::Conv(conv) => conv.bias.as_deref(),
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
    let [top, left] = pair(padding, 0);
    Window {
        kernel: pair(kernel, 1),
        stride: pair(stride, 1),
        padding: [top, left, top, left],
        dilation: pair(dilation, 1),
    }
}

fn pool_window(pool: &Pool) -> Window {
    window(&pool.kernel, &pool.stride, &pool.padding, &pool.dilation)
}

pub(super) fn node_op(op: &Op) -> NodeOp {
    match op {
        Op::Conv(conv) => NodeOp::Conv {
            window: window(
                &conv.weight.shape()[2..],
                &conv.stride,
                &conv.padding,
                &conv.dilation,
            ),
            groups: conv.groups,
        },
        Op::Linear(_) => NodeOp::Linear,
        Op::Add => NodeOp::Add,
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
