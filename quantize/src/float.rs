//! Runs a graph in float: what calibration watches and what quantized results are compared with.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2};
use qconfig_core::kernel::Activation;

use crate::graph::{BatchNorm, Conv, Graph, Linear, Node, NodeId, Op, Pool, ValueId, pair};
use crate::tensor::Tensor;

/// An input does not fit the graph.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// More or fewer than the graph has.
    #[error("the graph has {expected} inputs, {found} were given")]
    Count {
        /// Inputs of the graph.
        expected: usize,
        /// Inputs given.
        found: usize,
    },
    /// Another shape.
    #[error("input `{name}` has shape {expected:?}, {found:?} was given")]
    Shape {
        /// The input.
        name: String,
        /// Its shape.
        expected: Vec<usize>,
        /// The shape given.
        found: Vec<usize>,
    },
    /// NaN or infinity.
    #[error("input `{name}` holds {value} at element {at}")]
    NotFinite {
        /// The input.
        name: String,
        /// NaN or an infinity.
        value: f32,
        /// Its position.
        at: usize,
    },
}

/// Checks count, shapes and that every value is finite.
///
/// # Errors
/// The first [`InputError`].
pub fn check_inputs(graph: &Graph, inputs: &[Tensor]) -> Result<(), InputError> {
    if inputs.len() != graph.inputs().len() {
        return Err(InputError::Count {
            expected: graph.inputs().len(),
            found: inputs.len(),
        });
    }
    for (id, tensor) in graph.inputs().iter().zip(inputs) {
        let value = graph.value(*id);
        if tensor.shape() != value.shape {
            let (expected, found) = (value.shape.clone(), tensor.shape().to_vec());
            return Err(InputError::Shape {
                name: value.name.clone(),
                expected,
                found,
            });
        }
        if let Some((at, value_at)) = tensor
            .data()
            .iter()
            .enumerate()
            .find(|(_, x)| !x.is_finite())
        {
            return Err(InputError::NotFinite {
                name: value.name.clone(),
                value: *value_at,
                at,
            });
        }
    }
    Ok(())
}

/// What a run may change and see: every value in execution order, after it is computed.
pub(crate) trait Visitor {
    /// Called with each graph input and each node's output; may replace the values.
    fn value(&mut self, id: ValueId, tensor: &mut Tensor);
    /// The weight to use for a node in place of its own.
    fn weight(&self, _node: NodeId) -> Option<&Tensor> {
        None
    }
    /// Replaces an input of a node, for instance by a quantized one.
    fn input(&self, _node: NodeId, _at: usize, _tensor: &Tensor) -> Option<Tensor> {
        None
    }
}

/// Runs the graph and returns every value.
pub(crate) fn execute(
    graph: &Graph,
    inputs: &[Tensor],
    visitor: &mut impl Visitor,
) -> Result<Vec<Tensor>, InputError> {
    check_inputs(graph, inputs)?;
    let mut values = vec![Tensor::default(); graph.values.len()];
    for (id, input) in graph.inputs.iter().zip(inputs) {
        values[id.0] = input.clone();
        visitor.value(*id, &mut values[id.0]);
    }
    for (at, node) in graph.nodes.iter().enumerate() {
        let id = NodeId(at);
        let replaced: Vec<Option<Tensor>> = node
            .inputs
            .iter()
            .enumerate()
            .map(|(i, value)| visitor.input(id, i, &values[value.0]))
            .collect();
        let operands: Vec<&Tensor> = node
            .inputs
            .iter()
            .zip(&replaced)
            .map(|(value, new)| new.as_ref().unwrap_or(&values[value.0]))
            .collect();
        let mut output = compute(
            node,
            &operands,
            visitor.weight(id),
            &graph.values[node.output.0].shape,
        );
        activate(node.activation, &mut output);
        visitor.value(node.output, &mut output);
        values[node.output.0] = output;
    }
    Ok(values)
}

struct Plain;
impl Visitor for Plain {
    fn value(&mut self, _: ValueId, _: &mut Tensor) {}
}

impl Graph {
    /// Runs the model in float.
    ///
    /// # Errors
    /// [`InputError`] where an input has another shape or holds NaN or infinity.
    pub fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, InputError> {
        let values = execute(self, inputs, &mut Plain)?;
        Ok(self.outputs.iter().map(|id| values[id.0].clone()).collect())
    }

    /// Runs the model in float and returns every value, indexed as [`ValueId`]s are.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn run_all(&self, inputs: &[Tensor]) -> Result<Values, InputError> {
        Ok(Values(execute(self, inputs, &mut Plain)?))
    }
}

/// Every value of a run.
#[derive(Clone, Debug)]
pub struct Values(pub(crate) Vec<Tensor>);

impl Values {
    /// The tensor of a value.
    pub fn get(&self, id: ValueId) -> &Tensor {
        &self.0[id.0]
    }
}

fn activate(activation: Activation, tensor: &mut Tensor) {
    let (low, high) = match activation {
        Activation::None => return,
        Activation::Relu => (0.0, f32::INFINITY),
        Activation::Clamp { low, high } => (low, high),
    };
    for x in tensor.data_mut() {
        *x = x.max(low).min(high);
    }
}

fn compute(node: &Node, inputs: &[&Tensor], weight: Option<&Tensor>, shape: &[usize]) -> Tensor {
    let x = inputs[0];
    match &node.op {
        Op::Conv(conv) => convolve(conv, weight.unwrap_or(&conv.weight), x, shape),
        Op::Linear(linear) => multiply(linear, weight.unwrap_or(&linear.weight), x, shape),
        Op::BatchNorm(bn) => normalize(bn, x),
        Op::Relu => map(x, |x| x.max(0.0)),
        Op::Clamp { low, high } => map(x, |x| x.max(*low).min(*high)),
        Op::Add => {
            let mut sum = x.clone();
            for (x, y) in sum.data_mut().iter_mut().zip(inputs[1].data()) {
                *x += y;
            }
            sum
        }
        Op::MaxPool(pool) => pooled(pool, x, shape, |cells| {
            cells.iter().flatten().copied().fold(f32::MIN, f32::max)
        }),
        Op::AvgPool {
            pool,
            count_include_pad,
            divisor_override,
        } => pooled(pool, x, shape, |cells| {
            let inside = cells.iter().flatten().count();
            let divisor = divisor_override.unwrap_or(if *count_include_pad {
                cells.len()
            } else {
                inside
            });
            cells.iter().flatten().sum::<f32>() / divisor.max(1) as f32
        }),
        Op::GlobalAvgPool => {
            let area: usize = x.shape()[2..].iter().product();
            let means = x
                .data()
                .chunks(area)
                .map(|plane| plane.iter().sum::<f32>() / area as f32);
            filled(shape, means)
        }
        Op::Flatten { .. } | Op::Reshape(_) | Op::Identity => {
            filled(shape, x.data().iter().copied())
        }
    }
}

fn filled(shape: &[usize], values: impl Iterator<Item = f32>) -> Tensor {
    let mut tensor = Tensor::zeros(shape);
    for (to, from) in tensor.data_mut().iter_mut().zip(values) {
        *to = from;
    }
    tensor
}

fn map(x: &Tensor, f: impl Fn(f32) -> f32) -> Tensor {
    filled(x.shape(), x.data().iter().map(|x| f(*x)))
}

fn normalize(bn: &BatchNorm, x: &Tensor) -> Tensor {
    let channels = x.shape()[1];
    let area: usize = x.shape()[2..].iter().product();
    let mut out = x.clone();
    for (plane, values) in out.data_mut().chunks_mut(area).enumerate() {
        let c = plane % channels;
        let scale = bn.weight[c] / (bn.running_var[c] + bn.eps).sqrt();
        for x in values {
            *x = (*x - bn.running_mean[c]) * scale + bn.bias[c];
        }
    }
    out
}

/// `a[m, k] b[k, n]`, or `a[m, k] b[n, k]^T` where `transposed`, row-major.
fn product(a: &[f32], b: &[f32], (m, k, n): (usize, usize, usize), transposed: bool) -> Vec<f32> {
    let mut c = vec![0.0; m * n];
    let b = if transposed {
        ArrayView2::from_shape((n, k), b).map(ArrayView2::reversed_axes)
    } else {
        ArrayView2::from_shape((k, n), b)
    };
    let to = ArrayViewMut2::from_shape((m, n), &mut c);
    let (Ok(a), Ok(b), Ok(mut to)) = (ArrayView2::from_shape((m, k), a), b, to) else {
        // shapes were checked when the graph was built
        debug_assert!(false, "operands of a product do not fit");
        return c;
    };
    general_mat_mul(1.0, &a, &b, 0.0, &mut to);
    c
}

fn multiply(linear: &Linear, weight: &Tensor, x: &Tensor, shape: &[usize]) -> Tensor {
    let (n, k) = (weight.shape()[0], weight.shape()[1]);
    let m = x.data().len() / k;
    let mut out = filled(
        shape,
        product(x.data(), weight.data(), (m, k, n), true).into_iter(),
    );
    if let Some(bias) = &linear.bias {
        for row in out.data_mut().chunks_mut(n) {
            for (y, b) in row.iter_mut().zip(bias) {
                *y += b;
            }
        }
    }
    out
}

/// A window over one or two dimensions, seen as two.
struct Window2 {
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
}

impl Window2 {
    /// The input cell under tap `t` of output `o` along dimension `d`, if it is inside.
    fn cell(&self, d: usize, o: usize, t: usize, size: usize) -> Option<usize> {
        let at = (o * self.stride[d] + t * self.dilation[d]).checked_sub(self.padding[d])?;
        (at < size).then_some(at)
    }
}

fn convolve(conv: &Conv, weight: &Tensor, x: &Tensor, shape: &[usize]) -> Tensor {
    let window = Window2 {
        kernel: pair(&weight.shape()[2..], 1),
        stride: pair(&conv.stride, 1),
        padding: pair(&conv.padding, 0),
        dilation: pair(&conv.dilation, 1),
    };
    let [h, w] = pair(&x.shape()[2..], 1);
    let [oh, ow] = pair(&shape[2..], 1);
    let (batch, channels) = (x.shape()[0], x.shape()[1]);
    let (outputs, group_in) = (weight.shape()[0], weight.shape()[1]);
    let group_out = outputs / conv.groups;
    let (k, pixels) = (group_in * window.kernel[0] * window.kernel[1], oh * ow);
    let mut out = Tensor::zeros(shape);
    let mut columns = vec![0.0; k * pixels];
    for n in 0..batch {
        for g in 0..conv.groups {
            for (row, column) in columns.chunks_mut(pixels).enumerate() {
                let (c, tap) = (
                    row / (window.kernel[0] * window.kernel[1]),
                    row % (window.kernel[0] * window.kernel[1]),
                );
                let (ky, kx) = (tap / window.kernel[1], tap % window.kernel[1]);
                let plane = ((n * channels) + g * group_in + c) * h * w;
                for (pixel, cell) in column.iter_mut().enumerate() {
                    let at =
                        window
                            .cell(0, pixel / ow, ky, h)
                            .zip(window.cell(1, pixel % ow, kx, w));
                    *cell = at.map_or(0.0, |(y, x_at)| x.data()[plane + y * w + x_at]);
                }
            }
            let rows = &weight.data()[g * group_out * k..(g + 1) * group_out * k];
            let result = product(rows, &columns, (group_out, k, pixels), false);
            let to = (n * outputs + g * group_out) * pixels;
            out.data_mut()[to..to + group_out * pixels].copy_from_slice(&result);
        }
    }
    if let Some(bias) = &conv.bias {
        for (plane, values) in out.data_mut().chunks_mut(pixels).enumerate() {
            let b = bias[plane % outputs];
            values.iter_mut().for_each(|y| *y += b);
        }
    }
    out
}

/// Pools; `f` sees each window's cells, `None` for padding. Cells beyond the padding (ceil mode) are
/// left out.
fn pooled(pool: &Pool, x: &Tensor, shape: &[usize], f: impl Fn(&[Option<f32>]) -> f32) -> Tensor {
    let window = Window2 {
        kernel: pair(&pool.kernel, 1),
        stride: pair(&pool.stride, 1),
        padding: pair(&pool.padding, 0),
        dilation: pair(&pool.dilation, 1),
    };
    let [h, w] = pair(&x.shape()[2..], 1);
    let [oh, ow] = pair(&shape[2..], 1);
    let mut out = Tensor::zeros(shape);
    let mut cells = Vec::new();
    for (plane, values) in out.data_mut().chunks_mut(oh * ow).enumerate() {
        for (pixel, value) in values.iter_mut().enumerate() {
            cells.clear();
            for ky in 0..window.kernel[0] {
                for kx in 0..window.kernel[1] {
                    let (oy, ox) = (pixel / ow, pixel % ow);
                    let beyond = oy * window.stride[0] + ky * window.dilation[0]
                        >= h + 2 * window.padding[0]
                        || ox * window.stride[1] + kx * window.dilation[1]
                            >= w + 2 * window.padding[1];
                    if beyond {
                        continue;
                    }
                    let at = window.cell(0, oy, ky, h).zip(window.cell(1, ox, kx, w));
                    cells.push(at.map(|(y, x_at)| x.data()[plane * h * w + y * w + x_at]));
                }
            }
            *value = f(&cells);
        }
    }
    out
}
