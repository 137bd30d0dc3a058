//! Single layers for measuring: a plan of one step between quantized (or, for dynamic kernels, float)
//! tensors, and the same layer in float.

use std::path::Path;

use anyhow::{Context as _, bail};
use qconfig::backends::QNNPACK;
use qconfig::kernel::{
    Activation, BagMode, NodeOp, QParams, RecurrentCell, Unary, WeightData, WeightSpec,
};
use qconfig::kernels::{
    EmbeddingRowwise, F16LinearDynamic, Q8Add, Q8Linear, Q8LinearDynamic, Q8Lut,
};
use qconfig::quantize::{
    Gates, GraphBuilder, Recurrent, Tensor, calibrate, convert, fuse, lower, prepare,
};
use qconfig::runtime::{Plan, PlanBuilder, StepInfo, TensorId, TensorInfo};
use qconfig::{DType, Kernel, KernelFamily, QConfig, QConfigMapping};
use serde_json::json;

use crate::data::Random;
use crate::export::write_tensors;
use crate::nets::has_narrow_weights;

/// What the names of layers look like.
pub const KINDS: &str = "linear-MxNxK, dynamic-MxNxK, fp16-MxNxK, add-HxWxC, sigmoid-HxWxC, hardswish-HxWxC, \
     lstm-TxIxH, embedding8-ROWSxBAGSxEACHxCOLUMNS, embedding4-ROWSxBAGSxEACHxCOLUMNS";
/// Lists of indices of a table: so many that together they ask for more rows than a cache holds.
const LISTS: usize = 512;

/// A layer in eight bits and in float.
struct Layer {
    plan: Plan<'static>,
    /// The plan's inputs, one behind the other; of a table, several sets of them.
    input: Vec<u8>,
    /// Weight, bias, inputs and output in float.
    tensors: Vec<(String, Tensor)>,
    /// Of the inputs and of the output, where they are quantized.
    qparams: Vec<QParams>,
}

/// Writes a layer into a folder: `NAME.plan` and `NAME.input` for `qconfig-peer serve`,
/// `NAME.safetensors` (`weight`, `bias`, `input.N`, `output`) and `NAME.json` (scales and zero points of
/// the inputs, then of the output) for other libraries. Where there are several sets of inputs, the output is
/// that of the first.
///
/// # Errors
/// Where there is no such layer, or the files cannot be written.
pub fn save(name: &str, folder: &Path) -> anyhow::Result<()> {
    let layer = layer(name)?;
    let write = |kind: &str, bytes: Vec<u8>| {
        let path = folder.join(format!("{name}.{kind}"));
        std::fs::write(&path, bytes).with_context(|| path.display().to_string())
    };
    std::fs::create_dir_all(folder)?;
    write("plan", layer.plan.to_bytes())?;
    write("input", layer.input)?;
    let qparams = layer.qparams.iter();
    let qparams: Vec<_> = qparams
        .map(|q| json!({ "scale": q.scale, "zero_point": q.zero_point }))
        .collect();
    write(
        "json",
        serde_json::to_vec_pretty(&json!({ "qparams": qparams }))?,
    )?;
    write_tensors(&layer.tensors, &folder.join(format!("{name}.safetensors")))
}

fn layer(name: &str) -> anyhow::Result<Layer> {
    let unknown = || format!("no layer is called `{name}`; there are: {KINDS}");
    let (kind, dims) = name.split_once('-').with_context(unknown)?;
    let dims: Vec<usize> = dims
        .split('x')
        .map(str::parse)
        .collect::<Result<_, _>>()
        .with_context(unknown)?;
    match (kind, &dims[..]) {
        ("linear", &[m, n, k]) => linear(Linear { m, n, k }),
        ("dynamic", &[m, n, k]) => dynamic(Linear { m, n, k }, Q8LinearDynamic::KERNEL),
        ("fp16", &[m, n, k]) => dynamic(Linear { m, n, k }, F16LinearDynamic::KERNEL),
        ("sigmoid", &[h, w, c]) => unary([1, h, w, c], Unary::Sigmoid),
        ("hardswish", &[h, w, c]) => unary([1, h, w, c], Unary::Hardswish),
        ("lstm", &[steps, features, hidden]) => lstm(steps, features, hidden),
        ("add", &[h, w, c]) => add([1, h, w, c]),
        ("embedding8" | "embedding4", &[rows, bags, each, columns]) => {
            let bits = if kind == "embedding8" {
                DType::quint8
            } else {
                DType::quint4x2
            };
            embedding(bits, [rows, columns], [bags, each])
        }
        _ => bail!(unknown()),
    }
}

/// Sizes of `y[m, n] = x[m, k] w[n, k]^T + b[n]`.
#[derive(Clone, Copy)]
struct Linear {
    m: usize,
    n: usize,
    k: usize,
}

/// A weight in eight bits, symmetric, one scale a row.
struct Quantized {
    shape: [usize; 2],
    values: Vec<i8>,
    scales: Vec<f32>,
    zero_points: Vec<i32>,
}

impl Quantized {
    fn new(weight: &Tensor, [n, k]: [usize; 2]) -> Self {
        let (mut values, mut scales) = (Vec::with_capacity(n * k), Vec::new());
        for row in weight.data().chunks(k) {
            let largest = row.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            let scale = largest / if has_narrow_weights() { 63.0 } else { 127.0 };
            values.extend(row.iter().map(|x| (x / scale).round_ties_even() as i8));
            scales.push(scale);
        }
        Self {
            shape: [n, k],
            values,
            scales,
            zero_points: vec![0; n],
        }
    }

    fn spec(&self) -> WeightSpec<'_> {
        WeightSpec {
            dtype: DType::qint8,
            shape: &self.shape,
            data: WeightData::I8(&self.values),
            scales: &self.scales,
            zero_points: &self.zero_points,
        }
    }
}

/// The inputs of a layer: bytes, and what they stand for.
fn bytes(random: &mut Random, shape: &[usize], q: QParams) -> anyhow::Result<(Vec<u8>, Tensor)> {
    let count = shape.iter().product();
    let bytes: Vec<u8> = (0..count).map(|_| random.byte()).collect();
    let real = |byte: &u8| q.scale * (i32::from(*byte) - q.zero_point) as f32;
    let tensor = Tensor::new(shape.to_vec(), bytes.iter().map(real).collect())?;
    Ok((bytes, tensor))
}

/// Parameters for values that deviate by `deviation` around zero.
fn around_zero(deviation: f32) -> QParams {
    QParams {
        scale: deviation / 32.0,
        zero_point: 128,
    }
}

fn deviation(tensor: &Tensor) -> f32 {
    let squares: f32 = tensor.data().iter().map(|x| x * x).sum();
    (squares / tensor.data().len() as f32).sqrt()
}

fn product(
    Linear { m, n, k }: Linear,
    x: &Tensor,
    w: &Tensor,
    b: &Tensor,
) -> anyhow::Result<Tensor> {
    let mut graph = GraphBuilder::new();
    let input = graph.input("input", &[m, k])?;
    let weight = Tensor::new(vec![n, k], w.data().to_vec())?;
    let output = graph.linear("linear", input, weight, Some(b.clone()))?;
    let outputs = graph.finish(&[output])?.run(std::slice::from_ref(x))?;
    outputs.into_iter().next().context("one output")
}

fn tensor(
    builder: &mut PlanBuilder,
    name: &str,
    shape: &[usize],
    qparams: Option<QParams>,
) -> anyhow::Result<TensorId> {
    Ok(builder.tensor(TensorInfo {
        name,
        dtype: qparams.map_or(DType::float32, |_| DType::quint8),
        shape,
        qparams,
    })?)
}

fn linear(sizes: Linear) -> anyhow::Result<Layer> {
    let Linear { m, n, k } = sizes;
    let mut random = Random::new(3);
    let weight = random.tensor(&[n, k], (1.0 / k as f32).sqrt())?;
    let bias = random.tensor(&[n], 0.1)?;
    let from = around_zero(1.0);
    let (input, real) = bytes(&mut random, &[m, k], from)?;
    let output = product(sizes, &real, &weight, &bias)?;
    let to = around_zero(deviation(&output));
    let quantized = Quantized::new(&weight, [n, k]);

    let mut builder = PlanBuilder::new();
    let x = tensor(&mut builder, "x", &[m, k], Some(from))?;
    let y = tensor(&mut builder, "y", &[m, n], Some(to))?;
    builder.input(x)?;
    builder.step(StepInfo {
        weight: Some(quantized.spec()),
        bias: Some(bias.data()),
        ..StepInfo::new("linear", Q8Linear::KERNEL, NodeOp::Linear, &[x], y)
    })?;
    builder.output(y)?;
    Ok(Layer {
        plan: builder.finish()?,
        input,
        tensors: vec![
            ("weight".into(), weight),
            ("bias".into(), bias),
            ("input.0".into(), real),
            ("output".into(), output),
        ],
        qparams: vec![from, to],
    })
}

fn dynamic(sizes: Linear, kernel: &'static Kernel) -> anyhow::Result<Layer> {
    let Linear { m, n, k } = sizes;
    let mut random = Random::new(4);
    let weight = random.tensor(&[n, k], (1.0 / k as f32).sqrt())?;
    let bias = random.tensor(&[n], 0.1)?;
    let input = random.tensor(&[m, k], 1.0)?;
    let output = product(sizes, &input, &weight, &bias)?;
    let quantized = Quantized::new(&weight, [n, k]);
    let float = WeightSpec {
        dtype: DType::float16,
        shape: &[n, k],
        data: WeightData::F32(weight.data()),
        scales: &[],
        zero_points: &[],
    };
    let eight_bits = kernel.signature.weight.contains(&DType::qint8);

    let mut builder = PlanBuilder::new();
    let x = tensor(&mut builder, "x", &[m, k], None)?;
    let y = tensor(&mut builder, "y", &[m, n], None)?;
    builder.input(x)?;
    builder.step(StepInfo {
        weight: Some(if eight_bits { quantized.spec() } else { float }),
        bias: Some(bias.data()),
        ..StepInfo::new("linear", kernel, NodeOp::Linear, &[x], y)
    })?;
    builder.output(y)?;
    let words = input.data().iter();
    Ok(Layer {
        plan: builder.finish()?,
        input: words.flat_map(|x| x.to_ne_bytes()).collect(),
        tensors: vec![
            ("weight".into(), weight),
            ("bias".into(), bias),
            ("input.0".into(), input),
            ("output".into(), output),
        ],
        qparams: Vec::new(),
    })
}

fn add(shape: [usize; 4]) -> anyhow::Result<Layer> {
    let mut random = Random::new(5);
    let (qa, qb) = (around_zero(1.0), around_zero(0.7));
    let (mut input, a) = bytes(&mut random, &shape, qa)?;
    let (more, b) = bytes(&mut random, &shape, qb)?;
    input.extend_from_slice(&more);
    let sums = a.data().iter().zip(b.data()).map(|(a, b)| a + b);
    let output = Tensor::new(shape.to_vec(), sums.collect())?;
    let to = around_zero(2.0);

    let mut builder = PlanBuilder::new();
    let x = tensor(&mut builder, "a", &shape, Some(qa))?;
    let y = tensor(&mut builder, "b", &shape, Some(qb))?;
    let z = tensor(&mut builder, "sum", &shape, Some(to))?;
    builder.input(x)?;
    builder.input(y)?;
    builder.step(StepInfo {
        activation: Activation::None,
        ..StepInfo::new("add", Q8Add::KERNEL, NodeOp::Add, &[x, y], z)
    })?;
    builder.output(z)?;
    Ok(Layer {
        plan: builder.finish()?,
        input,
        tensors: vec![
            ("input.0".into(), a),
            ("input.1".into(), b),
            ("output".into(), output),
        ],
        qparams: vec![qa, qb, to],
    })
}

fn unary(shape: [usize; 4], function: Unary) -> anyhow::Result<Layer> {
    let mut random = Random::new(6);
    let from = around_zero(2.0);
    let (input, real) = bytes(&mut random, &shape, from)?;
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", &shape)?;
    let y = graph.unary("unary", x, function)?;
    let outputs = graph.finish(&[y])?.run(std::slice::from_ref(&real))?;
    let output = outputs.into_iter().next().context("one output")?;
    let to = match function {
        // what torch fixes for it
        Unary::Sigmoid => QParams {
            scale: 1.0 / 256.0,
            zero_point: 0,
        },
        _ => QParams {
            scale: 8.375 / 255.0,
            zero_point: 12,
        },
    };

    let mut builder = PlanBuilder::new();
    let x = tensor(&mut builder, "x", &shape, Some(from))?;
    let y = tensor(&mut builder, "y", &shape, Some(to))?;
    builder.input(x)?;
    builder.step(StepInfo::new(
        "unary",
        Q8Lut::KERNEL,
        NodeOp::Unary(function),
        &[x],
        y,
    ))?;
    builder.output(y)?;
    Ok(Layer {
        plan: builder.finish()?,
        input,
        tensors: vec![("input.0".into(), real), ("output".into(), output)],
        qparams: vec![from, to],
    })
}

/// Sums of `each` rows of a table for each of `bags`; another list of rows with each call.
fn embedding(
    dtype: DType,
    [rows, columns]: [usize; 2],
    [bags, each]: [usize; 2],
) -> anyhow::Result<Layer> {
    let mut random = Random::new(8);
    let weight = random.tensor(&[rows, columns], 1.0)?;
    let (count, shape) = (bags * each, [rows, columns]);
    let lists: Vec<i64> = (0..LISTS * count)
        .map(|_| random.below(rows) as i64)
        .collect();
    let offsets: Vec<i64> = (0..bags).map(|bag| (bag * each) as i64).collect();
    let mut sums = vec![0.0; bags * columns];
    for (sums, list) in sums.chunks_mut(columns).zip(lists.chunks(each)) {
        for row in list {
            let row = &weight.data()[*row as usize * columns..][..columns];
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
    }

    let mut builder = PlanBuilder::new();
    let integers = |builder: &mut PlanBuilder, name: &str, length: usize| {
        builder.tensor(TensorInfo {
            name,
            dtype: DType::int64,
            shape: &[length],
            qparams: None,
        })
    };
    let indices = integers(&mut builder, "indices", count)?;
    let starts = integers(&mut builder, "offsets", bags)?;
    let y = tensor(&mut builder, "y", &[bags, columns], None)?;
    builder.input(indices)?;
    builder.input(starts)?;
    let op = NodeOp::EmbeddingBag {
        mode: BagMode::Sum,
        include_last_offset: false,
        padding_idx: None,
    };
    builder.step(StepInfo {
        weight: Some(WeightSpec {
            dtype,
            shape: &shape,
            data: WeightData::F32(weight.data()),
            scales: &[],
            zero_points: &[],
        }),
        ..StepInfo::new("bags", EmbeddingRowwise::KERNEL, op, &[indices, starts], y)
    })?;
    builder.output(y)?;
    let bytes = |values: &[i64]| -> Vec<u8> {
        values
            .iter()
            .flat_map(|value| value.to_ne_bytes())
            .collect()
    };
    let floats = |values: &[i64]| values.iter().map(|value| *value as f32).collect();
    let sets = lists.chunks(count);
    Ok(Layer {
        plan: builder.finish()?,
        input: sets
            .flat_map(|list| [bytes(list), bytes(&offsets)].concat())
            .collect(),
        tensors: vec![
            ("weight".into(), weight),
            (
                "input.0".into(),
                Tensor::new(vec![LISTS, count], floats(&lists))?,
            ),
            ("input.1".into(), Tensor::new(vec![bags], floats(&offsets))?),
            ("output".into(), Tensor::new(vec![bags, columns], sums)?),
        ],
        qparams: Vec::new(),
    })
}

/// One layer, batch 1, time first, dynamic int8.
fn lstm(steps: usize, features: usize, hidden: usize) -> anyhow::Result<Layer> {
    let mut random = Random::new(7);
    let rows = 4 * hidden;
    let deviation = (1.0 / hidden as f32).sqrt();
    let w_ih = random.tensor(&[rows, features], deviation)?;
    let w_hh = random.tensor(&[rows, hidden], deviation)?;
    let (b_ih, b_hh) = (random.tensor(&[rows], 0.1)?, random.tensor(&[rows], 0.1)?);
    let input = random.tensor(&[steps, 1, features], 1.0)?;
    let gates = Gates::new(w_ih.clone(), w_hh.clone()).bias(b_ih.clone(), b_hh.clone());
    let recurrent = Recurrent::new(RecurrentCell::Lstm, vec![gates]);
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", input.shape())?;
    let outputs = graph.recurrent("lstm", x, &[], recurrent)?;
    let graph = graph.finish(outputs.get(..1).context("a sequence")?)?;

    let samples = [std::slice::from_ref(&input)];
    let mapping = QConfigMapping::new().global(Some(QConfig::DEFAULT_DYNAMIC));
    let prepared = prepare(&fuse(&graph, &QNNPACK), &QNNPACK, &mapping)?;
    let model = convert(&calibrate(&prepared, samples, |_| {})?)?;
    let outputs = graph.run(std::slice::from_ref(&input))?;
    let words = input.data().iter();
    Ok(Layer {
        plan: lower(&model)?.plan,
        input: words.flat_map(|x| x.to_ne_bytes()).collect(),
        tensors: vec![
            ("w_ih".into(), w_ih),
            ("w_hh".into(), w_hh),
            ("b_ih".into(), b_ih),
            ("b_hh".into(), b_hh),
            ("input.0".into(), input),
            (
                "output".into(),
                outputs.into_iter().next().context("one output")?,
            ),
        ],
        qparams: Vec::new(),
    })
}
