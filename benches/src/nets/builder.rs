//! Building a network whose activations stay in range although its weights are random.

use std::collections::BTreeMap;

use anyhow::Context as _;
use qconfig::kernel::Unary;
use qconfig::operator::{nn, torch};
use qconfig::quantize::{BatchNorm, Conv, Graph, GraphBuilder, Linear, Op, Pool, Tensor, ValueId};
use qconfig::{Spelled, Spelling};

use crate::data::{Random, image};

/// Side of the images that batch normalization takes its statistics from.
const PROBE_SIZE: usize = 64;
/// How many of them.
const PROBE_IMAGES: u64 = 4;

/// How far the sum at the end of a residual block moves its input: training makes blocks that change
/// little, and blocks that change much would, with random weights, blow rounding errors up.
pub(super) const RESIDUAL: f32 = 0.3;

/// A network that is being built, and beside it what a few small images become in it: batch
/// normalizations get the mean and variance that training would have given them, so that random
/// weights neither explode nor die out.
pub(super) struct Net {
    graph: GraphBuilder,
    probes: BTreeMap<ValueId, Tensor>,
    random: Random,
}

impl Net {
    /// A network for images `[1, 3, size, size]`, and the images.
    pub(super) fn new(size: usize, seed: u64) -> anyhow::Result<(Self, ValueId)> {
        let mut graph = GraphBuilder::new();
        let x = graph.input("image", &[1, 3, size, size])?;
        let mut probe = Vec::new();
        for n in 0..PROBE_IMAGES {
            probe.extend_from_slice(image(3, PROBE_SIZE, 2000 + n)?.data());
        }
        let shape = vec![PROBE_IMAGES as usize, 3, PROBE_SIZE, PROBE_SIZE];
        let net = Self {
            graph,
            probes: BTreeMap::from([(x, Tensor::new(shape, probe)?)]),
            random: Random::new(seed),
        };
        Ok((net, x))
    }

    /// A node, and what it makes of the small images.
    fn node(
        &mut self,
        name: &str,
        spelling: &'static Spelling,
        op: Op,
        inputs: &[ValueId],
    ) -> anyhow::Result<ValueId> {
        let mut alone = GraphBuilder::new();
        let (mut ids, mut probes) = (Vec::new(), Vec::new());
        for (at, id) in inputs.iter().enumerate() {
            let probe = self.probe(*id)?.clone();
            ids.push(alone.input(&format!("input{at}"), probe.shape())?);
            probes.push(probe);
        }
        let out = alone.node(name, spelling, op.clone(), &ids)?;
        let outputs = alone.finish(&[out])?.run(&probes)?;
        let id = self.graph.node(name, spelling, op, inputs)?;
        self.probes
            .insert(id, outputs.into_iter().next().context("one output")?);
        Ok(id)
    }

    fn probe(&self, id: ValueId) -> anyhow::Result<&Tensor> {
        self.probes.get(&id).context("a value of another network")
    }

    /// Channels of a value.
    pub(super) fn channels(&self, id: ValueId) -> anyhow::Result<usize> {
        Ok(self.probe(id)?.shape()[1])
    }

    /// A convolution with He weights, padded to keep the size at stride 1, and batch normalization:
    /// `name.0` and `name.1`; the values then deviate by about `deviation`.
    pub(super) fn conv_bn(
        &mut self,
        name: &str,
        x: ValueId,
        channels: usize,
        (kernel, stride): (usize, usize),
        groups: usize,
        deviation: f32,
    ) -> anyhow::Result<ValueId> {
        let group_in = self.channels(x)? / groups;
        let fan_in = group_in * kernel * kernel;
        let shape = [channels, group_in, kernel, kernel];
        let weight = self.random.tensor(&shape, (2.0 / fan_in as f32).sqrt())?;
        let conv = Conv::new(weight)
            .stride(stride)
            .padding(kernel / 2)
            .groups(groups);
        let op = Op::Conv(conv);
        let x = self.node(&format!("{name}.0"), nn::Conv2d::SPELLING, op, &[x])?;
        let bn = self.batch_norm(x, deviation)?;
        let op = Op::BatchNorm(bn);
        self.node(&format!("{name}.1"), nn::BatchNorm2d::SPELLING, op, &[x])
    }

    /// With the statistics of the small images, and a scale and a shift near `deviation` and 0.
    fn batch_norm(&mut self, x: ValueId, deviation: f32) -> anyhow::Result<BatchNorm> {
        let probe = self.probe(x)?;
        let channels = probe.shape()[1];
        let area: usize = probe.shape()[2..].iter().product();
        let count = (probe.shape()[0] * area) as f32;
        let mut bn = BatchNorm {
            weight: Vec::new(),
            bias: Vec::new(),
            running_mean: Vec::new(),
            running_var: Vec::new(),
            eps: 1e-5,
        };
        for c in 0..channels {
            let planes = probe.data().chunks(area).skip(c).step_by(channels);
            let values = || planes.clone().flatten();
            let mean = values().sum::<f32>() / count;
            let variance = values().map(|x| (x - mean) * (x - mean)).sum::<f32>() / count;
            bn.running_mean.push(mean);
            bn.running_var.push(variance);
        }
        // a channel that hardly varies in these few images must not be blown up
        let floor = 0.25 * bn.running_var.iter().sum::<f32>() / channels as f32;
        for variance in &mut bn.running_var {
            *variance = variance.max(floor);
        }
        for _ in 0..channels {
            bn.weight
                .push(deviation * (1.0 + 0.1 * self.random.uniform()));
            bn.bias.push(deviation * 0.1 * self.random.uniform());
        }
        Ok(bn)
    }

    pub(super) fn relu(&mut self, name: &str, x: ValueId) -> anyhow::Result<ValueId> {
        self.node(name, nn::ReLU::SPELLING, Op::Relu, &[x])
    }

    pub(super) fn relu6(&mut self, name: &str, x: ValueId) -> anyhow::Result<ValueId> {
        let (low, high) = (0.0, 6.0);
        self.node(name, nn::ReLU6::SPELLING, Op::Clamp { low, high }, &[x])
    }

    /// A function of each element, spelled as its module in `torch.nn`.
    fn unary(&mut self, name: &str, x: ValueId, function: Unary) -> anyhow::Result<ValueId> {
        let spelling = match function {
            Unary::Hardswish => nn::Hardswish::SPELLING,
            _ => nn::Hardsigmoid::SPELLING,
        };
        self.node(name, spelling, Op::Unary(function), &[x])
    }

    pub(super) fn hardswish(&mut self, name: &str, x: ValueId) -> anyhow::Result<ValueId> {
        self.unary(name, x, Unary::Hardswish)
    }

    /// Squeeze and excitation: every channel is scaled by what a small network makes of all channels'
    /// means.
    pub(super) fn squeeze_excite(
        &mut self,
        name: &str,
        input: ValueId,
        squeezed: usize,
    ) -> anyhow::Result<ValueId> {
        let channels = self.channels(input)?;
        let pool = nn::AdaptiveAvgPool2d::SPELLING;
        let mut x = self.node(
            &format!("{name}.avgpool"),
            pool,
            Op::GlobalAvgPool,
            &[input],
        )?;
        x = self.pointwise(&format!("{name}.fc1"), x, squeezed)?;
        x = self.relu(&format!("{name}.relu"), x)?;
        x = self.pointwise(&format!("{name}.fc2"), x, channels)?;
        x = self.unary(&format!("{name}.hardsigmoid"), x, Unary::Hardsigmoid)?;
        let name = format!("{name}.mul");
        self.node(&name, torch::mul::SPELLING, Op::Mul, &[x, input])
    }

    /// A 1x1 convolution with a bias.
    fn pointwise(&mut self, name: &str, x: ValueId, channels: usize) -> anyhow::Result<ValueId> {
        let from = self.channels(x)?;
        let shape = [channels, from, 1, 1];
        let weight = self.random.tensor(&shape, (2.0 / from as f32).sqrt())?;
        let conv = Conv::new(weight).bias(self.random.tensor(&[channels], 0.1)?);
        self.node(name, nn::Conv2d::SPELLING, Op::Conv(conv), &[x])
    }

    pub(super) fn add(&mut self, name: &str, a: ValueId, b: ValueId) -> anyhow::Result<ValueId> {
        self.node(name, torch::add::SPELLING, Op::Add, &[a, b])
    }

    /// A 3x3 window, stride 2, padding 1.
    pub(super) fn max_pool(&mut self, name: &str, x: ValueId) -> anyhow::Result<ValueId> {
        let pool = Pool {
            stride: vec![2; 2],
            padding: vec![1; 2],
            ..Pool::square(3)
        };
        self.node(name, nn::MaxPool2d::SPELLING, Op::MaxPool(pool), &[x])
    }

    /// The mean over the image, `[N, C]`.
    pub(super) fn pooled(&mut self, x: ValueId) -> anyhow::Result<ValueId> {
        let pool = nn::AdaptiveAvgPool2d::SPELLING;
        let x = self.node("avgpool", pool, Op::GlobalAvgPool, &[x])?;
        let flatten = torch::flatten::SPELLING;
        self.node("flatten", flatten, Op::Flatten { start: 1 }, &[x])
    }

    /// A linear layer with a bias.
    pub(super) fn linear(
        &mut self,
        name: &str,
        x: ValueId,
        features: usize,
    ) -> anyhow::Result<ValueId> {
        let k = self.channels(x)?;
        let weight = self
            .random
            .tensor(&[features, k], (1.0 / k as f32).sqrt())?;
        let bias = self.random.tensor(&[features], 0.1)?;
        let linear = Linear {
            weight,
            bias: Some(bias.data().to_vec()),
        };
        self.node(name, nn::Linear::SPELLING, Op::Linear(linear), &[x])
    }

    pub(super) fn finish(self, output: ValueId) -> anyhow::Result<Graph> {
        Ok(self.graph.finish(&[output])?)
    }
}
