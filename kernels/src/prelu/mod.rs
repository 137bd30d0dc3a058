//! Leaky ReLU with a slope for each channel: `quantize(x > 0 ? x : x * slope)` of
//! `x = scale * (q - zero_point)`, step by step in f32. One slope for all is a table.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "aarch64")]
mod neon;
mod reference;

use qconfig_core::kernel::{
    BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Signature, Sizes, Split,
    Unary, WeightData,
};
use qconfig_core::{DType, Isa};

use crate::affine::{Stored, stored};
use crate::blob::{HEADER, Tag, align, exact};
use crate::dequantize::real;
use crate::output::Output;
use crate::units::{self, word};
use crate::{affine, lut, q8_lut};

/// PReLU of `quint8` or `qint8` tensors; the first parameter of the node holds one slope, or one for each
/// channel (the last axis of the storage order).
///
/// torch's own kernel quantizes the slopes; its reference model does not, nor does this.
#[derive(Clone, Copy, Debug)]
pub struct Q8PRelu;

const NAME: &str = "q8_prelu";
const TAG: Tag = Tag {
    word: *b"prl1",
    kernel: NAME,
};
/// Short rows of slopes are repeated so often that a row has at least half as many: a vector then seldom
/// meets its end.
const ROW: usize = 256;

impl KernelFamily for Q8PRelu {
    const KERNEL: &'static Kernel = &Kernel {
        name: NAME,
        signature: Signature::activations(
            &[DType::quint8, DType::qint8],
            &[DType::quint8, DType::qint8],
        ),
        sizes,
        pack,
        split,
        run,
        variant,
    };
}

#[derive(Clone, Copy, PartialEq, Debug)]
struct Params {
    from: Stored,
    /// Of the output; its zero point is that of `output`.
    scale: f32,
    output: Output,
}

impl Params {
    /// The stored output of a stored input in a channel of that slope.
    fn byte(&self, q: u8, slope: f32) -> u8 {
        let x = real(self.from, q);
        let to = Stored {
            scale: self.scale,
            zero_point: self.output.zero_point.into(),
        };
        let y = affine::quantize(if x > 0.0 { x } else { x * slope }, to);
        y.max(self.output.low).min(self.output.high)
    }
}

struct Plan<'a> {
    elements: u32,
    slopes: &'a [f32],
    params: Params,
}

impl Plan<'_> {
    /// Slopes of a row as it is packed.
    fn row(&self) -> usize {
        self.slopes.len() * (ROW / self.slopes.len()).max(1)
    }
}

fn slopes<'a>(spec: &NodeSpec<'a>) -> Result<&'a [f32], Refusal> {
    match (spec.op, spec.parameters) {
        (NodeOp::PRelu, [slopes]) => match slopes.data {
            WeightData::F32([]) => Err(Refusal::Shape("a PReLU needs at least one slope")),
            WeightData::F32(values) if values.iter().all(|slope| slope.is_finite()) => Ok(values),
            WeightData::F32(_) => Err(Refusal::NotFinite("the slopes")),
            _ => Err(Refusal::DType {
                place: "parameter",
                dtype: slopes.dtype,
            }),
        },
        _ => Err(Refusal::Operator(
            "this kernel takes a PReLU with its slopes and nothing else",
        )),
    }
}

/// A PReLU of one slope, as the table's kernel takes it.
fn of_one_slope<'a>(spec: &NodeSpec<'a>) -> Result<Option<NodeSpec<'a>>, Refusal> {
    Ok(match *slopes(spec)? {
        [negative_slope] => Some(NodeSpec {
            op: NodeOp::Unary(Unary::LeakyRelu { negative_slope }),
            parameters: &[],
            ..*spec
        }),
        _ => None,
    })
}

fn plan<'a>(spec: &NodeSpec<'a>) -> Result<Plan<'a>, Refusal> {
    let slopes = slopes(spec)?;
    let [input] = units::arity(spec)?;
    if input.shape.last() != Some(&slopes.len()) {
        return Err(Refusal::Shape("one slope, or one for each channel"));
    }
    let to = stored("output", &spec.output)?;
    Ok(Plan {
        elements: units::same_shape(input, &spec.output)?,
        slopes,
        params: Params {
            from: stored("input", input)?,
            scale: to.scale,
            output: Output::new(spec.activation, to),
        },
    })
}

fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    if let Some(one) = of_one_slope(spec)? {
        return q8_lut::QNNPACK.sizes(&one);
    }
    let plan = plan(spec)?;
    Ok(Sizes {
        blob: HEADER + align(4 * plan.row()),
        scratch: 0,
    })
}

/// Words: elements, slopes of a row, scale and zero point of input and output, bounds. Section of slopes.
fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    if let Some(one) = of_one_slope(spec)? {
        return q8_lut::QNNPACK.pack(&one, blob);
    }
    let plan = plan(spec)?;
    units::blob_length(blob, HEADER + align(4 * plan.row()))?;
    let Params {
        from,
        scale,
        output,
    } = plan.params;
    let mut words = [0; 15];
    words[..8].copy_from_slice(&[
        plan.elements,
        word(plan.row())?,
        from.scale.to_bits(),
        from.zero_point as u32,
        scale.to_bits(),
        output.zero_point.into(),
        output.low.into(),
        output.high.into(),
    ]);
    let (header, section) = blob.split_at_mut(HEADER);
    TAG.write(header, &words);
    section.fill(0);
    let slopes = plan.slopes.iter().cycle().take(plan.row());
    for (to, slope) in section.as_chunks_mut().0.iter_mut().zip(slopes) {
        *to = slope.to_le_bytes();
    }
    Ok(())
}

struct Packed<'b> {
    elements: usize,
    params: Params,
    /// Not empty.
    slopes: &'b [[u8; 4]],
}

impl<'b> Packed<'b> {
    fn read(blob: &'b [u8]) -> Result<Self, BlobError> {
        let damaged = BlobError::Header(NAME);
        let [elements, row, from, from_zero, to, bytes @ ..] = TAG.read(blob)?;
        let row = row as usize;
        let bytes_of_row = row.checked_mul(4).filter(|bytes| *bytes > 0);
        let len = bytes_of_row.and_then(|bytes| bytes.checked_add(HEADER + 63));
        // in whole sections
        exact("the blob", blob.len(), len.ok_or(damaged)? / 64 * 64)?;
        let scale = |bits: u32| Some(f32::from_bits(bits)).filter(|s| s.is_normal() && *s > 0.0);
        let decode = || {
            let mut stored = [0; 3];
            for (to, word) in stored.iter_mut().zip(bytes) {
                *to = u8::try_from(word).ok()?;
            }
            let [zero_point, low, high] = stored;
            let params = Params {
                from: Stored {
                    scale: scale(from)?,
                    zero_point: u8::try_from(from_zero).ok()?.into(),
                },
                scale: scale(to)?,
                output: Output {
                    zero_point,
                    low,
                    high,
                },
            };
            Some(Self {
                elements: elements as usize,
                params,
                slopes: blob.get(HEADER..)?.as_chunks().0.get(..row)?,
            })
        };
        decode().ok_or(damaged)
    }

    fn split(&self, inputs: &[usize]) -> Result<Split, BlobError> {
        let [input] = units::lengths(inputs)?;
        exact("the input", input, self.elements)?;
        Ok(units::split(self.elements, 1, 1 << 15))
    }
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    if q8_lut::QNNPACK.owns(blob) {
        return q8_lut::QNNPACK.split(blob, inputs);
    }
    Packed::read(blob)?.split(inputs)
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    if q8_lut::QNNPACK.owns(call.blob) {
        return q8_lut::QNNPACK.run(call);
    }
    let packed = Packed::read(call.blob)?;
    let input = units::input(call.inputs, 0)?;
    let split = packed.split(&[input.len()])?;
    let part = units::part(&split, &call.units, call.output.len())?;
    let mut channel = part.start % packed.slopes.len();
    let (mut input, mut output) = (units::slice(input, part)?, call.output);
    while !input.is_empty() {
        let slopes = packed.slopes.get(channel..).unwrap_or_default();
        let len = slopes.len().min(input.len());
        let (x, rest) = input.split_at(len);
        let (y, behind) = output.split_at_mut(len);
        let slopes = slopes.get(..len).unwrap_or_default();
        match call.isa.level() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an `Isa` of such a level proves that the CPU has AVX2.
            level if level.has_avx2() => unsafe { avx2::prelu(&packed.params, slopes, x, y) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: an `Isa` of such a level proves that the CPU has NEON.
            level if level.has_neon() => unsafe { neon::prelu(&packed.params, slopes, x, y) },
            _ => reference::prelu(&packed.params, slopes, x, y),
        }
        (input, output, channel) = (rest, behind, 0);
    }
    Ok(())
}

fn variant(blob: &[u8], isa: Isa) -> &'static str {
    if q8_lut::QNNPACK.owns(blob) {
        return lut::variant(isa);
    }
    match isa.level() {
        level if level.has_avx2() => "x32__avx2",
        level if level.has_neon() => "x16__neon",
        _ => "x1__scalar",
    }
}
