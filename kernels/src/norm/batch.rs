use qconfig_core::kernel::{
    BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Sizes, Split,
};

use super::{Affine, SIGNATURE, parameter, period, variant};
use crate::affine::stored;
use crate::blob::{HEADER, Tag, align, exact};
use crate::output::Output;
use crate::units::{self, UNIT, word};

/// Batch normalization at inference, `[N, .., C]`, an activation behind:
/// `clamp(rne(f32(q - za) * a[c] + b[c]) + zo)` with `alpha = weight / sqrt(var + eps)`,
/// `a = alpha * sa / so` and `b = (bias - alpha * mean) / so`, worked out in `f64` when the plan is made
/// and rounded once. At most one step from the float operator.
///
/// Parameters: weight, bias, running mean, running variance, one value for each channel.
#[derive(Clone, Copy, Debug)]
pub struct Q8BatchNorm;

const NAME: &str = "q8_batch_norm";
const TAG: Tag = Tag {
    word: *b"bnm1",
    kernel: NAME,
};

impl KernelFamily for Q8BatchNorm {
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

/// Words: positions, channels, bytes (zero points and bounds).
struct Header {
    positions: usize,
    channels: usize,
    zero_point: u8,
    output: Output,
}

/// Bytes of one section of coefficients, and of the blob.
fn layout(channels: usize) -> Option<[usize; 2]> {
    let table = channels.checked_add(32)?.checked_mul(4)?;
    table.checked_mul(2)?.checked_add(2 * HEADER)?;
    let table = period(channels) * 4;
    Some([table, HEADER + 2 * align(table)])
}

fn plan(spec: &NodeSpec<'_>) -> Result<Header, Refusal> {
    let NodeOp::BatchNorm { .. } = spec.op else {
        return Err(Refusal::Operator(
            "this kernel computes batch normalization only",
        ));
    };
    let [input] = units::arity(spec)?;
    let [_, .., channels] = *input.shape else {
        return Err(Refusal::Shape("batch normalization takes [N, .., C]"));
    };
    let elements = units::same_shape(input, &spec.output)? as usize;
    let to = stored("output", &spec.output)?;
    Ok(Header {
        positions: elements.checked_div(channels).unwrap_or(0),
        channels,
        zero_point: stored("input", input)?.zero_point as u8,
        output: Output::new(spec.activation, to),
    })
}

fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    let Header { channels, .. } = plan(spec)?;
    coefficients(spec, channels, |_, _| ())?;
    let [_, blob] = layout(channels).ok_or(Refusal::Shape("too many channels"))?;
    Ok(Sizes { blob, scratch: 0 })
}

/// Calls with `a` and `b` of each channel.
fn coefficients(
    spec: &NodeSpec<'_>,
    channels: usize,
    mut each: impl FnMut(usize, [f32; 2]),
) -> Result<(), Refusal> {
    let (NodeOp::BatchNorm { eps }, [weight, bias, mean, variance]) = (spec.op, spec.parameters)
    else {
        return Err(Refusal::Shape(
            "the parameters are weight, bias, mean and variance",
        ));
    };
    let [input] = units::arity(spec)?;
    let from = f64::from(stored("input", input)?.scale);
    let to = f64::from(stored("output", &spec.output)?.scale);
    let [weight, bias, mean, variance] =
        [weight, bias, mean, variance].map(|values| parameter(values, channels));
    let (weight, bias, mean, variance) = (weight?, bias?, mean?, variance?);
    for c in 0..channels {
        let [weight, bias, mean, variance] =
            [weight[c], bias[c], mean[c], variance[c]].map(f64::from);
        let spread = variance + f64::from(eps);
        if spread.is_nan() || spread <= 0.0 {
            return Err(Refusal::Operator("a variance with eps is not positive"));
        }
        let alpha = weight / libm::sqrt(spread);
        let (a, b) = (
            (alpha * from / to) as f32,
            ((bias - alpha * mean) / to) as f32,
        );
        if !(a * 255.0).is_finite() || !(a.abs() * 255.0 + b.abs()).is_finite() {
            return Err(Refusal::Scale {
                what: "weight * input scale / (deviation * output scale)",
                value: a,
                low: f32::MIN,
                high: f32::MAX,
            });
        }
        each(c, [a, b]);
    }
    Ok(())
}

fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let Header {
        positions,
        channels,
        zero_point,
        output,
    } = plan(spec)?;
    units::blob_length(blob, sizes(spec)?.blob)?;
    blob.fill(0);
    let mut words = [0; 15];
    let bytes = [zero_point, output.zero_point, output.low, output.high];
    words[..3].copy_from_slice(&[word(positions)?, word(channels)?, u32::from_le_bytes(bytes)]);
    let (header, sections) = blob.split_at_mut(HEADER);
    TAG.write(header, &words);
    let period = period(channels);
    let (a, b) = sections.split_at_mut(align(period * 4));
    let (a, b) = (a.as_chunks_mut().0, b.as_chunks_mut().0);
    coefficients(spec, channels, |c, values| {
        for at in (c..period).step_by(channels) {
            for (table, value) in [&mut *a, &mut *b].into_iter().zip(values) {
                if let Some(to) = table.get_mut(at) {
                    *to = value.to_le_bytes();
                }
            }
        }
    })
}

fn read<'a>(blob: &'a [u8], inputs: &[usize]) -> Result<(Header, Affine<'a>), BlobError> {
    let [positions, channels, bytes, ..] = TAG.read(blob)?;
    let [zero_point, out_zero_point, low, high] = bytes.to_le_bytes();
    let [positions, channels] = [positions, channels].map(|size| size as usize);
    let damaged = BlobError::Header(NAME);
    let [table, len] = layout(channels).ok_or(damaged)?;
    exact("the blob", blob.len(), len)?;
    let elements = positions.checked_mul(channels).ok_or(damaged)?;
    let [input] = units::lengths(inputs)?;
    exact("the input", input, elements)?;
    let output = Output {
        zero_point: out_zero_point,
        low,
        high,
    };
    let section = |start: usize| {
        let bytes = blob.get(start..start + table).ok_or(damaged)?;
        Ok(bytes.as_chunks().0)
    };
    let affine = Affine {
        a: section(HEADER)?,
        b: section(HEADER + align(table))?,
        zero_point,
        output,
    };
    let header = Header {
        positions,
        channels,
        zero_point,
        output,
    };
    Ok((header, affine))
}

/// Positions of a unit of some [`UNIT`] bytes.
pub(super) fn unit_positions(channels: usize) -> usize {
    UNIT.div_ceil(channels.max(1))
}

/// Units of whole positions.
pub(super) fn positions_split(positions: usize, channels: usize, grain: usize) -> Split {
    let unit = unit_positions(channels);
    Split {
        units: if channels == 0 {
            0
        } else {
            positions.div_ceil(unit)
        },
        unit_bytes: unit * channels,
        output_bytes: positions * channels,
        grain: grain.div_ceil((unit * channels).max(1)),
    }
}

impl Header {
    fn split(&self) -> Split {
        positions_split(self.positions, self.channels, 1 << 16)
    }
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    Ok(read(blob, inputs)?.0.split())
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    let input = units::input(call.inputs, 0)?;
    let (header, affine) = read(call.blob, &[input.len()])?;
    let part = units::part(&header.split(), &call.units, call.output.len())?;
    affine.apply(units::slice(input, part)?, call.output, call.isa);
    Ok(())
}
