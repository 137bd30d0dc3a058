use qconfig_core::Isa;
use qconfig_core::kernel::{
    BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Sizes, Split,
};

use super::batch::{positions_split, unit_positions};
use super::{
    Affine, Channels, Moments, SIGNATURE, WeightAndBias, checked_eps, coefficient, period, variant,
};
use crate::affine::stored;
use crate::blob::{HEADER, Tag, align, at_least, exact};
use crate::output::Output;
use crate::units::{self, word};

/// Group normalization of `[N, .., C]`, an activation behind: each image's channels of a group by their
/// own mean and variance. With a group for each channel it is instance normalization.
///
/// Mean and variance come from exact sums; then, in `f64` rounded once,
/// `a = weight * sa / (so * sqrt(var + eps))`, `b = (bias - weight * mean / sqrt(var + eps)) / so`, and
/// `clamp(rne(f32(q - za) * a[c] + b[c]) + zo)`. At most one step from the float operator.
///
/// Parameters: weight and bias, one value for each channel, or none.
#[derive(Clone, Copy, Debug)]
pub struct Q8GroupNorm;

const NAME: &str = "q8_group_norm";
const TAG: Tag = Tag {
    word: *b"gnm1",
    kernel: NAME,
};

impl KernelFamily for Q8GroupNorm {
    const KERNEL: &'static Kernel = &Kernel {
        name: NAME,
        signature: SIGNATURE,
        sizes,
        pack,
        split,
        run,
        variant,
    };
}

/// Words: batch, positions, channels, groups, bytes (zero points and bounds), then the bits of eps, input
/// scale and output scale. Sections: weights, biases.
#[derive(Clone, Copy)]
struct Header {
    batch: usize,
    positions: usize,
    channels: usize,
    groups: usize,
    zero_point: u8,
    output: Output,
    eps: f32,
    from: f32,
    to: f32,
}

/// Scratch: sums of each channel, then the tables of coefficients.
#[derive(Clone, Copy)]
struct Scratch {
    sums: usize,
    table: usize,
}

impl Scratch {
    fn new(channels: usize) -> Option<Self> {
        // a table has at most 31 entries more than there are channels
        channels.checked_add(32)?.checked_mul(64)?;
        Some(Self {
            sums: channels * 16,
            table: period(channels) * 4,
        })
    }

    fn bytes(&self) -> usize {
        self.sums + 2 * self.table
    }
}

fn blob_len(channels: usize) -> Option<usize> {
    let section = channels.checked_mul(4)?.checked_next_multiple_of(64)?;
    section.checked_mul(2)?.checked_add(HEADER)
}

fn plan(spec: &NodeSpec<'_>) -> Result<Header, Refusal> {
    let NodeOp::GroupNorm { groups, eps } = spec.op else {
        return Err(Refusal::Operator(
            "this kernel computes group and instance normalization only",
        ));
    };
    let [input] = units::arity(spec)?;
    let [batch, ref between @ .., channels] = *input.shape else {
        return Err(Refusal::Shape("group normalization takes [N, .., C]"));
    };
    units::same_shape(input, &spec.output)?;
    if groups == 0 || channels == 0 || !channels.is_multiple_of(groups) {
        return Err(Refusal::Shape("the channels are not so many groups"));
    }
    let positions = between
        .iter()
        .try_fold(1usize, |n, size| n.checked_mul(*size));
    let positions = positions.ok_or(Refusal::Shape("too many elements"))?;
    let (from, to) = (stored("input", input)?, stored("output", &spec.output)?);
    Ok(Header {
        batch,
        positions,
        channels,
        groups,
        zero_point: from.zero_point as u8,
        output: Output::new(spec.activation, to),
        eps: checked_eps(eps)?,
        from: from.scale,
        to: to.scale,
    })
}

fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    let Header { channels, .. } = plan(spec)?;
    WeightAndBias::of(spec, channels)?;
    match (blob_len(channels), Scratch::new(channels)) {
        (Some(blob), Some(scratch)) => Ok(Sizes {
            blob,
            scratch: scratch.bytes(),
        }),
        _ => Err(Refusal::Shape("too many channels")),
    }
}

fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let header = plan(spec)?;
    let channels = header.channels;
    units::blob_length(blob, sizes(spec)?.blob)?;
    blob.fill(0);
    let mut words = [0; 15];
    let Output {
        zero_point,
        low,
        high,
    } = header.output;
    let sizes = [header.batch, header.positions, channels, header.groups];
    for (to, size) in words.iter_mut().zip(sizes) {
        *to = word(size)?;
    }
    words[4] = u32::from_le_bytes([header.zero_point, zero_point, low, high]);
    words[5..8].copy_from_slice(&[header.eps, header.from, header.to].map(f32::to_bits));
    let (first, sections) = blob.split_at_mut(HEADER);
    TAG.write(first, &words);
    let (weights, biases) = sections.split_at_mut(align(channels * 4));
    let cells = weights
        .as_chunks_mut()
        .0
        .iter_mut()
        .zip(biases.as_chunks_mut().0);
    let parameters = WeightAndBias::of(spec, channels)?;
    for (c, (weight, bias)) in (0..channels).zip(cells) {
        [*weight, *bias] = parameters.get(c).map(|value| (value as f32).to_le_bytes());
    }
    Ok(())
}

/// A blob, read: weights and biases are little-endian `f32`.
struct Layer<'a> {
    header: Header,
    weights: &'a [[u8; 4]],
    biases: &'a [[u8; 4]],
}

fn read<'a>(blob: &'a [u8], inputs: &[usize]) -> Result<Layer<'a>, BlobError> {
    let [batch, positions, channels, groups, bytes, eps, from, to, ..] = TAG.read(blob)?;
    let [zero_point, out_zero_point, low, high] = bytes.to_le_bytes();
    let [batch, positions, channels, groups] =
        [batch, positions, channels, groups].map(|size| size as usize);
    let damaged = BlobError::Header(NAME);
    exact("the blob", blob.len(), blob_len(channels).ok_or(damaged)?)?;
    let elements = batch
        .checked_mul(positions)
        .and_then(|n| n.checked_mul(channels));
    if channels == 0 || !channels.is_multiple_of(groups) || Scratch::new(channels).is_none() {
        return Err(damaged);
    }
    let [input] = units::lengths(inputs)?;
    exact("the input", input, elements.ok_or(damaged)?)?;
    let section = |start: usize| {
        let bytes = blob.get(start..start + channels * 4).ok_or(damaged)?;
        Ok(bytes.as_chunks().0)
    };
    Ok(Layer {
        header: Header {
            batch,
            positions,
            channels,
            groups,
            zero_point,
            output: Output {
                zero_point: out_zero_point,
                low,
                high,
            },
            eps: f32::from_bits(eps),
            from: f32::from_bits(from),
            to: f32::from_bits(to),
        },
        weights: section(HEADER)?,
        biases: section(HEADER + align(channels * 4))?,
    })
}

impl Header {
    /// Every call that touches an image looks at all of it, so a thread should have a good part of one.
    fn split(&self) -> Split {
        let image = self.positions * self.channels;
        positions_split(
            self.batch * self.positions,
            self.channels,
            (image / 4).max(1 << 16),
        )
    }
}

/// Channels summed in one pass over an image: a cache line of each position.
const PASS: usize = 64;

impl Layer<'_> {
    /// Writes the coefficients of one image's channels, for one period.
    fn coefficients(
        &self,
        image: &[u8],
        sums: &mut [[u8; 16]],
        a: &mut [[u8; 4]],
        b: &mut [[u8; 4]],
        isa: Isa,
    ) {
        let header = self.header;
        let channels = header.channels;
        for (pass, cells) in sums.chunks_mut(PASS).enumerate() {
            let mut found = [[0; 2]; PASS];
            let found = &mut found[..cells.len()];
            let part = Channels {
                image,
                channels,
                first: pass * PASS,
            };
            part.add(found, isa);
            for (cell, [sum, squares]) in cells.iter_mut().zip(found) {
                let sums = u128::from(*sum) | u128::from(*squares) << 64;
                *cell = sums.to_le_bytes();
            }
        }
        let size = channels / header.groups;
        for (group, cells) in sums.chunks(size).enumerate() {
            let mut moments = Moments {
                count: (header.positions * size) as u64,
                ..Moments::default()
            };
            for cell in cells {
                let sums = u128::from_le_bytes(*cell);
                moments.sum = moments.sum.wrapping_add(sums as u64);
                moments.squares = moments.squares.wrapping_add((sums >> 64) as u64);
            }
            let (mean, inverse) = moments.normal(header.from, header.eps);
            let mean = f64::from(header.from) * (mean - f64::from(header.zero_point));
            for c in group * size..(group + 1) * size {
                let value = |table: &[[u8; 4]]| {
                    f64::from(f32::from_le_bytes(
                        table.get(c).copied().unwrap_or_default(),
                    ))
                };
                let (weight, bias) = (value(self.weights), value(self.biases));
                let to = f64::from(header.to);
                let alpha = weight * inverse;
                let values = [
                    alpha * f64::from(header.from) / to,
                    (bias - alpha * mean) / to,
                ];
                for (table, value) in [&mut *a, &mut *b].into_iter().zip(values) {
                    for to in table.iter_mut().skip(c).step_by(channels) {
                        *to = coefficient(value).to_le_bytes();
                    }
                }
            }
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
    units::part(&header.split(), &call.units, call.output.len())?;
    let scratch = Scratch::new(header.channels).ok_or(BlobError::Header(NAME))?;
    at_least("scratch", call.scratch.len(), scratch.bytes())?;
    let (sums, tables) = call.scratch.split_at_mut(scratch.sums);
    let (a, b) = tables.split_at_mut(scratch.table);
    let (sums, a) = (sums.as_chunks_mut().0, a.as_chunks_mut().0);
    let b = &mut b.as_chunks_mut().0[..a.len()];
    let mut position = call.units.start * unit_positions(header.channels);
    let mut output = call.output;
    while !output.is_empty() && header.positions > 0 {
        let (image, at) = (position / header.positions, position % header.positions);
        let len = header.positions * header.channels;
        let image = units::slice(input, image * len..(image + 1) * len)?;
        layer.coefficients(image, sums, a, b, call.isa);
        let count = (len - at * header.channels).min(output.len());
        let (here, rest) = output.split_at_mut(count);
        let affine = Affine {
            a,
            b,
            zero_point: header.zero_point,
            output: header.output,
        };
        let from = units::slice(image, at * header.channels..at * header.channels + count)?;
        affine.apply(from, here, call.isa);
        position += count / header.channels;
        output = rest;
    }
    Ok(())
}
