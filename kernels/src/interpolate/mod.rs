//! Images, lines and volumes of another size: nearest, and linear along each dimension.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod float;
mod reference;

use qconfig_core::kernel::{
    Activation, BlobError, Call, Interpolation, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal,
    Signature, Sizes, Split,
};
use qconfig_core::{DType, Isa};

pub use self::float::F32Interpolate;
use crate::affine::stored;
use crate::blob::{HEADER, Tag, exact};
use crate::units::{self, word};

/// `[N, spatial.., C]` to `[N, spatial.., C]` of another size, one to three spatial dimensions, with the
/// quantization parameters of its input.
///
/// `out = clamp(rne(sum(w * (q - z))) + z)` over the two to eight pixels around, in `f32`, their weights
/// products of those along each dimension ([`Interpolation::taps`]); at most a step from torch, which
/// nests the sums. Nearest copies.
#[derive(Clone, Copy, Debug)]
pub struct Q8Interpolate;

const NAME: &str = "q8_interpolate";
const TAG: Tag = Tag {
    word: *b"int1",
    kernel: NAME,
};
/// Pixels around a position: two along each dimension.
const TAPS: usize = 8;

impl KernelFamily for Q8Interpolate {
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

/// Sizes on both sides, and how positions are found.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Geometry {
    batch: usize,
    /// `[depth, height, width]`.
    input: [usize; 3],
    output: [usize; 3],
    channels: usize,
    interpolation: Interpolation,
    zero_point: u8,
}

/// `[batch, depth, height, width, channels]`.
fn dimensions(shape: &[usize]) -> Option<[usize; 5]> {
    match *shape {
        [n, w, c] => Some([n, 1, 1, w, c]),
        [n, h, w, c] => Some([n, 1, h, w, c]),
        [n, d, h, w, c] => Some([n, d, h, w, c]),
        _ => None,
    }
}

impl Geometry {
    fn of(spec: &NodeSpec<'_>) -> Result<Self, Refusal> {
        let NodeOp::Interpolate(interpolation) = spec.op else {
            return Err(Refusal::Operator(
                "this kernel interpolates and does nothing else",
            ));
        };
        let [input] = units::arity(spec)?;
        let from = stored("input", input)?;
        if spec.activation != Activation::None
            || input.dtype != spec.output.dtype
            || stored("output", &spec.output)? != from
        {
            return Err(Refusal::Operator(
                "interpolation keeps dtype and quantization parameters",
            ));
        }
        let unfit = Refusal::Shape("input and output differ in batch, channels or rank");
        let (Some([batch, d, h, w, channels]), Some([n, od, oh, ow, c])) =
            (dimensions(input.shape), dimensions(spec.output.shape))
        else {
            return Err(unfit);
        };
        if (n, c) != (batch, channels) || input.shape.len() != spec.output.shape.len() {
            return Err(unfit);
        }
        Self::new(
            batch,
            [[d, h, w], [od, oh, ow]],
            channels,
            interpolation,
            from.zero_point as u8,
        )
        .ok_or(Refusal::Shape("a dimension is 0, or the sizes overflow"))
    }

    fn new(
        batch: usize,
        [input, output]: [[usize; 3]; 2],
        channels: usize,
        interpolation: Interpolation,
        zero_point: u8,
    ) -> Option<Self> {
        let product = |sizes: &[usize; 3]| {
            sizes
                .iter()
                .try_fold(batch.checked_mul(channels)?, |n, size| n.checked_mul(*size))
        };
        product(&input)?;
        product(&output)?;
        let empty = input.contains(&0) || output.contains(&0) || channels == 0;
        let finite = interpolation.step.iter().all(|step| step.is_finite());
        (!empty && finite).then_some(Self {
            batch,
            input,
            output,
            channels,
            interpolation,
            zero_point,
        })
    }

    /// Words: batch, input, output, channels, mode, steps, zero point.
    fn words(&self) -> Result<[u32; 15], Refusal> {
        let [d, h, w] = self.input;
        let [od, oh, ow] = self.output;
        let mut words = [0; 15];
        for (cell, size) in words
            .iter_mut()
            .zip([self.batch, d, h, w, od, oh, ow, self.channels])
        {
            *cell = word(size)?;
        }
        words[8] = self.interpolation.mode as u32;
        for (cell, step) in words[9..].iter_mut().zip(self.interpolation.step) {
            *cell = step.to_bits();
        }
        words[12] = self.zero_point.into();
        Ok(words)
    }

    fn read(tag: Tag, blob: &[u8]) -> Result<Self, BlobError> {
        exact("the blob", blob.len(), HEADER)?;
        let words = tag.read(blob)?;
        let damaged = BlobError::Header(tag.kernel);
        let [batch, d, h, w, od, oh, ow, channels] = core::array::from_fn(|at| words[at] as usize);
        let interpolation = Interpolation {
            mode: qconfig_core::kernel::InterpolationMode::from_word(words[8]).ok_or(damaged)?,
            step: [words[9], words[10], words[11]].map(f32::from_bits),
        };
        let zero_point = u8::try_from(words[12]).map_err(|_| damaged)?;
        Self::new(
            batch,
            [[d, h, w], [od, oh, ow]],
            channels,
            interpolation,
            zero_point,
        )
        .ok_or(damaged)
    }

    /// One unit an output pixel.
    fn split(&self, inputs: &[usize]) -> Result<Split, BlobError> {
        let [input] = units::lengths(inputs)?;
        let pixels = |[d, h, w]: [usize; 3]| self.batch * d * h * w;
        exact("the input", input, pixels(self.input) * self.channels)?;
        Ok(Split {
            units: pixels(self.output),
            unit_bytes: self.channels,
            output_bytes: pixels(self.output) * self.channels,
            grain: (1usize << 14).div_ceil(self.channels),
        })
    }

    /// The pixels around an output position as offsets of their first channels, with their weights; as
    /// many as have one.
    fn taps(&self, unit: usize) -> ([(usize, f32); TAPS], usize) {
        let [_, oh, ow] = self.output;
        let (x, line) = (unit % ow, unit / ow);
        let (y, plane) = (line % oh, line / oh);
        let (z, image) = (plane % self.output[0], plane / self.output[0]);
        let along = |axis: usize, at: usize| {
            self.interpolation
                .taps(axis, at, self.input[axis])
                .into_iter()
                .filter(|(_, weight)| *weight != 0.0)
        };
        let (mut taps, mut count) = ([(0, 0.0); TAPS], 0);
        for (z, wz) in along(0, z) {
            for (y, wy) in along(1, y) {
                for (x, wx) in along(2, x) {
                    let line = (image * self.input[0] + z) * self.input[1] + y;
                    let pixel = (line * self.input[2] + x) * self.channels;
                    if let Some(tap) = taps.get_mut(count) {
                        *tap = (pixel, wz * wy * wx);
                        count += 1;
                    }
                }
            }
        }
        (taps, count)
    }
}

fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    Geometry::of(spec)?.words()?;
    Ok(Sizes {
        blob: HEADER,
        scratch: 0,
    })
}

fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let words = Geometry::of(spec)?.words()?;
    units::blob_length(blob, HEADER)?;
    TAG.write(blob, &words);
    Ok(())
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    Geometry::read(TAG, blob)?.split(inputs)
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    let geometry = Geometry::read(TAG, call.blob)?;
    let input = units::input(call.inputs, 0)?;
    let split = geometry.split(&[input.len()])?;
    units::part(&split, &call.units, call.output.len())?;
    match call.isa.level() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an `Isa` of such a level proves that the CPU has AVX2.
        level if level.has_avx2() => unsafe {
            avx2::pixels(&geometry, input, call.units, call.output);
        },
        _ => reference::pixels(&geometry, input, call.units, call.output),
    }
    Ok(())
}

fn variant(_: &[u8], isa: Isa) -> &'static str {
    match isa.level() {
        level if level.has_avx2() => "x8__avx2",
        _ => "x1__scalar",
    }
}
