//! Fusion: chains that the backend makes one module of become one node, batch normalization folded.

use qconfig_core::{BackendConfig, BackendPatternConfig, Fuser, Pattern, Spelling};

use crate::graph::{BatchNorm, ConvTranspose, Graph, Node, Op};

/// Fuses every chain of modules for which the backend names a fused module, the longest first
/// (`torch.ao.quantization.quantize_fx.fuse_fx`).
pub fn fuse(graph: &Graph, backend: &BackendConfig) -> Graph {
    fuse_where(graph, backend, |_, _| true)
}

/// As [`fuse`], chains that may become one alone.
pub(crate) fn fuse_where(
    graph: &Graph,
    backend: &BackendConfig,
    may: impl Fn(&Graph, &[usize]) -> bool,
) -> Graph {
    let mut graph = graph.clone();
    let mut at = 0;
    while at < graph.nodes.len() {
        for len in (2..=Pattern::MAX_CHAIN).rev() {
            if let Some((chain, config, mut node)) = matched(&graph, at, len, backend, &may)
                && let Some(fused) = fused(&graph, at, config)
            {
                node.spelling = fused;
                replace(&mut graph, &chain, node);
                break;
            }
        }
        at += 1;
    }
    graph
}

/// The module that a pattern's chain becomes: a transposed convolution that takes in a batch
/// normalization stays what it is (`fuse_convtranspose_bn`).
fn fused(graph: &Graph, at: usize, config: &BackendPatternConfig) -> Option<&'static Spelling> {
    match config.fuser {
        Some(Fuser::ConvTransposeBn) => Some(graph.nodes[at].spelling),
        _ => config.fused_module,
    }
}

/// The backend's pattern of `len` nodes that begins with the one at a position, where these may become one:
/// the nodes, what the backend says of them, and the node that they become.
pub(crate) fn matched(
    graph: &Graph,
    at: usize,
    len: usize,
    backend: &BackendConfig,
    may: impl Fn(&Graph, &[usize]) -> bool,
) -> Option<(Vec<usize>, &'static BackendPatternConfig, Node)> {
    let chain = chain_from(graph, at, len).filter(|chain| may(graph, chain))?;
    let config = backend.find(&spellings(graph, &chain))?;
    let node = merge(graph, &chain, config.fuser)?;
    Some((chain, config, node))
}

/// The positions of `len` nodes beginning with `at`, each the only reader of the one before.
fn chain_from(graph: &Graph, at: usize, len: usize) -> Option<Vec<usize>> {
    let mut chain = vec![at];
    while chain.len() < len {
        let last = graph.nodes.get(*chain.last()?)?;
        let next = graph.only_reader(last.output)?;
        if graph.nodes[next].inputs.len() != 1 {
            return None;
        }
        chain.push(next);
    }
    Some(chain)
}

fn spellings(graph: &Graph, chain: &[usize]) -> Vec<&'static Spelling> {
    chain.iter().map(|at| graph.nodes[*at].spelling).collect()
}

/// One node that computes the chain, if its operators can be merged.
fn merge(graph: &Graph, chain: &[usize], fuser: Option<Fuser>) -> Option<Node> {
    let (first, rest) = chain.split_first()?;
    let mut node = graph.nodes[*first].clone();
    for at in rest {
        let next = &graph.nodes[*at];
        let untouched = node.activation == qconfig_core::kernel::Activation::None;
        match (&next.op, next.op.as_activation()) {
            (_, Some(activation)) if untouched => node.activation = activation,
            (Op::BatchNorm(bn), None) if untouched && fuser != Some(Fuser::Sequential) => {
                fold(&mut node.op, bn)?
            }
            _ => return None,
        }
        node.chain.extend_from_slice(&next.chain);
        node.output = next.output;
    }
    Some(node)
}

/// Puts one node in the place of a chain's first and removes the others.
pub(crate) fn replace(graph: &mut Graph, chain: &[usize], node: Node) {
    let Some((first, rest)) = chain.split_first() else {
        return;
    };
    graph.nodes[*first] = node;
    let mut at = 0;
    graph.nodes.retain(|_| {
        at += 1;
        !rest.contains(&(at - 1))
    });
}

/// As [`fold`], where output channels are the second dimension of the weight, group by group.
fn fold_transposed(conv: &mut ConvTranspose, bn: &BatchNorm) -> Option<()> {
    let shape = conv.weight.shape();
    let (ins, outs) = (shape[0] / conv.groups, shape[1]);
    let area: usize = shape[2..].iter().product();
    let scale = |o: usize| bn.weight[o] * (1.0 / (bn.running_var[o] + bn.eps).sqrt());
    for (row, weights) in conv.weight.data_mut().chunks_mut(area).enumerate() {
        let (i, o) = (row / outs, row % outs);
        let factor = scale(i / ins * outs + o);
        weights.iter_mut().for_each(|w| *w *= factor);
    }
    let bias = conv
        .bias
        .take()
        .unwrap_or_else(|| vec![0.0; bn.weight.len()]);
    let folded = bias.iter().enumerate();
    let folded = folded.map(|(o, b)| (b - bn.running_mean[o]) * scale(o) + bn.bias[o]);
    conv.bias = Some(folded.collect());
    Some(())
}

/// Folds a batch normalization into the operator before it
/// (`torch.nn.utils.fusion.fuse_conv_bn_weights`): `w' = w g / sqrt(v + eps)`,
/// `b' = (b - m) g / sqrt(v + eps) + beta`.
fn fold(op: &mut Op, bn: &BatchNorm) -> Option<()> {
    if let Op::ConvTranspose(conv) = op {
        return fold_transposed(conv, bn);
    }
    let (weight, bias) = match op {
        Op::Conv(conv) => (&mut conv.weight, &mut conv.bias),
        Op::Linear(linear) => (&mut linear.weight, &mut linear.bias),
        _ => return None,
    };
    let channels = bn.weight.len();
    let per_channel = weight.data().len() / channels;
    let mut folded = bias.take().unwrap_or_else(|| vec![0.0; channels]);
    for (c, row) in weight.data_mut().chunks_mut(per_channel).enumerate() {
        let scale = bn.weight[c] * (1.0 / (bn.running_var[c] + bn.eps).sqrt());
        row.iter_mut().for_each(|w| *w *= scale);
        folded[c] = (folded[c] - bn.running_mean[c]) * scale + bn.bias[c];
    }
    *bias = Some(folded);
    Some(())
}
