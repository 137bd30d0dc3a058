//! Convert: observers answer, weights are quantized; the result is the reference model.

use std::borrow::Cow;
use std::collections::BTreeMap;

use qconfig_core::kernel::{QParams, Unary};
use qconfig_core::{DType, DTypeWithConstraints, QScheme};

use crate::calibrate::Calibrated;
use crate::graph::{Embedding, Graph, Node, NodeId, Op, ValueId};
use crate::observer::{ChannelQParams, ObserveError, Observer};
use crate::prepare::{Decision, Prepared, Quantized};
use crate::tensor::Tensor;
use crate::weight_only::BlockWeight;

/// A weight in eight bits, in the graph's order, output channels first (`[O, I / groups, k..]`, of
/// transposed convolutions too).
#[derive(Clone, PartialEq, Debug)]
pub struct QuantizedWeight {
    /// Row-major values.
    pub data: Vec<i8>,
    /// Its shape.
    pub shape: Vec<usize>,
    /// One pair, or one for each output channel.
    pub qparams: ChannelQParams,
}

impl QuantizedWeight {
    /// The float values that the integers stand for.
    pub fn dequantize(&self) -> Tensor {
        let rows = self.qparams.scales.len();
        let row = self.data.len() / rows.max(1);
        let mut out = Tensor::zeros(&self.shape);
        for (at, (x, q)) in out.data_mut().iter_mut().zip(&self.data).enumerate() {
            let c = at / row.max(1);
            *x = self.qparams.scales[c] * (i32::from(*q) - self.qparams.zero_points[c]) as f32;
        }
        out
    }
}

/// A table of rows in eight or four bits, each row with a scale and a zero point that is a float
/// (`per_channel_affine_float_qparams`).
#[derive(Clone, PartialEq, Debug)]
pub struct QuantizedTable {
    /// Row-major values, one a byte.
    pub data: Vec<u8>,
    /// `[rows, columns]`.
    pub shape: Vec<usize>,
    /// One for each row.
    pub scales: Vec<f32>,
    /// One for each row.
    pub zero_points: Vec<f32>,
}

impl QuantizedTable {
    /// The float values that the integers stand for: `(q - zero_point) * scale`.
    pub fn dequantize(&self) -> Tensor {
        let row = self.data.len() / self.scales.len().max(1);
        let mut out = Tensor::zeros(&self.shape);
        for (at, (x, q)) in out.data_mut().iter_mut().zip(&self.data).enumerate() {
            let (scale, zero_point) = (self.scales[at / row], self.zero_points[at / row]);
            *x = (f32::from(*q) - zero_point) * scale;
        }
        out
    }
}

/// A float graph with quantize and dequantize around each supported pattern.
#[derive(Clone, Debug)]
pub struct ReferenceModel {
    pub(crate) graph: Graph,
    pub(crate) backend: &'static qconfig_core::BackendConfig,
    pub(crate) decisions: Vec<Decision>,
    pub(crate) qparams: BTreeMap<(ValueId, DType), QParams>,
    /// By node, and position among its weights.
    pub(crate) weights: BTreeMap<(NodeId, usize), QuantizedWeight>,
    pub(crate) tables: BTreeMap<NodeId, QuantizedTable>,
    /// Weights that are rounded alone.
    pub(crate) blocks: BTreeMap<NodeId, BlockWeight>,
    /// What [`crate::correct_bias`] adds to biases.
    pub(crate) corrections: BTreeMap<NodeId, Vec<f32>>,
    /// Whether factors are rounded as ONNX Runtime does, as in models that it was made for.
    pub(crate) divide: bool,
}

/// A calibrated model cannot be converted.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// An observer cannot answer.
    #[error("value `{value}`: its observer {error}")]
    Observer {
        /// The value.
        value: String,
        /// Why not.
        error: ObserveError,
    },
    /// A weight's observer cannot answer.
    #[error("weight of node `{node}`: its observer {error}")]
    Weight {
        /// The node.
        node: String,
        /// Why not.
        error: ObserveError,
    },
    /// A scale below what the backend takes.
    #[error(
        "{what} has scale {scale:e}, below the backend's {bound:e} ({file}:{line}); choose an observer with a larger eps"
    )]
    Scale {
        /// The value or weight.
        what: String,
        /// Its scale.
        scale: f32,
        /// The bound.
        bound: f64,
        /// The file of the bound.
        file: &'static str,
        /// The line of the bound.
        line: u32,
    },
    /// Scale and zero point are not those that the backend fixes.
    #[error(
        "value `{value}` has scale {} and zero point {}, the backend fixes {scale} and {zero_point} ({file}:{line})", found.scale, found.zero_point
    )]
    Fixed {
        /// The value.
        value: String,
        /// Its parameters.
        found: QParams,
        /// The only scale allowed.
        scale: f64,
        /// The only zero point allowed.
        zero_point: i64,
        /// The file of the bound.
        file: &'static str,
        /// The line of the bound.
        line: u32,
    },
    /// A weight outside what the backend takes.
    #[error(
        "weight of node `{node}` holds {value}, outside the backend's {low}..={high} ({file}:{line}); choose an observer with that range"
    )]
    WeightRange {
        /// The node.
        node: String,
        /// The value.
        value: i8,
        /// Lower bound.
        low: i64,
        /// Upper bound.
        high: i64,
        /// The file of the bound.
        file: &'static str,
        /// The line of the bound.
        line: u32,
    },
    /// The table's observer does not give each row a scale and a zero point of its own.
    #[error(
        "table of node `{node}`: its rows need `per_channel_affine_float_qparams`, the qconfig's observer has `{found:?}`"
    )]
    TableScheme {
        /// The node.
        node: String,
        /// What the qconfig says.
        found: QScheme,
    },
    /// The weight's dtype is not what the dtype config stores.
    #[error(
        "weight of node `{node}`: the qconfig observes {found}, dtype config `{config}` stores {wanted}"
    )]
    WeightDType {
        /// The node.
        node: String,
        /// What the qconfig says.
        found: DType,
        /// The dtype config.
        config: &'static str,
        /// What it stores.
        wanted: DType,
    },
}

/// Turns what the observers saw into scales and zero points, and quantizes the weights
/// (`torch.ao.quantization.quantize_fx.convert_to_reference_fx`).
///
/// # Errors
/// [`ConvertError`] where an observer saw nothing or a bound of the backend is broken.
pub fn convert(calibrated: &Calibrated) -> Result<ReferenceModel, ConvertError> {
    let prepared = &calibrated.prepared;
    let mut qparams = BTreeMap::new();
    for (key, observer) in &prepared.observed {
        let found =
            prepared.observers[observer.0]
                .qparams()
                .map_err(|error| ConvertError::Observer {
                    value: prepared.graph.value(key.0).name.clone(),
                    error,
                })?;
        qparams.insert(*key, found);
    }
    follow_inputs(prepared, &mut qparams);
    let (mut weights, mut tables) = (BTreeMap::new(), BTreeMap::new());
    for (at, (node, decision)) in prepared
        .graph
        .nodes
        .iter()
        .zip(&prepared.decisions)
        .enumerate()
    {
        let Decision::Quantized(quantized) = decision else {
            continue;
        };
        check_scales(&prepared.graph, node, quantized, &qparams)?;
        let wanted = quantized.dtypes().weight;
        if let (Op::Embedding(table), Some(wanted)) = (&node.op, wanted) {
            tables.insert(NodeId(at), quantize_table(node, table, quantized, &wanted)?);
        }
        if let Some(wanted) = wanted.filter(|wanted| wanted.dtype.is_quantized()) {
            for (index, weight) in float_weights(node).into_iter().enumerate() {
                let weight = quantize_weight(node, &weight, quantized, &wanted)?;
                weights.insert((NodeId(at), index), weight);
            }
        }
    }
    Ok(ReferenceModel {
        graph: prepared.graph.clone(),
        backend: prepared.backend,
        decisions: prepared.decisions.clone(),
        qparams,
        weights,
        tables,
        blocks: BTreeMap::new(),
        corrections: BTreeMap::new(),
        divide: false,
    })
}

/// Where the output shares the input's observer it has the input's parameters; a tensor and a number give
/// those that torch works out without looking at data, so that nothing is lost
/// ([`qconfig_kernels::scalar_qparams`]). Where the backend's bounds forbid these, the observer's stay.
fn follow_inputs(prepared: &Prepared, qparams: &mut BTreeMap<(ValueId, DType), QParams>) {
    for (node, decision) in prepared.graph.nodes.iter().zip(&prepared.decisions) {
        let (Decision::Quantized(quantized), [input]) = (decision, node.inputs.as_slice()) else {
            continue;
        };
        let (Some(from), Some(to)) = (quantized.dtypes().input, quantized.dtypes().output) else {
            continue;
        };
        let (input, output) = ((*input, from.dtype), (node.output, to.dtype));
        let observer = |key| prepared.observed.get(&key);
        if observer(input) != observer(output) {
            continue;
        }
        let Some(found) = qparams.get(&input).copied() else {
            continue;
        };
        let new = match node.op {
            Op::Unary(function @ (Unary::AddScalar { .. } | Unary::MulScalar { .. })) => {
                qconfig_kernels::scalar_qparams(function, to.dtype, found)
                    .filter(|new| check_scale(String::new, new.scale, &to).is_ok())
            }
            _ => Some(found),
        };
        if let Some(new) = new {
            qparams.insert(output, new);
        }
    }
}

/// The weights of a node, output channels first; of a recurrent layer, `weight_ih` and `weight_hh` for
/// each layer and direction.
pub(crate) fn float_weights(node: &Node) -> Vec<Cow<'_, Tensor>> {
    match &node.op {
        Op::Conv(conv) => vec![Cow::Borrowed(&conv.weight)],
        Op::ConvTranspose(conv) => vec![Cow::Owned(conv.by_output())],
        Op::Linear(linear) => vec![Cow::Borrowed(&linear.weight)],
        Op::Recurrent(recurrent) => {
            let weights = recurrent.gates.iter();
            weights
                .flat_map(|gates| [&gates.weight_ih, &gates.weight_hh])
                .map(Cow::Borrowed)
                .collect()
        }
        _ => Vec::new(),
    }
}

/// PyTorch compares only the observer's eps before calibration; here the scales themselves are held
/// against the bound.
fn check_scales(
    graph: &Graph,
    node: &Node,
    quantized: &Quantized,
    qparams: &BTreeMap<(ValueId, DType), QParams>,
) -> Result<(), ConvertError> {
    let dtypes = quantized.dtypes();
    let inputs = node.inputs.iter().map(|value| (*value, dtypes.input));
    for (value, constraint) in inputs.chain([(node.output, dtypes.output)]) {
        let Some(constraint) = constraint else {
            continue;
        };
        if let Some(found) = qparams.get(&(value, constraint.dtype)) {
            check_scale(
                || format!("value `{}`", graph.value(value).name),
                found.scale,
                &constraint,
            )?;
        }
    }
    // PyTorch writes fixed parameters beside the input as well, which no input could be held to
    if let Some(fixed) = dtypes.output
        && let (Some(scale), Some(zero_point)) =
            (fixed.scale_exact_match, fixed.zero_point_exact_match)
        && let Some(found) = qparams.get(&(node.output, fixed.dtype))
        && (found.scale != scale as f32 || i64::from(found.zero_point) != zero_point)
    {
        return Err(ConvertError::Fixed {
            value: graph.value(node.output).name.clone(),
            found: *found,
            scale,
            zero_point,
            file: fixed.origin.file,
            line: fixed.origin.line,
        });
    }
    Ok(())
}

fn check_scale(
    what: impl Fn() -> String,
    scale: f32,
    constraint: &DTypeWithConstraints,
) -> Result<(), ConvertError> {
    match constraint.scale_min_lower_bound {
        Some(bound) if f64::from(scale) < bound => Err(ConvertError::Scale {
            what: what(),
            scale,
            bound,
            file: constraint.origin.file,
            line: constraint.origin.line,
        }),
        _ => Ok(()),
    }
}

/// Rounds a table as `torch.quantize_per_channel` with float parameters:
/// `clamp(rne(x * (1 / scale) + zero_point), 0, 255)`, or up to 15.
fn quantize_table(
    node: &Node,
    table: &Embedding,
    quantized: &Quantized,
    wanted: &DTypeWithConstraints,
) -> Result<QuantizedTable, ConvertError> {
    let spec = quantized.qconfig.weight;
    let range = wanted.dtype.quant_range();
    let (true, Some((_, most))) = (spec.dtype == wanted.dtype, range) else {
        return Err(ConvertError::WeightDType {
            node: node.name.clone(),
            found: spec.dtype,
            config: quantized.dtypes().name,
            wanted: wanted.dtype,
        });
    };
    if spec.qscheme != QScheme::PerChannelAffineFloatQparams {
        return Err(ConvertError::TableScheme {
            node: node.name.clone(),
            found: spec.qscheme,
        });
    }
    let fail = |error| ConvertError::Weight {
        node: node.name.clone(),
        error,
    };
    let mut observer = Observer::new(spec);
    observer.observe(&table.weight).map_err(fail)?;
    let (scales, zero_points) = observer.row_qparams().map_err(fail)?;
    let row = table.weight.data().len() / scales.len();
    let values = table.weight.data().iter().enumerate();
    let data = values
        .map(|(at, x)| {
            let q = x * (1.0 / scales[at / row]) + zero_points[at / row];
            q.round_ties_even().clamp(0.0, most as f32) as u8
        })
        .collect();
    Ok(QuantizedTable {
        data,
        shape: table.weight.shape().to_vec(),
        scales,
        zero_points,
    })
}

fn quantize_weight(
    node: &Node,
    weight: &Tensor,
    quantized: &Quantized,
    wanted: &DTypeWithConstraints,
) -> Result<QuantizedWeight, ConvertError> {
    let spec = quantized.qconfig.weight;
    if spec.dtype != wanted.dtype || wanted.dtype != DType::qint8 {
        let (found, config) = (spec.dtype, quantized.dtypes().name);
        return Err(ConvertError::WeightDType {
            node: node.name.clone(),
            found,
            config,
            wanted: wanted.dtype,
        });
    }
    let fail = |error| ConvertError::Weight {
        node: node.name.clone(),
        error,
    };
    let mut observer = Observer::new(spec);
    observer.observe(weight).map_err(fail)?;
    let qparams = observer.channel_qparams().map_err(fail)?;
    for scale in &qparams.scales {
        check_scale(|| format!("weight of node `{}`", node.name), *scale, wanted)?;
    }
    let row = weight.data().len() / qparams.scales.len();
    let data: Vec<i8> = weight
        .data()
        .iter()
        .enumerate()
        .map(|(at, w)| {
            let (scale, zero_point) = (qparams.scales[at / row], qparams.zero_points[at / row]);
            ((w * (1.0 / scale)).round_ties_even() as i64 + i64::from(zero_point)).clamp(-128, 127)
                as i8
        })
        .collect();
    if let (Some(low), Some(high)) = (wanted.quant_min_lower_bound, wanted.quant_max_upper_bound)
        && let Some(value) = data
            .iter()
            .find(|q| i64::from(**q) < low || i64::from(**q) > high)
    {
        return Err(ConvertError::WeightRange {
            node: node.name.clone(),
            value: *value,
            low,
            high,
            file: wanted.origin.file,
            line: wanted.origin.line,
        });
    }
    Ok(QuantizedWeight {
        data,
        shape: weight.shape().to_vec(),
        qparams,
    })
}

/// What a model has that no backend knows.
const NO_BACKEND: qconfig_core::BackendConfig = qconfig_core::BackendConfig {
    name: "none",
    configs: &[],
    index: qconfig_core::PatternIndex::new(&[]),
    kernels: &[],
};

impl ReferenceModel {
    /// A graph in which nothing is quantized, for no backend: needs no calibration, and is lowered to a plan
    /// that computes on floats. Batch normalization stays a node of its own where [`crate::fuse`] has not folded
    /// it before.
    pub fn float(graph: &Graph) -> Self {
        let reason = crate::prepare::FloatReason::NoQConfig;
        Self {
            graph: graph.clone(),
            backend: &NO_BACKEND,
            decisions: vec![Decision::Float(reason); graph.nodes.len()],
            qparams: BTreeMap::new(),
            weights: BTreeMap::new(),
            tables: BTreeMap::new(),
            blocks: BTreeMap::new(),
            corrections: BTreeMap::new(),
            divide: false,
        }
    }

    /// A model that brings its scales along, without decisions yet.
    pub(crate) fn new(graph: Graph, backend: &'static qconfig_core::BackendConfig) -> Self {
        Self {
            graph,
            backend,
            decisions: Vec::new(),
            qparams: BTreeMap::new(),
            weights: BTreeMap::new(),
            tables: BTreeMap::new(),
            blocks: BTreeMap::new(),
            corrections: BTreeMap::new(),
            divide: true,
        }
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The decision for each node, in order.
    pub fn decisions(&self) -> &[Decision] {
        &self.decisions
    }

    /// Scale and zero point of a value in a dtype, where it is quantized.
    pub fn qparams(&self, value: ValueId, dtype: DType) -> Option<QParams> {
        self.qparams.get(&(value, dtype)).copied()
    }

    /// The quantized table of the node at a position.
    pub fn table(&self, node: usize) -> Option<&QuantizedTable> {
        self.tables.get(&NodeId(node))
    }

    /// The weight of the node at a position, if it is rounded alone.
    pub fn block_weight(&self, node: usize) -> Option<&BlockWeight> {
        self.blocks.get(&NodeId(node))
    }

    /// The bias of the node at a position, with its correction.
    pub fn bias(&self, node: usize) -> Option<Vec<f32>> {
        let found = crate::lower::op::bias(&self.graph.nodes.get(node)?.op);
        let corrected = crate::bias::corrected(&self.corrections, NodeId(node), found);
        corrected.or_else(|| found.map(<[f32]>::to_vec))
    }

    /// The quantized weight of the node at a position; of a recurrent layer, the first.
    pub fn weight(&self, node: usize) -> Option<&QuantizedWeight> {
        self.weights.get(&(NodeId(node), 0))
    }
}
