//! Models that bring their scales and zero points along, as a file of quantize and dequantize operators
//! does: no observer watches, no sample is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use qconfig_core::kernel::QParams;
use qconfig_core::{
    BackendConfig, BackendPatternConfig, DType, DTypeConfig, DTypeWithConstraints, ObserverSpec,
    Pattern, QConfig,
};

use crate::convert::{QuantizedWeight, ReferenceModel, float_weights};
use crate::fuse::{fuse_where, matched, replace};
use crate::graph::{Graph, Node, NodeId, Op, ValueId};
use crate::observer::ChannelQParams;
use crate::prepare::{Decision, FloatReason, Quantized};
use crate::tensor::Tensor;
use crate::weight_only::BlockWeight;

/// What a model says of its own quantization.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Given {
    /// Values that are quantized: `quint8` or `qint8`, scale and zero point.
    pub values: BTreeMap<ValueId, (DType, QParams)>,
    /// Weights that are integers of eight bits, by the name of their node: one pair, or one for each
    /// output channel. The graph has what they stand for, which gives the integers back exactly.
    pub weights: BTreeMap<String, ChannelQParams>,
    /// Nodes, by name, whose input is quantized to eight bits as it comes; their weights are in `weights`.
    pub dynamic: BTreeSet<String>,
    /// Weights of linear layers with a scale and a zero point for each block, by the name of their node; what they
    /// stand for is in the graph.
    pub blocks: BTreeMap<String, BlockWeight>,
}

impl Given {
    /// Whether nothing is quantized.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty() && self.dynamic.is_empty() && self.blocks.is_empty()
    }
}

/// What keeps a node float in a model that brings its quantization along.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Missing {
    /// A value that it reads is float.
    Input(String),
    /// What it writes is float.
    Output,
    /// Its weight is float, or of another type than the backend stores.
    Weight,
    /// The backend has the pattern for other dtypes, or with bounds that these parameters break.
    Config(String),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(name) => write!(f, "the model does not quantize its input `{name}`"),
            Self::Output => f.write_str("the model does not quantize its output"),
            Self::Weight => f.write_str("the model's weight is not in 8 bits"),
            Self::Config(why) => f.write_str(why),
        }
    }
}

/// Matches patterns where everything that a node reads and writes is quantized; the result is what
/// [`convert`](crate::convert()) makes of a calibrated model. All other nodes stay float.
pub fn adopt(graph: &Graph, backend: &'static BackendConfig, given: &Given) -> ReferenceModel {
    // what is quantized between two operators keeps them apart
    let whole = |graph: &Graph, chain: &[usize]| {
        let Some((last, before)) = chain.split_last() else {
            return false;
        };
        let folds = |at: &usize| matches!(graph.nodes[*at].op, Op::BatchNorm(_));
        let is_weighted = |at: &usize| {
            let name = &graph.nodes[*at].name;
            given.weights.contains_key(name) || given.blocks.contains_key(name)
        };
        let seen = |at: &usize| given.values.contains_key(&graph.nodes[*at].output);
        let folded = chain.first().is_some_and(is_weighted) && chain.iter().any(folds);
        !before.iter().any(seen) && !folded && *last < graph.nodes.len()
    };
    let mut model = ReferenceModel::new(fuse_where(graph, backend, whole), backend);
    while model.decisions.len() < model.graph.nodes.len() {
        let decision = decide(&mut model, given, whole);
        model.decisions.push(decision);
    }
    model
}

/// Decides the first node without a decision, as [`prepare`](crate::prepare()) does.
fn decide(
    model: &mut ReferenceModel,
    given: &Given,
    whole: impl Fn(&Graph, &[usize]) -> bool,
) -> Decision {
    let at = model.decisions.len();
    let mut reason = FloatReason::NoPattern;
    for len in (1..=Pattern::MAX_CHAIN).rev() {
        let Some((chain, config, node)) = matched(&model.graph, at, len, model.backend, &whole)
        else {
            continue;
        };
        if len > 1 && config.fused_module.is_some() {
            continue;
        }
        let found = match fit(&model.graph, &node, config, given) {
            Ok(found) => found,
            Err(missing) => {
                reason = FloatReason::Given(missing);
                continue;
            }
        };
        for (id, qparams) in found.values {
            model.qparams.insert((id, found.dtype), qparams);
        }
        if let Some(weight) = found.weight {
            model.weights.insert((NodeId(at), 0), weight);
        }
        replace(&mut model.graph, &chain, node);
        return Decision::Quantized(Quantized {
            config,
            dtype_config: found.dtype_config,
            qconfig: QConfig {
                activation: ObserverSpec::placeholder(found.dtype),
                weight: ObserverSpec::placeholder(DType::qint8),
            },
        });
    }
    if let Some(node) = model.graph.nodes.get(at)
        && let (Op::Linear(linear), Some(weight)) = (&node.op, given.blocks.get(&node.name))
        && weight.spec().shape == linear.weight.shape()
    {
        model.blocks.insert(NodeId(at), weight.clone());
        return Decision::WeightOnly(weight.how());
    }
    Decision::Float(reason)
}

/// How a node is quantized.
struct Fit {
    dtype_config: usize,
    dtype: DType,
    values: Vec<(ValueId, QParams)>,
    weight: Option<QuantizedWeight>,
}

fn fit(
    graph: &Graph,
    node: &Node,
    config: &'static BackendPatternConfig,
    given: &Given,
) -> Result<Fit, Missing> {
    if given.dynamic.contains(&node.name) {
        return dynamic(node, config, given);
    }
    let mut values = Vec::new();
    for id in &node.inputs {
        let found = given.values.get(id);
        let found = found.ok_or_else(|| Missing::Input(graph.value(*id).name.clone()))?;
        values.push((*id, *found));
    }
    for id in node.outputs() {
        values.push((id, *given.values.get(&id).ok_or(Missing::Output)?));
    }
    let weight = match &float_weights(node)[..] {
        [] => None,
        [weight] => {
            let qparams = given.weights.get(&node.name).ok_or(Missing::Weight)?;
            Some(integers(weight, qparams).ok_or(Missing::Weight)?)
        }
        _ => return Err(Missing::Weight),
    };
    // these hand bytes on as they are
    let keeps = matches!(
        node.op,
        Op::Relu | Op::Clamp { .. } | Op::MaxPool(_) | Op::Interpolate(_)
    );
    if keeps
        && values
            .iter()
            .any(|(_, pair)| Some(*pair) != values.first().map(|(_, pair)| *pair))
    {
        let why =
            "the operator keeps the scale of its input, and the model gives its output another";
        return Err(Missing::Config(why.into()));
    }
    let mut why = "the backend has no dtype config for 8-bit values".to_owned();
    // every qint8 is a quint8 whose zero point is 128 more
    let all_are = |dtype| values.iter().all(|(_, (found, _))| *found == dtype);
    let dtypes: &[DType] = match all_are(DType::qint8) {
        true => &[DType::qint8, DType::quint8],
        false => &[DType::quint8],
    };
    for dtype in dtypes {
        let typed = values.iter().map(|(id, (found, qparams))| {
            let shift = match (found, dtype) {
                (DType::qint8, DType::quint8) => 128,
                _ => 0,
            };
            let zero_point = qparams.zero_point.saturating_add(shift);
            (
                *id,
                QParams {
                    zero_point,
                    ..*qparams
                },
            )
        });
        let typed: Vec<(ValueId, QParams)> = typed.collect();
        for (dtype_config, dtypes) in config.dtype_configs.iter().enumerate() {
            match problem(
                dtypes,
                *dtype,
                &typed,
                node.outputs().count(),
                weight.as_ref(),
            ) {
                None => {
                    return Ok(Fit {
                        dtype_config,
                        dtype: *dtype,
                        values: typed,
                        weight,
                    });
                }
                Some(Some(problem)) => why = problem,
                Some(None) => {}
            }
        }
    }
    Err(Missing::Config(why))
}

/// How a node is quantized whose activations are floats that become integers as they come.
fn dynamic(
    node: &Node,
    config: &'static BackendPatternConfig,
    given: &Given,
) -> Result<Fit, Missing> {
    let weight = match (&float_weights(node)[..], given.weights.get(&node.name)) {
        ([weight], Some(qparams)) => integers(weight, qparams).ok_or(Missing::Weight)?,
        _ => return Err(Missing::Weight),
    };
    let takes = |dtypes: &DTypeConfig| {
        let dtype = |of: Option<DTypeWithConstraints>| of.map(|of| of.dtype);
        dtypes.is_dynamic
            && dtype(dtypes.input) == Some(DType::quint8)
            && dtype(dtypes.weight) == Some(DType::qint8)
    };
    match config.dtype_configs.iter().position(takes) {
        Some(dtype_config) => Ok(Fit {
            dtype_config,
            dtype: DType::quint8,
            values: Vec::new(),
            weight: Some(weight),
        }),
        None => Err(Missing::Config(
            "the backend has no dtype config that quantizes activations as they come".into(),
        )),
    }
}

/// Why a dtype config does not take these parameters, `Some(None)` where it is for other dtypes.
fn problem(
    dtypes: &DTypeConfig,
    dtype: DType,
    values: &[(ValueId, QParams)],
    outputs: usize,
    weight: Option<&QuantizedWeight>,
) -> Option<Option<String>> {
    let (Some(input), Some(output)) = (dtypes.input, dtypes.output) else {
        return Some(None);
    };
    let stored = dtypes.weight.map(|weight| weight.dtype);
    // PyTorch lists weights for some operators that have none
    let is_stored = weight.is_none() || stored == Some(DType::qint8);
    if dtypes.is_dynamic || (input.dtype, output.dtype) != (dtype, dtype) || !is_stored {
        return Some(None);
    }
    let (ins, outs) = values.split_at(values.len() - outputs);
    let broken = |what: &str, qparams: QParams, bound: &DTypeWithConstraints| {
        format!(
            "{what} has scale {:e} and zero point {}, which the backend does not take ({}:{})",
            qparams.scale, qparams.zero_point, bound.origin.file, bound.origin.line
        )
    };
    let in_range = |scale: f32, bound: &DTypeWithConstraints| {
        let scale = f64::from(scale);
        bound.scale_min_lower_bound.is_none_or(|low| scale >= low)
            && bound.scale_max_upper_bound.is_none_or(|high| scale <= high)
    };
    for (_, qparams) in ins {
        if !in_range(qparams.scale, &input) {
            return Some(Some(broken("an input", *qparams, &input)));
        }
    }
    for (_, qparams) in outs {
        // fixed parameters are the output's: no input could be held to them
        let fits = in_range(qparams.scale, &output)
            && output
                .scale_exact_match
                .is_none_or(|s| s as f32 == qparams.scale)
            && (output.zero_point_exact_match).is_none_or(|z| z == i64::from(qparams.zero_point));
        if !fits {
            return Some(Some(broken("the output", *qparams, &output)));
        }
    }
    if let (Some(weight), Some(bound)) = (weight, dtypes.weight) {
        let (low, high) = (bound.quant_min_lower_bound, bound.quant_max_upper_bound);
        let outside = |q: &&i8| {
            let q = i64::from(**q);
            low.is_some_and(|low| q < low) || high.is_some_and(|high| q > high)
        };
        if let Some(q) = weight.data.iter().find(outside) {
            let (file, line) = (bound.origin.file, bound.origin.line);
            return Some(Some(format!(
                "the weight holds {q}, which the backend does not take ({file}:{line})"
            )));
        }
        let mut pairs = (weight.qparams.scales.iter()).zip(&weight.qparams.zero_points);
        if let Some((scale, zero_point)) = pairs.find(|(scale, _)| !in_range(**scale, &bound)) {
            let (scale, zero_point) = (*scale, *zero_point);
            return Some(Some(broken(
                "the weight",
                QParams { scale, zero_point },
                &bound,
            )));
        }
    }
    None
}

/// The integers that a weight was made from; `None` where the parameters do not fit it.
fn integers(weight: &Tensor, qparams: &ChannelQParams) -> Option<QuantizedWeight> {
    let rows = qparams.scales.len();
    let fits = rows == qparams.zero_points.len()
        && (rows == 1 || weight.shape().first() == Some(&rows))
        && qparams
            .scales
            .iter()
            .all(|scale| scale.is_normal() && *scale > 0.0);
    if !fits {
        return None;
    }
    let row = (weight.data().len() / rows).max(1);
    let values = weight.data().iter().enumerate().map(|(at, w)| {
        let (scale, zero_point) = (qparams.scales[at / row], qparams.zero_points[at / row]);
        let q = (f64::from(*w) / f64::from(scale)).round() + f64::from(zero_point);
        (-128.0..=127.0).contains(&q).then_some(q as i8)
    });
    Some(QuantizedWeight {
        data: values.collect::<Option<_>>()?,
        shape: weight.shape().to_vec(),
        qparams: qparams.clone(),
    })
}
