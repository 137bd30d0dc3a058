use qconfig_core::kernel::{
    BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Signature, Sizes, Split,
};

use qconfig_core::DType;

use super::{Row, SIGNATURE, WeightAndBias, checked_eps, coefficient, row_moments, variant};
use crate::affine::stored;
use crate::blob::{HEADER, Tag, align, exact};
use crate::output::Output;
use crate::units::{self, UNIT, word};

/// Layer normalization over the last axes, an activation behind: each row by its own mean and variance.
///
/// These come from exact sums; with `inverse = 1 / sqrt(var + eps)` worked out in `f64`,
/// `p = inverse * sa` and `r = -inverse * mean` rounded once,
/// `clamp(rne((f32(q - za) * p + r) * (weight / so) + bias / so) + zo)`. At most one step from the float
/// operator.
///
/// Parameters: weight and bias, one value for each feature, or none.
#[derive(Clone, Copy, Debug)]
pub struct Q8LayerNorm;

const NAME: &str = "q8_layer_norm";
const TAG: Tag = Tag {
    word: *b"lnm1",
    kernel: NAME,
};

impl KernelFamily for Q8LayerNorm {
    const KERNEL: &'static Kernel = &Kernel {
        name: NAME,
        signature: Signature {
            weight: &[DType::float32],
            bias: &[DType::float32],
            ..SIGNATURE
        },
        sizes,
        pack,
        split,
        run,
        variant,
    };
}

/// Words: rows, features, bytes (zero points and bounds), the bits of eps and of the input scale. Sections:
/// weights and biases, divided by the output scale.
struct Header {
    rows: usize,
    features: usize,
    zero_point: u8,
    output: Output,
    eps: f32,
    from: f32,
}

fn blob_len(features: usize) -> Option<usize> {
    let section = features.checked_mul(4)?.checked_next_multiple_of(64)?;
    section.checked_mul(2)?.checked_add(HEADER)
}

fn plan(spec: &NodeSpec<'_>) -> Result<Header, Refusal> {
    let NodeOp::LayerNorm { axes, eps } = spec.op else {
        return Err(Refusal::Operator(
            "this kernel computes layer normalization only",
        ));
    };
    let [input] = units::arity(spec)?;
    let elements = units::same_shape(input, &spec.output)? as usize;
    let last = input.shape.len().checked_sub(axes).filter(|_| axes > 0);
    let features = last.and_then(|first| input.shape.get(first..));
    let features: usize = match features {
        Some(sizes) => sizes.iter().product(),
        None => return Err(Refusal::Shape("the input has fewer axes")),
    };
    let (from, to) = (stored("input", input)?, stored("output", &spec.output)?);
    Ok(Header {
        rows: elements.checked_div(features).unwrap_or(0),
        features,
        zero_point: from.zero_point as u8,
        output: Output::new(spec.activation, to),
        eps: checked_eps(eps)?,
        from: from.scale,
    })
}

fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    let Header { features, .. } = plan(spec)?;
    WeightAndBias::of(spec, features)?;
    match blob_len(features) {
        Some(blob) => Ok(Sizes { blob, scratch: 0 }),
        None => Err(Refusal::Shape("too many features")),
    }
}

fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let header = plan(spec)?;
    units::blob_length(blob, sizes(spec)?.blob)?;
    blob.fill(0);
    let mut words = [0; 15];
    let Output {
        zero_point,
        low,
        high,
    } = header.output;
    let bytes = [header.zero_point, zero_point, low, high];
    words[..5].copy_from_slice(&[
        word(header.rows)?,
        word(header.features)?,
        u32::from_le_bytes(bytes),
        header.eps.to_bits(),
        header.from.to_bits(),
    ]);
    let (first, sections) = blob.split_at_mut(HEADER);
    TAG.write(first, &words);
    let (weights, biases) = sections.split_at_mut(align(header.features * 4));
    let cells = weights
        .as_chunks_mut()
        .0
        .iter_mut()
        .zip(biases.as_chunks_mut().0);
    let parameters = WeightAndBias::of(spec, header.features)?;
    let to = f64::from(stored("output", &spec.output)?.scale);
    for (c, (weight, bias)) in (0..header.features).zip(cells) {
        [*weight, *bias] = parameters
            .get(c)
            .map(|value| coefficient(value / to).to_le_bytes());
    }
    Ok(())
}

/// A blob, read.
struct Layer<'a> {
    header: Header,
    weights: &'a [[u8; 4]],
    biases: &'a [[u8; 4]],
}

fn read<'a>(blob: &'a [u8], inputs: &[usize]) -> Result<Layer<'a>, BlobError> {
    let [rows, features, bytes, eps, from, ..] = TAG.read(blob)?;
    let [zero_point, out_zero_point, low, high] = bytes.to_le_bytes();
    let [rows, features] = [rows, features].map(|size| size as usize);
    let damaged = BlobError::Header(NAME);
    exact("the blob", blob.len(), blob_len(features).ok_or(damaged)?)?;
    let elements = rows.checked_mul(features).ok_or(damaged)?;
    let [input] = units::lengths(inputs)?;
    exact("the input", input, elements)?;
    let section = |start: usize| {
        let bytes = blob.get(start..start + features * 4).ok_or(damaged)?;
        Ok(bytes.as_chunks().0)
    };
    Ok(Layer {
        header: Header {
            rows,
            features,
            zero_point,
            output: Output {
                zero_point: out_zero_point,
                low,
                high,
            },
            eps: f32::from_bits(eps),
            from: f32::from_bits(from),
        },
        weights: section(HEADER)?,
        biases: section(HEADER + align(features * 4))?,
    })
}

impl Header {
    /// Units of whole rows.
    fn split(&self) -> Split {
        let rows = (UNIT / self.features.max(1)).max(1);
        let unit_bytes = rows * self.features;
        Split {
            units: if self.features == 0 {
                0
            } else {
                self.rows.div_ceil(rows)
            },
            unit_bytes,
            output_bytes: self.rows * self.features,
            grain: (1usize << 15).div_ceil(unit_bytes.max(1)),
        }
    }
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    Ok(read(blob, inputs)?.header.split())
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    let input = units::input(call.inputs, 0)?;
    let Layer {
        header,
        weights,
        biases,
    } = read(call.blob, &[input.len()])?;
    let part = units::part(&header.split(), &call.units, call.output.len())?;
    let features = header.features.max(1);
    let rows = units::slice(input, part)?.chunks_exact(features);
    for (from, to) in rows.zip(call.output.chunks_exact_mut(features)) {
        let (mean, inverse) = row_moments(from, call.isa).normal(header.from, header.eps);
        let mean = f64::from(header.from) * (mean - f64::from(header.zero_point));
        let row = Row {
            p: coefficient(inverse * f64::from(header.from)),
            r: coefficient(-inverse * mean),
            a: weights,
            b: biases,
            zero_point: header.zero_point,
            output: header.output,
        };
        row.apply(from, to, call.isa);
    }
    Ok(())
}
