//! Lower: the dispatch table gives each quantized node its kernel, one table those that stay float; the result
//! is a [`Plan`].

mod clamp;
mod embedding;
mod form;
mod movement;
pub(crate) mod op;
mod read;
mod recurrent;
mod way;
mod weight;

use std::collections::BTreeMap;

use qconfig_core::DType;
use qconfig_core::kernel::NodeOp;
use qconfig_runtime::{BuildError, Plan, PlanBuilder, StepInfo, TensorId};

use self::form::{Layout, Stored, is_flat};
use self::way::Way;
use self::weight::Packed;
use crate::bias::corrected;
use crate::convert::{ReferenceModel, float_weights};
use crate::graph::{Node, NodeId, Op, ValueId};
use crate::prepare::{Decision, FloatReason};
use crate::weight_only::BlockWeight;

/// A plan, and where it keeps each value of the graph it came from.
#[derive(Debug)]
pub struct Lowered {
    /// What runs.
    pub plan: Plan<'static>,
    values: BTreeMap<ValueId, Vec<Stored>>,
    /// Clamps that another node's step computes.
    taken: BTreeMap<NodeId, NodeId>,
}

impl Lowered {
    /// The node whose step computes this one too: a clamp of nothing but what that one makes.
    pub fn taken_by(&self, node: NodeId) -> Option<NodeId> {
        self.taken.get(&node).copied()
    }
}

/// A model cannot be lowered.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LowerError {
    /// A node stays float, and there is no kernel for it on floats, or none was to be used
    /// ([`FloatPolicy::Refuse`]).
    #[error("node `{node}` ({pattern}) stays float: {reason}")]
    Float {
        /// The node.
        node: String,
        /// Its operator.
        pattern: String,
        /// Why.
        reason: FloatReason,
    },
    /// The spec binds no kernel to the pair.
    #[error(
        "node `{node}`: backend `{backend}` has no kernel for `{pattern}` with dtype config `{dtype_config}` ({file}:{line} says `kernel none`)"
    )]
    NoKernel {
        /// The node.
        node: String,
        /// The backend.
        backend: &'static str,
        /// The pattern.
        pattern: String,
        /// The dtype config.
        dtype_config: &'static str,
        /// The file of the pattern.
        file: &'static str,
        /// The line of the pattern.
        line: u32,
    },
    /// A value has no parameters for a dtype: it was not observed.
    #[error("value `{value}` has no parameters for {dtype}; calibrate the model as it is lowered")]
    NotObserved {
        /// The value.
        value: String,
        /// The dtype.
        dtype: DType,
    },
    /// A kernel or the plan refuses.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// What becomes of a node that is not quantized.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum FloatPolicy {
    /// It is computed in `float32` ([`qconfig_kernels::float`]); the plan's step and the
    /// [`report`](crate::report()) say so, and why.
    #[default]
    Run,
    /// The model is refused.
    Refuse,
}

/// How a model is lowered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct LowerOptions {
    /// What becomes of a node that is not quantized.
    pub float: FloatPolicy,
}

impl LowerOptions {
    /// Models in which a node stays float are refused.
    pub const ALL_QUANTIZED: Self = Self {
        float: FloatPolicy::Refuse,
    };
}

/// Binds kernels, packs weights and plans memory. Nodes that stay float run in float; their steps have the
/// dtype config `float32`, and the [`report`](crate::report()) says why.
///
/// # Errors
/// [`LowerError`] where a node has no kernel, or a kernel refuses it.
pub fn lower(model: &ReferenceModel) -> Result<Lowered, LowerError> {
    lower_with(model, LowerOptions::default())
}

/// [`lower`] with options.
///
/// # Errors
/// [`LowerError`].
pub fn lower_with(model: &ReferenceModel, options: LowerOptions) -> Result<Lowered, LowerError> {
    let mut lowering = Lowering {
        model,
        builder: PlanBuilder::new(),
        values: BTreeMap::new(),
        taken: BTreeMap::new(),
    };
    for id in &model.graph.inputs {
        let value = &model.graph.values[id.0];
        let dtype = value.dtype;
        let tensor = lowering.tensor(&value.name, dtype, None, &value.shape)?;
        lowering.builder.input(tensor)?;
        lowering.keep(
            *id,
            Stored {
                tensor,
                dtype,
                qparams: None,
                layout: Layout::Logical,
            },
        );
    }
    for (at, (node, decision)) in model.graph.nodes.iter().zip(&model.decisions).enumerate() {
        if let (Decision::Float(reason), FloatPolicy::Refuse) = (decision, options.float) {
            return Err(LowerError::Float {
                node: node.name.clone(),
                pattern: node.spelling.dsl.into(),
                reason: reason.clone(),
            });
        }
        lowering.node(NodeId(at), node, decision.into())?;
    }
    for (at, id) in model.graph.outputs.iter().enumerate() {
        let mut tensor = lowering.form(*id, DType::float32, None, Layout::Logical)?;
        if let Some(name) = model.graph.output_names.get(at) {
            // the same bytes under the name that they were given
            let shape = lowering.shape(*id, Layout::Logical);
            let named = lowering.tensor(name, DType::float32, None, &shape)?;
            lowering.builder.alias(tensor, named)?;
            tensor = named;
        }
        lowering.builder.output(tensor)?;
    }
    Ok(Lowered {
        plan: lowering.builder.finish()?,
        values: lowering.values,
        taken: lowering.taken,
    })
}

struct Lowering<'m> {
    model: &'m ReferenceModel,
    builder: PlanBuilder,
    values: BTreeMap<ValueId, Vec<Stored>>,
    taken: BTreeMap<NodeId, NodeId>,
}

impl Lowering<'_> {
    /// The order in which a node reads and writes: its operator's, or where that is all the same to it, the one
    /// in which its first operand is kept.
    fn layout(&self, node: &Node, shape: &[usize]) -> Layout {
        if !op::takes_any_layout(&node.op, shape) {
            return op::layout(&node.op, shape);
        }
        let mut kept = node.inputs.iter().filter_map(|id| {
            let forms = self.values.get(id)?;
            let spatial = !is_flat(&self.model.graph.values[id.0].shape);
            forms.first().filter(|_| spatial).map(|form| form.layout)
        });
        match kept.next() {
            Some(Layout::Logical | Layout::FlatChannelsLast(_)) => Layout::Logical,
            Some(Layout::ChannelsLast) | None => Layout::ChannelsLast,
        }
    }

    fn node(&mut self, at: NodeId, node: &Node, way: Way<'_>) -> Result<(), LowerError> {
        if self.taken.contains_key(&at) {
            return Ok(());
        }
        if matches!(node.op, Op::Flatten { .. } | Op::Reshape(_) | Op::Identity) {
            return self.reshape(node, way);
        }
        if let Op::Movement(op) = &node.op {
            return self.movement(node, op, way);
        }
        if let Op::Embedding(op) = &node.op {
            return self.embedding(at, node, op, way);
        }
        if let Op::Recurrent(op) = &node.op {
            return self.recurrent(at, node, op, way);
        }
        let first = node.inputs.first();
        let in_shape = first.map_or(vec![], |id| self.model.graph.values[id.0].shape.clone());
        let layout = self.layout(node, &in_shape);
        let mut node_op = op::node_op(&node.op, &in_shape, layout);
        let blocks = self.model.blocks.get(&at);
        if let Some(blocks) = blocks {
            let block = blocks.block();
            node_op = NodeOp::LinearWeightOnly { block };
        }
        let kernel = self.kernel(node, way, &node_op)?;
        let (inputs, flat) = self.operands(node, way, layout)?;
        let float = float_weights(node).into_iter().next();
        let dtype = way.float_weight();
        let weight = match (self.model.weights.get(&(at, 0)), float) {
            _ if blocks.is_some() => None,
            (Some(weight), _) => Some(Packed::of(weight, &node.op, flat.as_deref())),
            (None, Some(weight)) => {
                Some(Packed::of_float(&weight, dtype, &node.op, flat.as_deref()))
            }
            (None, None) => None,
        };
        let bias = corrected(&self.model.corrections, at, op::bias(&node.op));
        let (dtype, qparams) = self.typed(node.output, way.output(), way)?;
        let out_layout = if is_flat(&self.model.graph.values[node.output.0].shape) {
            Layout::Logical
        } else {
            layout
        };
        let shape = self.shape(node.output, out_layout);
        let output = self.tensor(&node.name, dtype, qparams, &shape)?;
        if let NodeOp::MatMul { transposed } = &mut node_op {
            let right = node.inputs.get(1);
            *transposed = right.is_some_and(|id| self.transposed(*id).is_some());
        }
        let indices = op::indices(&node.op);
        let parameters = op::parameters(&node.op, &indices);
        let pattern = way.pattern(node);
        let step = StepInfo {
            pattern: &pattern,
            dtype_config: way.dtype_config(),
            activation: op::own_activation(node),
            weight: (blocks.map(BlockWeight::spec)).or(weight.as_ref().map(Packed::spec)),
            bias: bias.as_deref().or(op::bias(&node.op)),
            parameters: &parameters,
            reduce_range: way.reduce_range(),
            divide: self.model.divide,
            ..StepInfo::new(&node.name, kernel, node_op, &inputs, output)
        };
        let clamps = self.clamps(node, way, (dtype, qparams));
        let with_clamps = StepInfo {
            pattern: &clamps.pattern,
            activation: clamps.activation,
            ..step
        };
        // a kernel that takes no activation has the clamps stay steps of their own
        let value = if !clamps.nodes.is_empty() && self.builder.step(with_clamps).is_ok() {
            self.taken
                .extend(clamps.nodes.iter().map(|clamp| (*clamp, at)));
            clamps.output
        } else {
            self.builder.step(step)?;
            node.output
        };
        self.keep(
            value,
            Stored {
                tensor: output,
                dtype,
                qparams,
                layout: out_layout,
            },
        );
        Ok(())
    }

    /// The inputs of a node in the forms it wants; where a linear layer reads flattened features in
    /// channels-last order, also the shape that was flattened, for its weight to follow.
    fn operands(
        &mut self,
        node: &Node,
        way: Way<'_>,
        layout: Layout,
    ) -> Result<(Vec<TensorId>, Option<Vec<usize>>), LowerError> {
        let (mut inputs, mut flat) = (Vec::new(), None);
        for id in &node.inputs {
            let (dtype, qparams) = self.typed(*id, way.input(), way)?;
            let forms = self.values.get(id).into_iter().flatten();
            let mut typed = forms.filter(|form| (form.dtype, form.qparams) == (dtype, qparams));
            let flattened = typed.find_map(|form| match form.layout {
                Layout::FlatChannelsLast(origin) if matches!(node.op, Op::Linear(_)) => {
                    Some((form.tensor, origin))
                }
                _ => None,
            });
            match flattened {
                Some((tensor, origin)) => {
                    inputs.push(tensor);
                    flat = Some(self.model.graph.values[origin.0].shape.clone());
                }
                None if matches!(node.op, Op::Add | Op::Mul | Op::Binary(_) | Op::Where)
                    && layout == Layout::ChannelsLast =>
                {
                    let rank = self.model.graph.values[node.output.0].shape.len();
                    inputs.push(self.aligned(*id, dtype, qparams, rank)?);
                }
                None if node.op == Op::MatMul => {
                    let source = self.transposed(*id).unwrap_or(*id);
                    inputs.push(self.form(source, dtype, qparams, layout)?);
                }
                None if let Op::Stack { axis } = node.op => {
                    inputs.push(self.with_axis(*id, dtype, qparams, axis)?);
                }
                None => inputs.push(self.form(*id, dtype, qparams, layout)?),
            }
        }
        Ok((inputs, flat))
    }

    /// Another shape of the same bytes; a linear layer behind it takes its features channels last.
    fn reshape(&mut self, node: &Node, way: Way<'_>) -> Result<(), LowerError> {
        let input = node.inputs[0];
        let (dtype, qparams) = self.typed(input, way.input(), way)?;
        let shape = self.model.graph.values[node.output.0].shape.clone();
        let from_shape = self.model.graph.values[input.0].shape.clone();
        let mut readers = self.model.graph.readers(node.output).peekable();
        let linear = readers.peek().is_some()
            && readers.all(|(at, reader)| {
                // blocks lie along the order of features that there is
                let is_whole = !self.model.blocks.contains_key(&NodeId(at));
                is_whole && matches!(reader.op, Op::Linear(_))
            });
        let flat = !is_flat(&from_shape) && shape.len() == 2 && shape[0] == from_shape[0];
        let permute = flat && linear && !self.model.graph.outputs.contains(&node.output);
        let (from_layout, layout) = if permute {
            (Layout::ChannelsLast, Layout::FlatChannelsLast(input))
        } else if shape == from_shape && !is_flat(&shape) {
            (Layout::ChannelsLast, Layout::ChannelsLast)
        } else {
            (Layout::Logical, Layout::Logical)
        };
        let from = self.form(input, dtype, qparams, from_layout)?;
        let to_shape = self.shape(node.output, layout);
        let to = self.tensor(&node.name, dtype, qparams, &to_shape)?;
        self.builder.alias(from, to)?;
        self.keep(
            node.output,
            Stored {
                tensor: to,
                dtype,
                qparams,
                layout,
            },
        );
        Ok(())
    }
}
