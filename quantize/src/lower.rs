//! Lower: the dispatch table gives each quantized node its kernel; the result is a [`Plan`].

use std::collections::BTreeMap;

use qconfig_core::kernel::{NodeOp, QParams, WeightData, WeightSpec, Window};
use qconfig_core::{DType, KernelFamily};
use qconfig_kernels::{Dequantize, Quantize, Requantize, ToChannelsFirst, ToChannelsLast};
use qconfig_runtime::{
    BufferError, BuildError, Plan, PlanBuilder, Session, StepInfo, TensorId, TensorInfo,
};

use crate::convert::{QuantizedWeight, ReferenceModel};
use crate::graph::{Node, NodeId, Op, Pool, ValueId};
use crate::prepare::{Decision, FloatReason, Quantized};
use crate::tensor::Tensor;

/// A plan, and where it keeps each value of the graph it came from.
#[derive(Debug)]
pub struct Lowered {
    /// What runs.
    pub plan: Plan<'static>,
    values: BTreeMap<ValueId, Vec<Stored>>,
}

/// A model cannot be lowered.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LowerError {
    /// A node stays float, and plans have no float operators.
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

/// How a value's elements are ordered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Layout {
    /// As the graph has them: channels first.
    Logical,
    /// Channels last.
    ChannelsLast,
    /// `[N, features]`, the features of a channels-last value of this value's shape.
    FlatChannelsLast(ValueId),
}

/// One form of a value.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Stored {
    tensor: TensorId,
    dtype: DType,
    qparams: Option<QParams>,
    layout: Layout,
}

/// Binds kernels, packs weights and plans memory.
///
/// # Errors
/// [`LowerError`] where a node stays float, has no kernel, or a kernel refuses it.
pub fn lower(model: &ReferenceModel) -> Result<Lowered, LowerError> {
    let mut lowering = Lowering {
        model,
        builder: PlanBuilder::new(),
        values: BTreeMap::new(),
    };
    for id in &model.graph.inputs {
        let value = &model.graph.values[id.0];
        let tensor = lowering.tensor(&value.name, DType::float32, None, &value.shape)?;
        lowering.builder.input(tensor)?;
        lowering.keep(
            *id,
            Stored {
                tensor,
                dtype: DType::float32,
                qparams: None,
                layout: Layout::Logical,
            },
        );
    }
    for (at, (node, decision)) in model.graph.nodes.iter().zip(&model.decisions).enumerate() {
        match decision {
            Decision::Float(reason) => {
                return Err(LowerError::Float {
                    node: node.name.clone(),
                    pattern: node.spelling.dsl.into(),
                    reason: reason.clone(),
                });
            }
            Decision::Quantized(quantized) => lowering.node(NodeId(at), node, quantized)?,
        }
    }
    for id in &model.graph.outputs {
        let tensor = lowering.form(*id, DType::float32, None, Layout::Logical)?;
        lowering.builder.output(tensor)?;
    }
    Ok(Lowered {
        plan: lowering.builder.finish()?,
        values: lowering.values,
    })
}

struct Lowering<'m> {
    model: &'m ReferenceModel,
    builder: PlanBuilder,
    values: BTreeMap<ValueId, Vec<Stored>>,
}

impl Lowering<'_> {
    fn keep(&mut self, id: ValueId, stored: Stored) {
        self.values.entry(id).or_default().push(stored);
    }

    fn tensor(
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

    fn shape(&self, id: ValueId, layout: Layout) -> Vec<usize> {
        let shape = &self.model.graph.values[id.0].shape;
        match layout {
            Layout::ChannelsLast => channels_last(shape),
            Layout::Logical | Layout::FlatChannelsLast(_) => shape.clone(),
        }
    }

    /// The value in a dtype and layout, converted where it is kept in other forms only.
    fn form(
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
        let narrow = dtype.is_quantized() || from.layout == layout;
        let from = if narrow {
            from
        } else {
            let tensor = self.form(id, from.dtype, from.qparams, layout)?;
            Stored {
                tensor,
                layout,
                ..from
            }
        };
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

    /// The same elements in another order.
    fn reorder(
        &mut self,
        id: ValueId,
        from: Stored,
        layout: Layout,
    ) -> Result<TensorId, LowerError> {
        let value = &self.model.graph.values[id.0];
        let (kernel, op, verb, source) = match (from.layout, layout) {
            (Layout::Logical, Layout::ChannelsLast) => (
                ToChannelsLast::KERNEL,
                NodeOp::ToChannelsLast,
                "channels_last",
                from.tensor,
            ),
            (Layout::ChannelsLast, _) => (
                ToChannelsFirst::KERNEL,
                NodeOp::ToChannelsFirst,
                "channels_first",
                from.tensor,
            ),
            (Layout::FlatChannelsLast(origin), _) => {
                // back to its spatial shape first
                let shape = self.shape(origin, Layout::ChannelsLast);
                let name = format!("{}:spatial", value.name);
                let spatial = self.tensor(&name, from.dtype, from.qparams, &shape)?;
                self.builder.alias(from.tensor, spatial)?;
                (
                    ToChannelsFirst::KERNEL,
                    NodeOp::ToChannelsFirst,
                    "channels_first",
                    spatial,
                )
            }
            (Layout::Logical, _) => return Ok(from.tensor),
        };
        let name = format!("{}:{verb}", value.name);
        // flattened features keep their flat shape; the kernel sees the spatial one
        let shape = match (from.layout, layout) {
            (Layout::FlatChannelsLast(origin), _) => self.shape(origin, Layout::Logical),
            _ => self.shape(id, layout),
        };
        let tensor = self.tensor(&name, from.dtype, from.qparams, &shape)?;
        let moved = if trivial(&self.shape(id, Layout::Logical))
            && !matches!(from.layout, Layout::FlatChannelsLast(_))
        {
            self.builder.alias(source, tensor)?;
            tensor
        } else {
            self.builder
                .step(StepInfo::new(&name, kernel, op, &[source], tensor))?;
            tensor
        };
        let tensor = if let Layout::FlatChannelsLast(_) = from.layout {
            let shape = self.shape(id, Layout::Logical);
            let flat = self.tensor(
                &format!("{}:flat", value.name),
                from.dtype,
                from.qparams,
                &shape,
            )?;
            self.builder.alias(moved, flat)?;
            flat
        } else {
            moved
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

    /// Dtype and parameters of a value for one side of a dtype config.
    fn typed(
        &self,
        id: ValueId,
        wanted: Option<qconfig_core::DTypeWithConstraints>,
        quantized: &Quantized,
    ) -> Result<(DType, Option<QParams>), LowerError> {
        let Some(wanted) = wanted.filter(|_| quantized.is_static()) else {
            return Ok((DType::float32, None));
        };
        match self.model.qparams.get(&(id, wanted.dtype)) {
            Some(qparams) => Ok((wanted.dtype, Some(*qparams))),
            None => Err(LowerError::NotObserved {
                value: self.model.graph.values[id.0].name.clone(),
                dtype: wanted.dtype,
            }),
        }
    }

    fn node(&mut self, at: NodeId, node: &Node, quantized: &Quantized) -> Result<(), LowerError> {
        let dtypes = quantized.dtypes();
        let pattern = quantized.config.pattern.to_string();
        let Some(kernel) = self
            .model
            .backend
            .kernel(quantized.config, quantized.dtype_config)
        else {
            return Err(LowerError::NoKernel {
                node: node.name.clone(),
                backend: self.model.backend.name,
                pattern,
                dtype_config: dtypes.name,
                file: quantized.config.origin.file,
                line: quantized.config.origin.line,
            });
        };
        if matches!(node.op, Op::Flatten { .. } | Op::Reshape(_) | Op::Identity) {
            return self.reshape(node, quantized);
        }
        let layout = if matches!(node.op, Op::Linear(_)) {
            Layout::Logical
        } else {
            Layout::ChannelsLast
        };
        let mut inputs = Vec::new();
        for id in &node.inputs {
            let (dtype, qparams) = self.typed(*id, dtypes.input, quantized)?;
            inputs.push(match self.flattened(*id, dtype, qparams, node) {
                Some(stored) => stored.tensor,
                None => self.form(*id, dtype, qparams, layout)?,
            });
        }
        let permuted = match node.inputs.first().and_then(|id| self.values.get(id)) {
            Some(forms) => forms
                .iter()
                .find(|form| Some(&form.tensor) == inputs.first())
                .map(|form| form.layout),
            None => None,
        };
        let order = match permuted {
            Some(Layout::FlatChannelsLast(origin)) => {
                Some(self.model.graph.values[origin.0].shape.clone())
            }
            _ => None,
        };
        let weight = self
            .model
            .weights
            .get(&at)
            .map(|weight| Packed::of(weight, &node.op, order.as_deref()));
        let float = crate::convert::float_weight(node)
            .filter(|_| weight.is_none())
            .map(|weight| Packed::of_float(weight, &node.op, order.as_deref()));
        let weight = weight.or(float);
        let (dtype, qparams) = self.typed(node.output, dtypes.output, quantized)?;
        let out_layout = if is_flat(&self.model.graph.values[node.output.0].shape) {
            Layout::Logical
        } else {
            layout
        };
        let shape = self.shape(node.output, out_layout);
        let output = self.tensor(&node.name, dtype, qparams, &shape)?;
        self.builder.step(StepInfo {
            pattern: &pattern,
            dtype_config: dtypes.name,
            activation: own_activation(node),
            weight: weight.as_ref().map(Packed::spec),
            bias: bias(&node.op),
            reduce_range: quantized.qconfig.activation.reduce_range,
            ..StepInfo::new(&node.name, kernel, node_op(&node.op), &inputs, output)
        })?;
        self.keep(
            node.output,
            Stored {
                tensor: output,
                dtype,
                qparams,
                layout: out_layout,
            },
        );
        Ok(())
    }

    /// A flattened channels-last form, where a linear layer reads it.
    fn flattened(
        &self,
        id: ValueId,
        dtype: DType,
        qparams: Option<QParams>,
        node: &Node,
    ) -> Option<Stored> {
        matches!(node.op, Op::Linear(_)).then_some(())?;
        self.values.get(&id)?.iter().copied().find(|stored| {
            (stored.dtype, stored.qparams) == (dtype, qparams)
                && matches!(stored.layout, Layout::FlatChannelsLast(_))
        })
    }

    /// Another shape of the same bytes; a linear layer behind it takes its features channels last.
    fn reshape(&mut self, node: &Node, quantized: &Quantized) -> Result<(), LowerError> {
        let dtypes = quantized.dtypes();
        let input = node.inputs[0];
        let (dtype, qparams) = self.typed(input, dtypes.input, quantized)?;
        let shape = self.model.graph.values[node.output.0].shape.clone();
        let from_shape = self.model.graph.values[input.0].shape.clone();
        let mut readers = self.model.graph.readers(node.output).peekable();
        let linear = readers.peek().is_some()
            && readers.all(|(_, reader)| matches!(reader.op, Op::Linear(_)));
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

/// `[N, C, spatial..]` to `[N, spatial.., C]`.
fn channels_last(shape: &[usize]) -> Vec<usize> {
    match shape {
        [n, c, spatial @ ..] if !spatial.is_empty() => [&[*n], spatial, &[*c]].concat(),
        _ => shape.to_vec(),
    }
}

/// No spatial dimensions: both layouts are the same.
fn is_flat(shape: &[usize]) -> bool {
    shape.len() < 3
}

/// Both layouts have the same bytes.
fn trivial(shape: &[usize]) -> bool {
    match shape {
        [_, channels, spatial @ ..] => *channels == 1 || spatial.iter().all(|dim| *dim == 1),
        _ => true,
    }
}

/// The activation a kernel applies: what is fused, or for a lone activation the node itself.
fn own_activation(node: &Node) -> qconfig_core::kernel::Activation {
    node.op.as_activation().unwrap_or(node.activation)
}

fn bias(op: &Op) -> Option<&[f32]> {
    match op {
        Op::Conv(conv) => conv.bias.as_deref(),
        Op::Linear(linear) => linear.bias.as_deref(),
        _ => None,
    }
}

fn pair(values: &[usize], missing: usize) -> [usize; 2] {
    match values {
        [w] => [missing, *w],
        [h, w, ..] => [*h, *w],
        [] => [missing; 2],
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

fn node_op(op: &Op) -> NodeOp {
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
        // no backend binds a kernel to a lone batch normalization yet, so it is never lowered
        Op::Relu | Op::Clamp { .. } | Op::BatchNorm(_) => NodeOp::Clamp,
    }
}

/// A weight in storage order.
struct Packed<'w> {
    dtype: DType,
    shape: Vec<usize>,
    bytes: Vec<i8>,
    floats: Vec<f32>,
    scales: &'w [f32],
    zero_points: &'w [i32],
}

impl<'w> Packed<'w> {
    fn of(weight: &'w QuantizedWeight, op: &Op, flat: Option<&[usize]>) -> Self {
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

    fn of_float(weight: &Tensor, op: &Op, flat: Option<&[usize]>) -> Packed<'static> {
        let (shape, order) = storage_order(weight.shape(), op, flat);
        Packed {
            dtype: DType::float16,
            shape,
            bytes: Vec::new(),
            floats: order.map(|at| weight.data()[at]).collect(),
            scales: &[],
            zero_points: &[],
        }
    }

    fn spec(&self) -> WeightSpec<'_> {
        let data = match self.dtype {
            DType::float16 => WeightData::F32(&self.floats),
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
        (Op::Conv(_), _) => {
            let area = shape[2..].iter().product();
            let [h, w] = pair(&shape[2..], 1);
            (shape[1], area, vec![rows, h, w, shape[1]])
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

impl Lowered {
    /// The float values of a graph value after a run that kept every tensor
    /// (`SessionOptions::keep_all`), channels first; `None` where the plan does not hold the value.
    ///
    /// # Errors
    /// [`BufferError`] where the session did not keep every tensor.
    pub fn read(
        &self,
        session: &Session<'_>,
        value: ValueId,
    ) -> Result<Option<Tensor>, BufferError> {
        let Some(stored) = self.values.get(&value).and_then(|forms| forms.first()) else {
            return Ok(None);
        };
        let bytes = session.tensor_bytes(stored.tensor)?;
        let Some(tensor) = self.plan.tensor(stored.tensor) else {
            return Ok(None);
        };
        let floats: Vec<f32> = match stored.qparams {
            None => bytes
                .chunks_exact(4)
                .map(|word| f32::from_ne_bytes([word[0], word[1], word[2], word[3]]))
                .collect(),
            Some(QParams { scale, zero_point }) => {
                let flip = if stored.dtype == DType::qint8 { 128 } else { 0 };
                bytes
                    .iter()
                    .map(|q| scale * (i32::from(*q) - zero_point - flip) as f32)
                    .collect()
            }
        };
        // the spatial shape whose channels-last order the bytes have, if they have one
        let order = match stored.layout {
            Layout::Logical => None,
            Layout::ChannelsLast => Some(tensor.shape()),
            Layout::FlatChannelsLast(origin) => self.channels_last_shape(origin),
        };
        let Some([n, spatial @ .., c]) = order else {
            return Ok(Tensor::new(tensor.shape().to_vec(), floats).ok());
        };
        let area: usize = spatial.iter().product();
        let at = |i: usize| {
            let (image, rest) = (i / (c * area), i % (c * area));
            image * c * area + (rest % area) * c + rest / area
        };
        let floats = (0..floats.len()).map(|i| floats[at(i)]).collect();
        let shape = match stored.layout {
            Layout::FlatChannelsLast(_) => tensor.shape().to_vec(),
            _ => [&[*n, *c], spatial].concat(),
        };
        Ok(Tensor::new(shape, floats).ok())
    }

    fn channels_last_shape(&self, value: ValueId) -> Option<&[usize]> {
        let forms = self.values.get(&value)?;
        let stored = forms
            .iter()
            .find(|stored| stored.layout == Layout::ChannelsLast)?;
        self.plan
            .tensor(stored.tensor)
            .map(qconfig_runtime::Tensor::shape)
    }
}
