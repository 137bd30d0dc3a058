//! Operators, in the inputs and attributes that ONNX has for them.

use qconfig_core::kernel::{Binary, Padding, QParams, Reduction, Unary};
use qconfig_quantize::{
    Conv, ConvTranspose, Decision, Linear, Movement, Node as GraphNode, Op, Pool, QuantizedWeight,
};

use super::quantized::implied;
use super::{ExportError, Exporter};
use crate::attributes::Attribute;

fn ints(values: &[usize]) -> Attribute {
    Attribute::Ints(values.iter().map(|x| *x as i64).collect())
}

fn int(value: usize) -> Attribute {
    Attribute::Int(value as i64)
}

/// In front of each dimension, then behind each.
fn pads(padding: &[usize], rank: usize) -> Attribute {
    match padding.len() == rank {
        true => ints(&[padding, padding].concat()),
        false => ints(padding),
    }
}

impl Exporter<'_> {
    /// Writes an operator; the name of what it gives.
    pub(super) fn operator(
        &mut self,
        at: usize,
        node: &GraphNode,
        inputs: Vec<String>,
    ) -> Result<String, ExportError> {
        let graph = self.model.graph();
        let unsupported = |what: &str| ExportError::Unsupported {
            node: node.name.clone(),
            what: what.into(),
        };
        let shape = node.inputs.first().map(|id| &graph.value(*id).shape[..]);
        let shape = shape.unwrap_or_default();
        let output_shape = graph.value(node.output).shape.clone();
        // what the output's range does by itself is not written
        if let (Some(activation), Some(input)) = (node.op.as_activation(), inputs.first()) {
            use qconfig_core::kernel::Activation;
            let (low, high) = match activation {
                Activation::Clamp { low, high } => (low, high),
                _ => (0.0, f32::INFINITY),
            };
            let static_dtype = match &self.model.decisions()[at] {
                Decision::Quantized(quantized) => quantized.dtypes().output.map(|to| to.dtype),
                Decision::WeightOnly(_) | Decision::Float(_) => None,
            };
            let qparams = static_dtype
                .and_then(|dtype| Some((dtype, self.model.qparams(node.output, dtype)?)));
            if qparams.is_some_and(|(dtype, qparams)| implied(dtype, qparams, low, high)) {
                return Ok(input.clone());
            }
            let output = self.fresh(&node.name);
            return Ok(self.clipped(input.clone(), low, high, output));
        }
        let qparams = node
            .inputs
            .first()
            .and_then(|id| match &self.model.decisions()[at] {
                Decision::Quantized(quantized) => {
                    self.model.qparams(*id, quantized.dtypes().input?.dtype)
                }
                Decision::WeightOnly(_) | Decision::Float(_) => None,
            });
        let weight = self.model.weight(at).cloned();
        let bias = self.model.bias(at);
        let layer = Layer {
            name: &node.name,
            qparams,
            weight: weight.as_ref(),
            bias: bias.as_deref(),
        };
        match &node.op {
            Op::Conv(conv) => return Ok(self.conv(&layer, conv, inputs)),
            Op::ConvTranspose(conv) => {
                return self
                    .conv_transpose(&layer, conv, inputs)
                    .ok_or_else(|| unsupported("a grouped weight with a scale for each output"));
            }
            Op::Linear(linear) => return Ok(self.linear(&layer, linear, inputs, shape.len())),
            _ => {}
        }
        let output = self.fresh(&node.name);
        let emit =
            |this: &mut Self, op_type: &str| this.emit(op_type, inputs.clone(), output.clone(), []);
        Ok(match &node.op {
            Op::Add => emit(self, "Add"),
            Op::Mul => emit(self, "Mul"),
            Op::MatMul => emit(self, "MatMul"),
            Op::Identity => emit(self, "Identity"),
            Op::GlobalAvgPool => emit(self, "GlobalAveragePool"),
            Op::AdaptiveAvgPool(sizes) if sizes.iter().all(|size| *size == 1) => {
                emit(self, "GlobalAveragePool")
            }
            Op::Binary(function) => emit(
                self,
                match function {
                    Binary::Sub => "Sub",
                    Binary::Div => "Div",
                    Binary::Pow => "Pow",
                    Binary::Minimum => "Min",
                    Binary::Maximum => "Max",
                    _ => return Err(unsupported("a comparison")),
                },
            ),
            Op::Unary(function) => self
                .unary(*function, inputs, output)
                .ok_or_else(|| unsupported(&format!("the function {function:?}")))?,
            Op::Softmax { axis } => self.emit("Softmax", inputs, output, [("axis", int(*axis))]),
            Op::Cat { axis } => self.emit("Concat", inputs, output, [("axis", int(*axis))]),
            Op::Flatten { .. } | Op::Reshape(_) => {
                let to = self.integers(&format!("{}_shape", node.name), output_shape);
                self.emit("Reshape", [inputs, vec![to]].concat(), output, [])
            }
            Op::MaxPool(pool) => {
                let attributes = window(pool);
                self.emit("MaxPool", inputs, output, attributes)
            }
            Op::AvgPool {
                pool,
                count_include_pad,
                divisor_override: None,
            } => {
                let [kernel, strides, around, dilations, ceil] = window(pool);
                let include = ("count_include_pad", int(usize::from(*count_include_pad)));
                let attributes = [kernel, strides, around, dilations, ceil, include];
                self.emit("AveragePool", inputs, output, attributes)
            }
            Op::Mean { axes, keepdim } => {
                let list = self.integers(&format!("{}_axes", node.name), axes.iter().copied());
                let keep = [("keepdims", int(usize::from(*keepdim)))];
                self.emit("ReduceMean", [inputs, vec![list]].concat(), output, keep)
            }
            Op::Reduce {
                reduction,
                axes,
                keepdim,
            } => {
                let op_type = match reduction {
                    Reduction::Sum => "ReduceSum",
                    Reduction::Prod => "ReduceProd",
                    Reduction::Min => "ReduceMin",
                    Reduction::Max => "ReduceMax",
                    _ => return Err(unsupported("a reduction")),
                };
                let list = self.integers(&format!("{}_axes", node.name), axes.iter().copied());
                let keep = [("keepdims", int(usize::from(*keepdim)))];
                self.emit(op_type, [inputs, vec![list]].concat(), output, keep)
            }
            Op::Movement(Movement::Permute(order)) => {
                self.emit("Transpose", inputs, output, [("perm", ints(order))])
            }
            Op::Movement(Movement::Narrow { dim, start, length }) => {
                self.slice(&node.name, inputs, output, [*dim, *start, 1, *length])
            }
            Op::Movement(Movement::Slice {
                dim,
                start,
                step,
                length,
            }) => self.slice(&node.name, inputs, output, [*dim, *start, *step, *length]),
            Op::Select { axis, indices } => {
                let list =
                    self.integers(&format!("{}_indices", node.name), indices.iter().copied());
                let axis = [("axis", int(*axis))];
                self.emit("Gather", [inputs, vec![list]].concat(), output, axis)
            }
            Op::Pad {
                padding,
                before,
                after,
            } => {
                let around = [before.as_slice(), after].concat();
                let list = self.integers(&format!("{}_pads", node.name), around);
                let (mode, value) = match padding {
                    Padding::Constant(value) => ("constant", Some(*value)),
                    Padding::Reflect => ("reflect", None),
                    Padding::Edge => ("edge", None),
                    Padding::Wrap => ("wrap", None),
                    _ => return Err(unsupported("a kind of padding")),
                };
                let mut all = [inputs, vec![list]].concat();
                if let Some(value) = value {
                    all.push(self.floats(&format!("{}_value", node.name), &[], &[value]));
                }
                self.emit(
                    "Pad",
                    all,
                    output,
                    [("mode", Attribute::String(mode.into()))],
                )
            }
            Op::BatchNorm(bn) => {
                let mut all = inputs;
                for (name, values) in [
                    ("weight", &bn.weight),
                    ("bias", &bn.bias),
                    ("mean", &bn.running_mean),
                    ("var", &bn.running_var),
                ] {
                    all.push(self.floats(
                        &format!("{}_{name}", node.name),
                        &[values.len()],
                        values,
                    ));
                }
                let eps = [("epsilon", Attribute::Float(bn.eps))];
                self.emit("BatchNormalization", all, output, eps)
            }
            Op::GroupNorm { groups, norm }
                if shape.get(1) == Some(groups) && !norm.weight.is_empty() =>
            {
                let all = self.affine(&node.name, &[*groups], norm, inputs);
                let eps = [("epsilon", Attribute::Float(norm.eps))];
                self.emit("InstanceNormalization", all, output, eps)
            }
            Op::LayerNorm { axes, norm } if !norm.weight.is_empty() => {
                let sizes = &shape[shape.len().saturating_sub(*axes)..];
                let all = self.affine(&node.name, sizes, norm, inputs);
                let axis = Attribute::Int(-(*axes as i64));
                let attributes = [("epsilon", Attribute::Float(norm.eps)), ("axis", axis)];
                self.emit("LayerNormalization", all, output, attributes)
            }
            Op::PRelu(slopes) => {
                // one for each channel stands at the second dimension
                let behind = shape.len().saturating_sub(2);
                let sizes = match slopes.len() {
                    1 => vec![1],
                    channels => [&[channels][..], &vec![1; behind]].concat(),
                };
                let slope = self.floats(&format!("{}_slope", node.name), &sizes, slopes);
                self.emit("PRelu", [inputs, vec![slope]].concat(), output, [])
            }
            _ => return Err(unsupported("the operator")),
        })
    }

    fn affine(
        &mut self,
        name: &str,
        sizes: &[usize],
        norm: &qconfig_quantize::Norm,
        inputs: Vec<String>,
    ) -> Vec<String> {
        let weight = self.floats(&format!("{name}_weight"), sizes, &norm.weight);
        let bias = self.floats(&format!("{name}_bias"), sizes, &norm.bias);
        [inputs, vec![weight, bias]].concat()
    }

    fn slice(
        &mut self,
        name: &str,
        inputs: Vec<String>,
        output: String,
        [dim, start, step, length]: [usize; 4],
    ) -> String {
        let end = start + (length.saturating_sub(1)) * step + 1;
        let lists = [
            ("start", start),
            ("end", end),
            ("axis", dim),
            ("step", step),
        ];
        let lists = lists.map(|(what, value)| self.integers(&format!("{name}_{what}"), [value]));
        self.emit("Slice", [inputs, lists.to_vec()].concat(), output, [])
    }

    fn unary(&mut self, function: Unary, inputs: Vec<String>, output: String) -> Option<String> {
        let float = |name: &'static str, x: f32| Some((name, Attribute::Float(x)));
        let (op_type, attribute) = match function {
            Unary::Hardswish => ("HardSwish", None),
            Unary::Hardsigmoid => ("HardSigmoid", float("alpha", 1.0 / 6.0)),
            Unary::Sigmoid => ("Sigmoid", None),
            Unary::Tanh => ("Tanh", None),
            Unary::Elu { alpha } => ("Elu", float("alpha", alpha)),
            Unary::LeakyRelu { negative_slope } => ("LeakyRelu", float("alpha", negative_slope)),
            Unary::Gelu { tanh } => {
                let kind = if tanh { "tanh" } else { "none" };
                (
                    "Gelu",
                    Some(("approximate", Attribute::String(kind.into()))),
                )
            }
            Unary::AddScalar { other } => return Some(self.scalar("Add", other, inputs, output)),
            Unary::MulScalar { other } => return Some(self.scalar("Mul", other, inputs, output)),
            Unary::PowScalar { exponent } => {
                return Some(self.scalar("Pow", exponent, inputs, output));
            }
            Unary::Silu => {
                let sigmoid = self.fresh(&format!("{output}_sigmoid"));
                let sigmoid = self.emit("Sigmoid", inputs.clone(), sigmoid, []);
                return Some(self.emit("Mul", [inputs, vec![sigmoid]].concat(), output, []));
            }
            Unary::Mish => ("Mish", None),
            Unary::Softplus { beta: 1.0 } => ("Softplus", None),
            Unary::Softsign => ("Softsign", None),
            Unary::Exp => ("Exp", None),
            Unary::Log => ("Log", None),
            Unary::Sqrt => ("Sqrt", None),
            Unary::Reciprocal => ("Reciprocal", None),
            Unary::Neg => ("Neg", None),
            Unary::Abs => ("Abs", None),
            Unary::Sign => ("Sign", None),
            Unary::Erf => ("Erf", None),
            Unary::Floor => ("Floor", None),
            Unary::Ceil => ("Ceil", None),
            Unary::Round => ("Round", None),
            Unary::Sin => ("Sin", None),
            Unary::Cos => ("Cos", None),
            Unary::Tan => ("Tan", None),
            _ => return None,
        };
        Some(match attribute {
            Some(attribute) => self.emit(op_type, inputs, output, [attribute]),
            None => self.emit(op_type, inputs, output, []),
        })
    }

    fn scalar(&mut self, op_type: &str, other: f64, inputs: Vec<String>, output: String) -> String {
        let other = self.floats(&format!("{output}_other"), &[], &[other as f32]);
        self.emit(op_type, [inputs, vec![other]].concat(), output, [])
    }

    fn conv(&mut self, layer: &Layer<'_>, conv: &Conv, mut inputs: Vec<String>) -> String {
        let shape = conv.weight.shape();
        inputs.push(match layer.weight {
            Some(weight) => self.weight(layer.name, shape, weight.data.clone(), weight, 0),
            None => self.floats(&format!("{}_weight", layer.name), shape, conv.weight.data()),
        });
        inputs.extend(self.layer_bias(layer));
        let rank = conv.stride.len();
        let output = self.fresh(layer.name);
        let attributes = [
            ("kernel_shape", ints(shape.get(2..).unwrap_or_default())),
            ("strides", ints(&conv.stride)),
            ("pads", pads(&conv.padding, rank)),
            ("dilations", ints(&conv.dilation)),
            ("group", int(conv.groups)),
        ];
        self.emit("Conv", inputs, output, attributes)
    }

    fn conv_transpose(
        &mut self,
        layer: &Layer<'_>,
        conv: &ConvTranspose,
        mut inputs: Vec<String>,
    ) -> Option<String> {
        let shape = conv.weight.shape();
        let rank = conv.stride.len();
        inputs.push(match layer.weight {
            Some(weight) => {
                if conv.groups > 1 && weight.qparams.scales.len() > 1 {
                    return None;
                }
                // output channels are first here, input channels in the file
                let (ins, outs) = (shape[0] / conv.groups, shape[1]);
                let area: usize = shape[2..].iter().product();
                let from = |to: usize| {
                    let (row, rest) = (to / area, to % area);
                    let (i, o) = (row / outs, row % outs);
                    ((i / ins * outs + o) * ins + i % ins) * area + rest
                };
                let data = (0..weight.data.len()).map(|to| weight.data[from(to)]);
                self.weight(layer.name, shape, data.collect(), weight, 1)
            }
            None => self.floats(&format!("{}_weight", layer.name), shape, conv.weight.data()),
        });
        inputs.extend(self.layer_bias(layer));
        let output = self.fresh(layer.name);
        let attributes = [
            ("kernel_shape", ints(shape.get(2..).unwrap_or_default())),
            ("strides", ints(&conv.stride)),
            ("pads", pads(&conv.padding, rank)),
            ("output_padding", ints(&conv.output_padding)),
            ("dilations", ints(&conv.dilation)),
            ("group", int(conv.groups)),
        ];
        Some(self.emit("ConvTranspose", inputs, output, attributes))
    }

    /// A product: Gemm for rows, else MatMul and Add.
    fn linear(
        &mut self,
        layer: &Layer<'_>,
        linear: &Linear,
        mut inputs: Vec<String>,
        rank: usize,
    ) -> String {
        let (name, shape) = (layer.name, linear.weight.shape());
        if rank == 2 {
            inputs.push(match layer.weight {
                Some(weight) => self.weight(name, shape, weight.data.clone(), weight, 0),
                None => self.floats(&format!("{name}_weight"), shape, linear.weight.data()),
            });
            inputs.extend(self.layer_bias(layer));
            let output = self.fresh(name);
            return self.emit("Gemm", inputs, output, [("transB", Attribute::Int(1))]);
        }
        let (o, k) = (shape[0], shape[1]);
        let from = |to: usize| to % o * k + to / o;
        inputs.push(match layer.weight {
            Some(weight) => {
                let data = (0..o * k).map(|to| weight.data[from(to)]).collect();
                self.weight(name, &[k, o], data, weight, 1)
            }
            None => {
                let data: Vec<f32> = (0..o * k)
                    .map(|to| linear.weight.data()[from(to)])
                    .collect();
                self.floats(&format!("{name}_weight"), &[k, o], &data)
            }
        });
        let Some(bias) = layer.bias else {
            let output = self.fresh(name);
            return self.emit("MatMul", inputs, output, []);
        };
        let product = self.fresh(&format!("{name}_product"));
        let product = self.emit("MatMul", inputs, product, []);
        let bias = self.floats(&format!("{name}_bias"), &[bias.len()], bias);
        let output = self.fresh(name);
        self.emit("Add", vec![product, bias], output, [])
    }

    fn layer_bias(&mut self, layer: &Layer<'_>) -> Option<String> {
        let bias = layer.bias?;
        Some(self.bias(layer.name, bias, layer.qparams, layer.weight))
    }
}

/// What a layer with a weight has beside it.
struct Layer<'a> {
    name: &'a str,
    /// Of its input.
    qparams: Option<QParams>,
    weight: Option<&'a QuantizedWeight>,
    bias: Option<&'a [f32]>,
}

fn window(pool: &Pool) -> [(&'static str, Attribute); 5] {
    [
        ("kernel_shape", ints(&pool.kernel)),
        ("strides", ints(&pool.stride)),
        ("pads", pads(&pool.padding, pool.kernel.len())),
        ("dilations", ints(&pool.dilation)),
        ("ceil_mode", int(usize::from(pool.ceil_mode))),
    ]
}
