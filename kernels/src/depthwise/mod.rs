//! Depthwise convolution: each output channel sees one input channel.
//!
//! Numerics as [`Q8Conv`](crate::Q8Conv): an exact `i32` sum of
//! `(a - za) * (w - zw)`, then `clamp(rne(f32(acc) * scale) + zo, low, high)`. Padding reads as `za`. With
//! FBGEMM's numerics, which [`fbgemm::Q8Conv`](crate::fbgemm::Q8Conv) has, `f32(acc) + bias` is multiplied.
//!
//! The weights are packed as pairs of `i16` differences `w - zw` of two taps that lie below each other:
//! `[kw][ceil(kh / 2)][O][2]`, 0 behind the last row. That is what `vpmaddwd` takes, holds weights
//! with any zero point, and is cheaply spread for `vpdpbusd` once in a row of outputs.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512bw;
#[cfg(target_arch = "x86_64")]
mod avx512vnni;
#[cfg(target_arch = "aarch64")]
mod neon;
mod reference;

#[cfg(target_arch = "x86_64")]
use qconfig_core::IsaLevel;
use qconfig_core::kernel::{
    BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Signature, Sizes, Split,
};
use qconfig_core::{DType, Isa};

use crate::affine::{Numerics, factor, round_ties_even, stored};
use crate::blob::{HEADER, Tag, align, exact};
use crate::gemm::{Geometry as Product, Weight};
use crate::output::Output;
use crate::spatial::{Geometry, Pixel, WORDS};
use crate::units::{self, word};

/// Convolution with a group for each input channel, any number of outputs for each (the fast forms take
/// one): `quint8` or `qint8` in and out, `qint8` weight, `float32` bias; one or two dimensions, any
/// window.
#[derive(Clone, Copy, Debug)]
pub struct Q8Depthwise;

impl KernelFamily for Q8Depthwise {
    const KERNEL: &'static Kernel = &Kernel {
        name: QNNPACK.tag.kernel,
        signature: Signature {
            input: &[DType::quint8, DType::qint8],
            output: &[DType::quint8, DType::qint8],
            weight: &[DType::qint8],
            bias: &[DType::float32],
            is_dynamic: false,
            weight_range: None,
            scale_min: None,
        },
        sizes: |spec| QNNPACK.sizes(spec),
        pack: |spec, blob| QNNPACK.pack(spec, blob),
        split: |blob, inputs| QNNPACK.split(blob, inputs),
        run: |call| QNNPACK.run(call),
        variant: |blob, isa| QNNPACK.variant(blob, isa),
    };
}

/// Whose blobs.
#[derive(Clone, Copy)]
pub(crate) struct Family {
    /// Their tag.
    pub(crate) tag: Tag,
    numerics: Numerics,
}

/// Of [`Q8Depthwise`].
pub(crate) const QNNPACK: Family = Family {
    tag: Tag {
        word: *b"dwc1",
        kernel: "q8_depthwise",
    },
    numerics: Numerics::Qnnpack,
};

/// With FBGEMM's numerics: the same sections, and one of biases.
pub(crate) const FBGEMM: Family = Family {
    tag: Tag {
        word: *b"dwf1",
        kernel: "fbgemm_q8_conv",
    },
    numerics: Numerics::Fbgemm,
};

/// Flag: all weights are in the range of `i8`.
const NARROW: u32 = 1;
/// Flag: no sum can reach 2^24.
const SINGLE: u32 = 2;

/// A row of neighbouring outputs to compute, and what all of them share.
#[derive(Clone, Copy)]
struct Row<'a> {
    layer: &'a Layer<'a>,
    input: &'a [u8],
    /// The first output.
    first: Pixel,
}

/// A blob, read.
#[derive(Clone, Copy)]
struct Layer<'a> {
    geometry: Geometry,
    out_channels: usize,
    /// Stored zero point of the input, which padding reads as.
    zero_point: u8,
    output: Output,
    /// All weights are in the range of `i8`.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "NEON multiplies 16 bits")
    )]
    narrow: bool,
    /// No sum can reach 2^24: it is exact in `f32`, whatever the order.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "NEON sums integers")
    )]
    is_single: bool,
    /// See the module.
    pairs: &'a [[u8; 4]],
    /// `bias - za * sum(w - zw)`, an `i32` for each output channel.
    init: &'a [[u8; 4]],
    /// An `f32` for each output channel.
    scale: &'a [[u8; 4]],
    /// Likewise, added to the sum; empty where there are none.
    bias: &'a [[u8; 4]],
}

impl Layer<'_> {
    /// Pairs of one output channel.
    fn pair_rows(&self) -> usize {
        self.geometry.window.kernel[0].div_ceil(2)
    }

    /// The cell of a tap: its byte offset for channel 0, or `None` in the padding.
    fn cell(&self, at: Pixel, [ky, kx]: [usize; 2]) -> Option<usize> {
        let Geometry {
            input: [height, width],
            channels,
            window,
            ..
        } = self.geometry;
        let position = |axis: usize, at: usize, tap: usize, size: usize| {
            let position = self.geometry.origin(axis, at) + (tap * window.dilation[axis]) as i64;
            usize::try_from(position)
                .ok()
                .filter(|position| *position < size)
        };
        let (y, x) = (
            position(0, at.y, ky, height)?,
            position(1, at.x, kx, width)?,
        );
        Some(((at.image * height + y) * width + x) * channels)
    }
}

/// `W` channels from `c` on of the `K` input rows that a window covers: the address in the first column
/// and the step to the next. `W` bytes are readable at each column of the input's width. A row in the
/// padding is the same padding everywhere.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
fn window_rows<const K: usize, const W: usize>(
    Row {
        layer,
        input,
        first,
    }: Row<'_>,
    c: usize,
    padding: &[u8; W],
) -> [(*const u8, usize); K] {
    let Geometry {
        input: [height, width],
        channels,
        window,
        ..
    } = layer.geometry;
    let mut rows = [(padding.as_ptr(), 0); K];
    for (ky, row) in rows.iter_mut().enumerate() {
        let y = layer.geometry.origin(0, first.y) + (ky * window.dilation[0]) as i64;
        if (0..height as i64).contains(&y) && c + W <= channels {
            let start = (first.image * height + y as usize) * width * channels;
            // whole columns of `channels` bytes, `W` of them from `c` on
            if let Some(bytes) = input.get(start..start + width * channels) {
                *row = (bytes.as_ptr().wrapping_add(c), channels);
            }
        }
    }
    rows
}

/// Geometry, output channels and weight.
fn plan<'a>(spec: &NodeSpec<'a>) -> Result<(Geometry, usize, Weight<'a>), Refusal> {
    let NodeOp::Conv { window, groups } = spec.op else {
        return Err(Refusal::Operator(
            "this kernel computes depthwise convolutions only",
        ));
    };
    let [input] = units::arity(spec)?;
    let (geometry, out_channels) = Geometry::new(window, input, &spec.output)?;
    let Geometry {
        batch,
        input: [height, width],
        channels,
        output: [oh, ow],
        ..
    } = geometry;
    if groups != channels {
        return Err(Refusal::Operator(
            "a depthwise convolution has a group for each input channel",
        ));
    }
    let unfit = Refusal::Shape("the shapes of input, window and output do not fit each other");
    let Some(product) = Product::new(
        [batch, height, width, channels],
        out_channels,
        groups,
        window,
    ) else {
        return Err(unfit);
    };
    let [kh, kw] = window.kernel;
    let shape = spec.weight.map(|weight| weight.shape);
    let fits = match shape {
        Some([o, h, w, 1]) => [*o, *h, *w] == [out_channels, kh, kw],
        Some([o, w, 1]) => [*o, 1, *w] == [out_channels, kh, kw],
        _ => false,
    };
    if !fits || product.output_shape() != [batch, oh, ow, out_channels] {
        return Err(unfit);
    }
    Ok((geometry, out_channels, Weight::new(spec, &product)?))
}

/// What is folded for an output channel.
struct Column {
    init: i32,
    /// No sum, in whatever order, is further from 0.
    most: i64,
    scale: f32,
    bias: f32,
}

impl Family {
    /// Bytes of the pairs and of one of the other sections, and of the whole.
    fn layout(self, [kh, kw]: [usize; 2], out_channels: usize) -> Option<[usize; 3]> {
        let pairs = kh
            .div_ceil(2)
            .checked_mul(kw)?
            .checked_mul(out_channels)?
            .checked_mul(4)?;
        let channel = out_channels.checked_mul(4)?.checked_next_multiple_of(64)?;
        let aligned = pairs.checked_next_multiple_of(64)?;
        let sections = match self.numerics {
            Numerics::Qnnpack => 2,
            Numerics::Fbgemm => 3,
        };
        let blob = channel
            .checked_mul(sections)?
            .checked_add(aligned)?
            .checked_add(HEADER)?;
        Some([pairs, channel, blob])
    }

    /// As [`Kernel::sizes`].
    pub(crate) fn sizes(self, spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
        let (geometry, out_channels, weight) = plan(spec)?;
        for channel in 0..out_channels {
            self.column(spec, &geometry, &weight, channel)?;
        }
        match self.layout(geometry.window.kernel, out_channels) {
            Some([_, _, blob]) => Ok(Sizes { blob, scratch: 0 }),
            None => Err(Refusal::Shape("too many weights")),
        }
    }

    /// An output channel's column. As torch's QNNPACK: a bias so large that the sum could leave 32 bits is cut
    /// where it cannot.
    fn column(
        self,
        spec: &NodeSpec<'_>,
        geometry: &Geometry,
        weight: &Weight<'_>,
        channel: usize,
    ) -> Result<Column, Refusal> {
        let [input] = units::arity(spec)?;
        let (from, to) = (stored("input", input)?, stored("output", &spec.output)?);
        let sw = weight.scale(channel);
        let divide = spec.divide || self.numerics == Numerics::Fbgemm;
        let scale = factor(sw * from.scale, to.scale, divide);
        let product = (f64::from(sw) * f64::from(from.scale)) as f32;
        for (what, value) in [
            ("requantization scale", scale),
            ("weight scale * input scale", product),
        ] {
            if !(value.is_normal() && value > 0.0) {
                return Err(Refusal::Scale {
                    what,
                    value,
                    low: f32::MIN_POSITIVE,
                    high: f32::INFINITY,
                });
            }
        }
        let [kh, kw] = geometry.window.kernel;
        let reach = weight.reach(channel, kh * kw);
        let (below, above) = (i64::from(from.zero_point), 255 - i64::from(from.zero_point));
        let centre = -below * (reach.positive + reach.negative);
        let products = 255 * (reach.positive - reach.negative);
        if self.numerics == Numerics::Fbgemm {
            return Ok(Column {
                init: centre as i32,
                most: products + centre.abs(),
                scale,
                bias: weight.float_bias(channel, from.scale)?,
            });
        }
        let bias = i64::from(round_ties_even(weight.bias(channel) * (1.0 / product)) as i32);
        let most = reach.positive * above - reach.negative * below;
        let least = reach.negative * above - reach.positive * below;
        let bias = bias.clamp(i64::from(i32::MIN) - least, i64::from(i32::MAX) - most);
        Ok(Column {
            init: (bias + centre) as i32,
            most: products + (bias + centre).abs(),
            scale,
            bias: 0.0,
        })
    }

    /// As [`Kernel::pack`]. Words: geometry, bytes (input zero point, output zero
    /// point, bounds), output channels, flags.
    pub(crate) fn pack(self, spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
        let (geometry, out_channels, weight) = plan(spec)?;
        units::blob_length(blob, self.sizes(spec)?.blob)?;
        blob.fill(0);
        let [input] = units::arity(spec)?;
        let from = stored("input", input)?;
        let Output {
            zero_point,
            low,
            high,
        } = Output::new(spec.activation, stored("output", &spec.output)?);
        let [kh, kw] = geometry.window.kernel;
        let (mut narrow, mut is_single) = (true, true);
        let (pairs_len, channel_len) = match self.layout([kh, kw], out_channels) {
            Some([pairs, channel, _]) => (pairs, channel),
            None => return Err(Refusal::Shape("too many weights")),
        };
        let (header, sections) = blob.split_at_mut(HEADER);
        let (pairs, channels) = sections.split_at_mut(align(pairs_len));
        let (init, rest) = channels.split_at_mut(channel_len);
        let (scale, biases) = rest.split_at_mut(channel_len);
        let halves = pairs.as_chunks_mut::<2>().0;
        let cells = init
            .as_chunks_mut()
            .0
            .iter_mut()
            .zip(scale.as_chunks_mut().0);
        let mut biases = biases.as_chunks_mut().0.iter_mut();
        for (channel, (init, scale)) in (0..out_channels).zip(cells) {
            let column = self.column(spec, &geometry, &weight, channel)?;
            is_single &= column.most < 1 << f32::MANTISSA_DIGITS;
            (*init, *scale) = (column.init.to_le_bytes(), column.scale.to_le_bytes());
            if let Some(bias) = biases.next() {
                *bias = column.bias.to_le_bytes();
            }
            for (tap, w) in weight.channels(channel, 1, kh * kw).iter().enumerate() {
                let (ky, kx) = (tap / kw, tap % kw);
                let difference = i32::from(*w) - weight.zero_point(channel);
                narrow &= i8::try_from(difference).is_ok();
                let pair = (kx * kh.div_ceil(2) + ky / 2) * out_channels + channel;
                if let Some(half) = halves.get_mut(2 * pair + ky % 2) {
                    *half = (difference as i16).to_le_bytes();
                }
            }
        }
        let mut words = [0; 15];
        words[..WORDS].copy_from_slice(&geometry.words()?);
        let bytes = u32::from_le_bytes([from.zero_point as u8, zero_point, low, high]);
        let flags = if narrow { NARROW } else { 0 } | if is_single { SINGLE } else { 0 };
        words[WORDS..WORDS + 3].copy_from_slice(&[bytes, word(out_channels)?, flags]);
        self.tag.write(header, &words);
        Ok(())
    }

    fn read(self, blob: &[u8]) -> Result<Layer<'_>, BlobError> {
        let damaged = BlobError::Header(self.tag.kernel);
        let words = self.tag.read(blob)?;
        let geometry = words
            .first_chunk()
            .and_then(Geometry::read)
            .ok_or(damaged)?;
        let [zero_point, out_zero_point, low, high] = words[WORDS].to_le_bytes();
        let out_channels = words[WORDS + 1] as usize;
        if geometry.channels == 0
            || !out_channels.is_multiple_of(geometry.channels)
            || geometry.pixels().checked_mul(out_channels).is_none()
        {
            return Err(damaged);
        }
        let [pairs_len, channel_len, len] = self
            .layout(geometry.window.kernel, out_channels)
            .ok_or(damaged)?;
        exact("the blob", blob.len(), len)?;
        let section = |start: usize, len: usize| {
            let bytes = blob
                .get(start..)
                .and_then(|bytes| bytes.get(..len))
                .ok_or(damaged)?;
            Ok(bytes.as_chunks().0)
        };
        let channels = HEADER + align(pairs_len);
        let biases = match self.numerics {
            Numerics::Qnnpack => 0,
            Numerics::Fbgemm => out_channels * 4,
        };
        Ok(Layer {
            geometry,
            out_channels,
            zero_point,
            output: Output {
                zero_point: out_zero_point,
                low,
                high,
            },
            narrow: words[WORDS + 2] & NARROW != 0,
            is_single: words[WORDS + 2] & SINGLE != 0,
            pairs: section(HEADER, pairs_len)?,
            init: section(channels, out_channels * 4)?,
            scale: section(channels + channel_len, out_channels * 4)?,
            bias: section(channels + 2 * channel_len, biases)?,
        })
    }
}

impl Layer<'_> {
    /// A unit is an output position; a thread should have some 64 Ki products.
    fn split(&self, inputs: &[usize]) -> Result<Split, BlobError> {
        let [input] = units::lengths(inputs)?;
        exact("the input", input, self.geometry.input_len())?;
        let [kh, kw] = self.geometry.window.kernel;
        let units = if self.out_channels == 0 {
            0
        } else {
            self.geometry.pixels()
        };
        Ok(Split {
            units,
            unit_bytes: self.out_channels,
            output_bytes: self.geometry.pixels() * self.out_channels,
            grain: (1usize << 16).div_ceil((kh * kw).saturating_mul(self.out_channels).max(1)),
        })
    }
}

/// Whether sums in `f32` are the fastest form that the level has for the layer.
#[cfg(target_arch = "x86_64")]
fn single(layer: &Layer<'_>, level: IsaLevel) -> bool {
    level.has_avx2()
        && avx2::single::takes(layer)
        && !(level.has_avx512bw() && avx512bw::takes(layer))
        && !(level == IsaLevel::Avx512Vnni && avx512vnni::takes(layer))
}

impl Family {
    /// As [`Kernel::split`].
    pub(crate) fn split(self, blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
        self.read(blob)?.split(inputs)
    }

    /// As [`Kernel::run`].
    pub(crate) fn run(self, call: Call<'_>) -> Result<(), BlobError> {
        let input = units::input(call.inputs, 0)?;
        let layer = self.read(call.blob)?;
        units::part(
            &layer.split(&[input.len()])?,
            &call.units,
            call.output.len(),
        )?;
        #[cfg(target_arch = "x86_64")]
        if single(&layer, call.isa.level()) {
            // SAFETY: an `Isa` of such a level proves that the CPU has AVX2 and FMA.
            unsafe { avx2::single::outputs(&layer, input, call.units, call.output) };
            return Ok(());
        }
        let width = layer.geometry.output[1];
        let (mut unit, mut output) = (call.units.start, call.output);
        while let Some(first) = layer.geometry.walk(unit..call.units.end).next() {
            let count = (width - first.x).min(call.units.end - unit);
            let (here, rest) = output.split_at_mut((count * layer.out_channels).min(output.len()));
            let row = Row {
                layer: &layer,
                input,
                first,
            };
            match call.isa.level() {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: an `Isa` of this level proves that the CPU has AVX2, AVX-512 F, BW and VNNI.
                IsaLevel::Avx512Vnni => unsafe { avx512vnni::row(row, here) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above, without VNNI.
                IsaLevel::Avx512Bw => unsafe { avx512bw::row(row, here) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: an `Isa` of such a level proves that the CPU has AVX2.
                level if level.has_avx2() => unsafe { avx2::row(row, here) },
                #[cfg(target_arch = "aarch64")]
                // SAFETY: an `Isa` of such a level proves that the CPU has NEON.
                level if level.has_neon() => unsafe { neon::row(row, here) },
                _ => reference::row(row, here),
            }
            output = rest;
            unit += count;
        }
        Ok(())
    }

    /// As [`Kernel::variant`].
    pub(crate) fn variant(self, blob: &[u8], isa: Isa) -> &'static str {
        match (isa.level(), self.read(blob)) {
            #[cfg(target_arch = "x86_64")]
            (level, Ok(layer)) if single(&layer, level) => avx2::single::VARIANT,
            #[cfg(target_arch = "x86_64")]
            (IsaLevel::Avx512Vnni, Ok(layer)) => avx512vnni::variant(&layer),
            #[cfg(target_arch = "x86_64")]
            (IsaLevel::Avx512Bw, Ok(layer)) => avx512bw::variant(&layer),
            #[cfg(target_arch = "x86_64")]
            (level, Ok(layer)) if level.has_avx2() => avx2::variant(&layer),
            #[cfg(target_arch = "aarch64")]
            (level, Ok(layer)) if level.has_neon() => neon::variant(&layer),
            _ => "dw_1c__scalar",
        }
    }
}
