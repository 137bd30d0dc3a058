//! Normalizations: by moments seen in training, by a row's own, by those of a group of channels.

use qconfig_core::DType;
use qconfig_core::kernel::{
    BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Signature, Sizes, Split,
    WeightData,
};

use super::loops::{Cells, Loop, cells, cells_mut, clamp, get, variant, vectorized};
use crate::blob::{HEADER, Tag, align, at_least, exact};
use crate::q8_linear_dynamic::{float_bounds, floats};
use crate::units::{self, UNIT, word};

/// Batch, group, instance and layer normalization of `float32` tensors ([`NodeOp::BatchNorm`],
/// [`NodeOp::GroupNorm`], [`NodeOp::LayerNorm`]), an activation behind.
///
/// Batch normalization is `x a + b` with coefficients worked out in `f64`. The others sum in `f64`: the mean,
/// then the squares of what is left; then `(x - mean) (inverse weight) + bias` in `f32`.
#[derive(Clone, Copy, Debug)]
pub struct F32Norm;

const NAME: &str = "f32_norm";
const TAG: Tag = Tag {
    word: *b"fno1",
    kernel: NAME,
};
/// Partial sums of a row; channels summed together.
const LANES: usize = 8;

impl KernelFamily for F32Norm {
    const KERNEL: &'static Kernel = &Kernel {
        name: NAME,
        signature: Signature::activations(&[DType::float32], &[DType::float32]),
        sizes,
        pack,
        split,
        run,
        variant,
    };
}

/// Whose moments.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Batch,
    Layer,
    Group,
}

const KINDS: [Kind; 3] = [Kind::Batch, Kind::Layer, Kind::Group];

/// Words: kind, images, positions of each, features of a position, groups, eps, bounds. Sections: a scale and
/// a shift for each feature.
#[derive(Clone, Copy)]
struct Header {
    kind: Kind,
    batch: usize,
    positions: usize,
    features: usize,
    groups: usize,
    eps: f32,
    low: f32,
    high: f32,
}

fn plan(spec: &NodeSpec<'_>) -> Result<Header, Refusal> {
    let [input] = units::arity(spec)?;
    floats(spec)?;
    units::same_shape(input, &spec.output)?;
    let (low, high) = float_bounds(spec.activation);
    let product = |shape: &[usize]| shape.iter().product::<usize>();
    let unfit = Refusal::Shape("the input has not the axes that the normalization needs");
    let (kind, axes, groups, eps) = match spec.op {
        NodeOp::BatchNorm { eps } => (Kind::Batch, 1, 1, eps),
        NodeOp::LayerNorm { axes, eps } => (Kind::Layer, axes, 1, eps),
        NodeOp::GroupNorm { groups, eps } => (Kind::Group, 1, groups, eps),
        _ => return Err(Refusal::Operator("this kernel normalizes")),
    };
    let first = input.shape.len().checked_sub(axes).filter(|_| axes > 0);
    let Some((before, behind)) = first.map(|first| input.shape.split_at(first)) else {
        return Err(unfit);
    };
    let (batch, positions) = match (kind, before) {
        (Kind::Group, [batch, positions @ ..]) => (*batch, product(positions)),
        (Kind::Group, []) => return Err(unfit),
        _ => (1, product(before)),
    };
    let header = Header {
        kind,
        batch,
        positions,
        features: product(behind),
        groups,
        eps,
        low,
        high,
    };
    if !eps.is_finite() || eps < 0.0 || header.elements().is_none() {
        return Err(unfit);
    }
    Ok(header)
}

/// A scale and a shift for each feature, as [`NodeSpec::parameters`] have them.
fn coefficients(
    spec: &NodeSpec<'_>,
    header: &Header,
    mut write: impl FnMut(usize, f32, f32),
) -> Result<(), Refusal> {
    let unfit = Refusal::Shape("a normalization has parameters of one value for each feature");
    let values = |at: usize| match spec.parameters.get(at).map(|parameter| parameter.data) {
        Some(WeightData::F32(values)) if values.len() == header.features => Ok(values),
        _ => Err(unfit.clone()),
    };
    match (header.kind, spec.parameters.len()) {
        (Kind::Batch, 4) => {
            let (weight, bias, mean, variance) = (values(0)?, values(1)?, values(2)?, values(3)?);
            for at in 0..header.features {
                let wide = |values: &[f32]| f64::from(values[at]);
                let scale = wide(weight) / libm::sqrt(wide(variance) + f64::from(header.eps));
                write(at, scale as f32, (wide(bias) - wide(mean) * scale) as f32);
            }
        }
        (Kind::Layer | Kind::Group, 2) => {
            let (weight, bias) = (values(0)?, values(1)?);
            for (at, (weight, bias)) in weight.iter().zip(bias).enumerate() {
                write(at, *weight, *bias);
            }
        }
        (Kind::Layer | Kind::Group, 0) => {
            (0..header.features).for_each(|at| write(at, 1.0, 0.0));
        }
        _ => return Err(unfit),
    }
    Ok(())
}

fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    let header = plan(spec)?;
    coefficients(spec, &header, |_, _, _| ())?;
    Ok(Sizes {
        blob: header.blob(),
        scratch: header.scratch(),
    })
}

fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let header = plan(spec)?;
    units::blob_length(blob, header.blob())?;
    blob.fill(0);
    let mut words = [0; 15];
    let kind = KINDS.iter().position(|kind| *kind == header.kind);
    words[..8].copy_from_slice(&[
        word(kind.unwrap_or(0))?,
        word(header.batch)?,
        word(header.positions)?,
        word(header.features)?,
        word(header.groups)?,
        header.eps.to_bits(),
        header.low.to_bits(),
        header.high.to_bits(),
    ]);
    let (first, sections) = blob.split_at_mut(HEADER);
    TAG.write(first, &words);
    let (scales, shifts) = sections.split_at_mut(header.section());
    let (scales, shifts) = (cells_mut(scales), cells_mut(shifts));
    coefficients(spec, &header, |at, scale, shift| {
        if let (Some(a), Some(b)) = (scales.get_mut(at), shifts.get_mut(at)) {
            (*a, *b) = (scale.to_le_bytes(), shift.to_le_bytes());
        }
    })
}

/// A blob, read.
#[derive(Clone, Copy)]
struct Layer<'a> {
    header: Header,
    scales: &'a Cells,
    shifts: &'a Cells,
}

fn read<'a>(blob: &'a [u8], inputs: &[usize]) -> Result<Layer<'a>, BlobError> {
    let damaged = BlobError::Header(NAME);
    let [kind, batch, positions, features, groups, eps, low, high, ..] = TAG.read(blob)?;
    let header = Header {
        kind: *KINDS.get(kind as usize).ok_or(damaged)?,
        batch: batch as usize,
        positions: positions as usize,
        features: features as usize,
        groups: groups as usize,
        eps: f32::from_bits(eps),
        low: f32::from_bits(low),
        high: f32::from_bits(high),
    };
    let elements = header.elements().ok_or(damaged)?;
    exact("the blob", blob.len(), header.blob())?;
    let [input] = units::lengths(inputs)?;
    exact("the input", input, elements * 4)?;
    let sections = blob.get(HEADER..).ok_or(damaged)?;
    let (scales, shifts) = sections.split_at(header.section());
    Ok(Layer {
        header,
        scales: &cells(scales)[..header.features],
        shifts: &cells(shifts)[..header.features],
    })
}

impl Header {
    /// `None` where groups and features do not fit, or bytes cannot be counted.
    fn elements(&self) -> Option<usize> {
        if self.features == 0 || self.groups == 0 || !self.features.is_multiple_of(self.groups) {
            return None;
        }
        self.features.checked_mul(32)?;
        let rows = self.batch.checked_mul(self.positions)?;
        let elements = rows.checked_mul(self.features)?;
        elements.checked_mul(4).map(|_| elements)
    }

    /// Bytes of a section of coefficients.
    fn section(&self) -> usize {
        align(self.features * 4)
    }

    fn blob(&self) -> usize {
        HEADER + 2 * self.section()
    }

    /// For groups: a sum in `f64`, a mean and a scale in `f32` for each channel.
    fn scratch(&self) -> usize {
        match self.kind {
            Kind::Group => self.features * 16,
            _ => 0,
        }
    }

    /// Units of whole rows.
    fn split(&self) -> Split {
        let rows = (UNIT / self.features).max(1);
        let unit = rows * self.features;
        let all = self.batch * self.positions;
        let grain = match self.kind {
            // every call that touches an image looks at all of it
            Kind::Group => (self.positions * self.features / 4).max(1 << 14),
            _ => 1 << 15,
        };
        Split {
            units: all.div_ceil(rows),
            unit_bytes: unit * 4,
            output_bytes: all * self.features * 4,
            grain: grain.div_ceil(unit),
        }
    }
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    Ok(read(blob, inputs)?.header.split())
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    let input = units::input(call.inputs, 0)?;
    let layer = read(call.blob, &[input.len()])?;
    let header = layer.header;
    let part = units::part(&header.split(), &call.units, call.output.len())?;
    at_least("scratch", call.scratch.len(), header.scratch())?;
    let work = Normalize {
        layer,
        input: cells(input),
        first: part.start / 4 / header.features,
        output: cells_mut(call.output),
        scratch: call.scratch,
    };
    vectorized(call.isa, work);
    Ok(())
}

struct Normalize<'a> {
    layer: Layer<'a>,
    input: &'a Cells,
    /// The first row.
    first: usize,
    output: &'a mut Cells,
    scratch: &'a mut [u8],
}

impl Loop for Normalize<'_> {
    #[inline(always)]
    fn run(self) {
        match self.layer.header.kind {
            Kind::Batch => self.batch(),
            Kind::Layer => self.rows(),
            Kind::Group => self.groups(),
        }
    }
}

/// `1 / sqrt(variance + eps)`.
#[inline(always)]
fn inverse(squares: f64, count: usize, eps: f32) -> f64 {
    1.0 / libm::sqrt(squares / count as f64 + f64::from(eps))
}

impl Normalize<'_> {
    #[inline(always)]
    fn batch(self) {
        let Header {
            features,
            low,
            high,
            ..
        } = self.layer.header;
        let rows = self.input[self.first * features..].chunks_exact(features);
        for (from, to) in rows.zip(self.output.chunks_exact_mut(features)) {
            affine(from, to, self.layer.scales, self.layer.shifts, low, high);
        }
    }

    #[inline(always)]
    fn rows(self) {
        let Header {
            features,
            eps,
            low,
            high,
            ..
        } = self.layer.header;
        let rows = self.input[self.first * features..].chunks_exact(features);
        for (from, to) in rows.zip(self.output.chunks_exact_mut(features)) {
            let mean = summed(from, |x| x) / features as f64;
            let squares = summed(from, |x| (x - mean) * (x - mean));
            let (mean, inverse) = (mean as f32, inverse(squares, features, eps) as f32);
            let parameters = self.layer.scales.iter().zip(self.layer.shifts);
            for ((x, y), (scale, shift)) in from.iter().zip(to).zip(parameters) {
                let scale = inverse * f32::from_le_bytes(*scale);
                let value = (get(x) - mean) * scale + f32::from_le_bytes(*shift);
                *y = clamp(value, low, high).to_ne_bytes();
            }
        }
    }

    #[inline(always)]
    fn groups(self) {
        let header = self.layer.header;
        let Header {
            positions,
            features,
            low,
            high,
            ..
        } = header;
        let (sums, tables) = self.scratch.split_at_mut(features * 8);
        let (means, scales) = tables.split_at_mut(features * 4);
        let (means, scales) = (cells_mut(means), &mut cells_mut(scales)[..features]);
        let mut row = self.first;
        let mut rest = self.output;
        while !rest.is_empty() {
            let (image, at) = (row / positions, row % positions);
            let values = &self.input[image * positions * features..][..positions * features];
            self.layer.moments(values, sums, means, scales);
            let count = (positions - at).min(rest.len() / features);
            let (now, behind) = rest.split_at_mut(count * features);
            let rows = values[at * features..].chunks_exact(features);
            for (from, to) in rows.zip(now.chunks_exact_mut(features)) {
                let parameters = means.iter().zip(&*scales).zip(self.layer.shifts);
                for ((x, y), ((mean, scale), shift)) in from.iter().zip(to).zip(parameters) {
                    let value = (get(x) - get(mean)) * get(scale) + f32::from_le_bytes(*shift);
                    *y = clamp(value, low, high).to_ne_bytes();
                }
            }
            row += count;
            rest = behind;
        }
    }
}

impl Layer<'_> {
    /// Mean and scale of one image's channels.
    #[inline(always)]
    fn moments(&self, image: &Cells, sums: &mut [u8], means: &mut Cells, scales: &mut Cells) {
        let Header {
            positions,
            features,
            groups,
            eps,
            ..
        } = self.header;
        let size = features / groups;
        let count = positions * size;
        let sums = sums.as_chunks_mut::<8>().0;
        // sums of each channel, a few at a time
        for (at, to) in sums.chunks_mut(LANES).enumerate() {
            let mut lanes = [0.0f64; LANES];
            for row in image.chunks_exact(features) {
                let row = &row[at * LANES..][..to.len()];
                for (lane, x) in lanes.iter_mut().zip(row) {
                    *lane += f64::from(get(x));
                }
            }
            for (to, lane) in to.iter_mut().zip(lanes) {
                *to = lane.to_ne_bytes();
            }
        }
        let joined = |sums: &mut [[u8; 8]]| {
            let total = sums.iter().fold(0.0, |n, sum| n + f64::from_ne_bytes(*sum));
            sums.fill((total / count as f64).to_ne_bytes());
        };
        sums.chunks_mut(size).for_each(joined);
        // squares around the group's mean
        for (at, to) in sums.chunks_mut(LANES).enumerate() {
            let mut around = [0.0f64; LANES];
            for (mean, sum) in around.iter_mut().zip(&*to) {
                *mean = f64::from_ne_bytes(*sum);
            }
            let mut lanes = [0.0f64; LANES];
            for row in image.chunks_exact(features) {
                let row = &row[at * LANES..][..to.len()];
                for (i, x) in row.iter().enumerate() {
                    let difference = f64::from(get(x)) - around[i];
                    lanes[i] += difference * difference;
                }
            }
            for (i, to) in to.iter_mut().enumerate() {
                let c = at * LANES + i;
                means[c] = (around[i] as f32).to_ne_bytes();
                *to = lanes[i].to_ne_bytes();
            }
        }
        let parts = sums.chunks(size).zip(scales.chunks_mut(size));
        for ((sums, scales), weights) in parts.zip(self.scales.chunks(size)) {
            let squares = sums.iter().fold(0.0, |n, sum| n + f64::from_ne_bytes(*sum));
            let inverse = inverse(squares, count, eps);
            for (scale, weight) in scales.iter_mut().zip(weights) {
                let weight = f64::from(f32::from_le_bytes(*weight));
                *scale = ((weight * inverse) as f32).to_ne_bytes();
            }
        }
    }
}

/// `clamp(x scale + shift, low, high)`; coefficients are little-endian.
#[inline(always)]
fn affine(from: &Cells, to: &mut Cells, scales: &Cells, shifts: &Cells, low: f32, high: f32) {
    let parameters = scales.iter().zip(shifts);
    for ((x, y), (scale, shift)) in from.iter().zip(to).zip(parameters) {
        let value = get(x) * f32::from_le_bytes(*scale) + f32::from_le_bytes(*shift);
        *y = clamp(value, low, high).to_ne_bytes();
    }
}

/// The sum of `f` of each value, in partial sums.
#[inline(always)]
fn summed(values: &Cells, f: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.0f64; LANES];
    for chunk in values.chunks(LANES) {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += f(f64::from(get(x)));
        }
    }
    lanes.iter().fold(0.0, |sum, lane| sum + lane)
}
