//! The blob of an integer product.
//!
//! The header's words are the geometry (eleven), then the bytes `input zero point, output zero point,
//! low, high`, flags (bit 0: weight zero points; bit 1: 7-bit inputs; bit 2: sums small enough for tiles,
//! see [`Packed::winograd`]; bit 3: pairs of weights small enough for 16-bit sums, see [`Packed::is_narrow`]),
//! and the bits of an `f32` lower and upper bound. Sections, for each group: packed weights; then, for all groups and each column
//! with the columns of a group padded to 16: first terms (`i32`), scales (`f32`), for dynamic
//! products and with FBGEMM's numerics biases (`f32`), and with bit 0 weight zero points (`i32`). All
//! little-endian.

use core::ops::Range;

use qconfig_core::kernel::{BlobError, NodeSpec, Refusal};

use super::geometry::{Geometry, WORDS};
use super::panels::Panels;
use super::weight::{Reach, Weight, scale_refusal};
use super::{Cut, Finish, Winograd};
use crate::affine::{self, Numerics, Stored, round_ties_even};
use crate::blob::{self, HEADER, Tag};

const ASYMMETRIC: u32 = 1;
const REDUCED: u32 = 2;
const WINOGRAD: u32 = 4;
const NARROW: u32 = 8;
/// Outputs that each input row should be worth to a call that looks at all rows: looking then takes a
/// small part of its time.
const LOOK: usize = 256;
/// `64 * sum` must fit an `i32`, so that a product made from Winograd tiles can be read off exactly.
const WINOGRAD_REACH: i64 = 1 << 25;

/// Whether `vpmaddubsw` cannot saturate on pairs of a channel's weights: neither the positive nor the negative
/// ones of a pair reach beyond 128, and `255 * 128 < 2^15`.
fn pairs_fit(weights: &[i8]) -> bool {
    weights.chunks(2).all(|pair| {
        let sum = |sign: i16| -> i16 { pair.iter().map(|w| (sign * i16::from(*w)).max(0)).sum() };
        sum(1) <= 128 && sum(-1) <= 128
    })
}

/// Which kernel a blob belongs to, and what it ends with.
#[derive(Clone, Copy)]
pub(crate) struct Family {
    /// Its tag.
    pub(crate) tag: Tag,
    /// Whether inputs are quantized on the fly and outputs are `f32`.
    pub(crate) is_dynamic: bool,
    /// How scales and biases are rounded.
    pub(crate) numerics: Numerics,
}

impl Family {
    /// Whether its columns have biases in `f32`.
    fn has_biases(self) -> bool {
        self.is_dynamic || self.numerics == Numerics::Fbgemm
    }
}

/// What a node says beside shapes and weights.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Params {
    /// Quantized in, quantized out.
    Static {
        /// Of the input.
        input: Stored,
        /// Of the output.
        output: Stored,
        /// What the activation leaves.
        bounds: (u8, u8),
        /// [`NodeSpec::divide`].
        divide: bool,
    },
    /// `f32` in, `f32` out.
    Dynamic {
        /// Whether inputs take 7 bits only.
        reduce_range: bool,
        /// What the activation leaves.
        bounds: (f32, f32),
    },
}

impl Params {
    /// The quantization of a static node with one input.
    pub(crate) fn of(node: &NodeSpec<'_>) -> Result<Params, Refusal> {
        let [input] = node.inputs else {
            return Err(Refusal::Shape("the node has not one input"));
        };
        let output = affine::stored("output", &node.output)?;
        Ok(Params::Static {
            input: affine::stored("input", input)?,
            output,
            bounds: affine::bounds(node.activation, output),
            divide: node.divide,
        })
    }
}

/// Where the sections lie.
struct Layout {
    panels: Panels,
    group: usize,
    weights: Range<usize>,
    init: Range<usize>,
    scale: Range<usize>,
    bias: Range<usize>,
    zero_points: Range<usize>,
}

impl Layout {
    fn new(geometry: &Geometry, biases: bool, asymmetric: bool) -> Option<Layout> {
        let panels = Panels {
            columns: geometry.group_outputs(),
            k: geometry.k,
        };
        let group = panels.bytes()?;
        let columns = panels
            .padded()
            .checked_mul(geometry.groups)?
            .checked_mul(4)?;
        let mut end = HEADER;
        let mut section = |len: usize| {
            let start = end;
            end = start.checked_add(len)?;
            Some(start..end)
        };
        Some(Layout {
            panels,
            group,
            weights: section(group.checked_mul(geometry.groups)?)?,
            init: section(columns)?,
            scale: section(columns)?,
            bias: section(if biases { columns } else { 0 })?,
            zero_points: section(if asymmetric { columns } else { 0 })?,
        })
    }

    fn bytes(&self) -> usize {
        self.zero_points.end
    }
}

/// A blob whose sections have the lengths that its header asks for.
#[derive(Debug)]
pub(crate) struct Packed<'a> {
    /// The shapes.
    pub(crate) geometry: Geometry,
    /// The shape of one group's weights.
    pub(crate) panels: Panels,
    /// The input's zero point, where it is static.
    pub(crate) input_zero_point: u8,
    /// Whether inputs take 7 bits only, where they are quantized on the fly.
    pub(crate) reduce_range: bool,
    /// The last step; its scale and zero point are yet to be chosen where the product is dynamic.
    pub(crate) finish: Finish,
    /// Whether no sum reaches [`WINOGRAD_REACH`].
    is_winograd: bool,
    /// No pair of weights can saturate `vpmaddubsw`.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "only AVX2 multiplies bytes so")
    )]
    pub(super) is_narrow: bool,
    group: usize,
    weights: &'a [u8],
    init: &'a [u8],
    scale: &'a [u8],
    bias: &'a [u8],
    zero_points: &'a [u8],
}

/// Some columns of a matrix that comes with a call, packed as weights are: sections of [`Strip::bytes`].
#[derive(Debug)]
pub(crate) struct Strip<'a> {
    /// Packed by the [`Panels`] of the strip.
    pub(crate) weights: &'a mut [u8],
    /// First terms, `i32`, of each column of the padded panels.
    pub(crate) init: &'a mut [u8],
    /// Scales, `f32`, likewise.
    pub(crate) scale: &'a mut [u8],
    /// Zero points, `i32`, likewise; empty where all are 0.
    pub(crate) zero_points: &'a mut [u8],
}

impl<'a> Strip<'a> {
    /// Bytes of the sections; `None` where that overflows.
    pub(crate) fn bytes(panels: &Panels) -> Option<usize> {
        panels
            .bytes()?
            .checked_add(panels.padded().checked_mul(12)?)
    }

    /// Cuts sections out of at least [`Strip::bytes`].
    pub(crate) fn new(
        panels: &Panels,
        asymmetric: bool,
        memory: &'a mut [u8],
    ) -> Result<Strip<'a>, BlobError> {
        let needed = Self::bytes(panels).unwrap_or(usize::MAX);
        blob::at_least("scratch", memory.len(), needed)?;
        let columns = panels.padded() * 4;
        let (weights, rest) = memory.split_at_mut(needed - 3 * columns);
        let (init, rest) = rest.split_at_mut(columns);
        let (scale, rest) = rest.split_at_mut(columns);
        let zero_points = if asymmetric {
            &mut rest[..columns]
        } else {
            &mut []
        };
        Ok(Strip {
            weights,
            init,
            scale,
            zero_points,
        })
    }

    /// The product of rows of `geometry` with these columns.
    pub(crate) fn packed(&self, geometry: Geometry, panels: Panels, finish: Finish) -> Packed<'_> {
        Packed {
            geometry,
            panels,
            input_zero_point: 0,
            reduce_range: false,
            finish,
            is_winograd: false,
            is_narrow: false,
            group: self.weights.len(),
            weights: self.weights,
            init: self.init,
            scale: self.scale,
            bias: &[],
            zero_points: self.zero_points,
        }
    }
}

/// What each column of one group has, all columns of the padded panels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns<'a> {
    /// First terms, `i32`.
    pub(crate) init: &'a [u8],
    /// Scales, `f32`.
    pub(crate) scale: &'a [u8],
    /// Biases, `f32`; empty where there are none.
    pub(crate) bias: &'a [u8],
    /// Zero points, `i32`; empty where all are 0.
    pub(crate) zero_points: &'a [u8],
}

impl Columns<'_> {
    fn cell(section: &[u8], column: usize) -> [u8; 4] {
        section
            .get(column * 4..)
            .and_then(|cells| cells.first_chunk())
            .copied()
            .unwrap_or_default()
    }

    /// A column's first term.
    pub(crate) fn init(&self, column: usize) -> i32 {
        i32::from_le_bytes(Self::cell(self.init, column))
    }

    /// A column's scale.
    pub(crate) fn scale(&self, column: usize) -> f32 {
        f32::from_le_bytes(Self::cell(self.scale, column))
    }

    /// A column's bias.
    pub(crate) fn bias(&self, column: usize) -> f32 {
        f32::from_le_bytes(Self::cell(self.bias, column))
    }

    /// A column's zero point.
    pub(crate) fn zero_point(&self, column: usize) -> i32 {
        i32::from_le_bytes(Self::cell(self.zero_points, column))
    }
}

impl<'a> Packed<'a> {
    /// Reads a blob from anywhere.
    pub(crate) fn read(family: Family, blob: &'a [u8]) -> Result<Packed<'a>, BlobError> {
        let damaged = BlobError::Header(family.tag.kernel);
        let words = family.tag.read(blob)?;
        let (shape, rest) = words.split_first_chunk::<WORDS>().ok_or(damaged)?;
        let &[quant, flags, low, high] = rest else {
            return Err(damaged);
        };
        if flags & !(ASYMMETRIC | REDUCED | WINOGRAD | NARROW) != 0 {
            return Err(damaged);
        }
        let geometry = Geometry::from_words(shape).ok_or(damaged)?;
        let layout =
            Layout::new(&geometry, family.has_biases(), flags & ASYMMETRIC != 0).ok_or(damaged)?;
        blob::exact("blob", blob.len(), layout.bytes())?;
        let [input_zero_point, zero_point, lowest, highest] = quant.to_le_bytes();
        let finish = if family.is_dynamic {
            let (low, high) = (f32::from_bits(low), f32::from_bits(high));
            Finish::Dequantize {
                scale: 0.0,
                zero_point: 0,
                low,
                high,
                is_fused: family.numerics == Numerics::Fbgemm,
            }
        } else if lowest <= highest {
            Finish::Requantize {
                zero_point,
                low: lowest,
                high: highest,
            }
        } else {
            return Err(damaged);
        };
        Ok(Packed {
            geometry,
            panels: layout.panels,
            input_zero_point,
            reduce_range: flags & REDUCED != 0,
            finish,
            is_winograd: flags & WINOGRAD != 0,
            is_narrow: flags & (NARROW | ASYMMETRIC) == NARROW,
            group: layout.group,
            weights: &blob[layout.weights],
            init: &blob[layout.init],
            scale: &blob[layout.scale],
            bias: &blob[layout.bias],
            zero_points: &blob[layout.zero_points],
        })
    }

    /// Bytes of the blob.
    pub(crate) fn bytes(
        family: Family,
        geometry: &Geometry,
        weight: &Weight<'_>,
    ) -> Result<usize, Refusal> {
        let too_large = Refusal::Shape("the node is too large");
        if geometry.to_words().is_none() {
            return Err(too_large);
        }
        let layout = Layout::new(geometry, family.has_biases(), weight.is_asymmetric());
        layout.map(|layout| layout.bytes()).ok_or(too_large)
    }

    /// Writes the blob.
    pub(crate) fn write(
        family: Family,
        geometry: &Geometry,
        weight: &Weight<'_>,
        params: &Params,
        blob: &mut [u8],
    ) -> Result<(), Refusal> {
        let too_large = Refusal::Shape("the node is too large");
        let asymmetric = weight.is_asymmetric();
        let Some(layout) = Layout::new(geometry, family.has_biases(), asymmetric) else {
            return Err(too_large);
        };
        if blob.len() != layout.bytes() {
            return Err(Refusal::Shape(
                "the blob has not the size that was asked for",
            ));
        }
        let Some(shape) = geometry.to_words() else {
            return Err(too_large);
        };
        let mut words = [0; 15];
        words[..WORDS].copy_from_slice(&shape);
        match *params {
            Params::Static {
                input,
                output,
                bounds: (low, high),
                ..
            } => {
                let bytes = [input.zero_point as u8, output.zero_point as u8, low, high];
                words[WORDS] = u32::from_le_bytes(bytes);
            }
            Params::Dynamic {
                reduce_range,
                bounds: (low, high),
            } => {
                words[WORDS + 1] = if reduce_range { REDUCED } else { 0 };
                words[WORDS + 2] = low.to_bits();
                words[WORDS + 3] = high.to_bits();
            }
        }
        words[WORDS + 1] |= if asymmetric { ASYMMETRIC } else { 0 };
        // until a channel's sums are too large
        let mut is_winograd =
            Winograd::new(geometry).is_some() && !asymmetric && !family.is_dynamic;

        let mut is_narrow = !asymmetric;

        let Layout { panels, group, .. } = layout;
        blob[layout.init.start..].fill(0);
        for index in 0..geometry.groups {
            let first = index * panels.columns;
            let packed = &mut blob[layout.weights.clone()][index * group..][..group];
            panels.pack(weight.channels(first, panels.columns, panels.k), packed);
            for column in 0..panels.columns {
                let channel = first + column;
                let at = (index * panels.padded() + column) * 4;
                let mut put = |section: &Range<usize>, value: [u8; 4]| {
                    if let Some(cell) = blob[section.clone()].get_mut(at..at + 4) {
                        cell.copy_from_slice(&value);
                    }
                };
                let reach = weight.reach(channel, panels.k);
                is_narrow &= pairs_fit(weight.channels(channel, 1, panels.k));
                is_winograd &= 255 * reach.positive.max(-reach.negative) < WINOGRAD_REACH;
                let column = Column::new(family.numerics, weight, channel, reach, params)?;
                put(&layout.init, column.init.to_le_bytes());
                put(&layout.scale, column.scale.to_le_bytes());
                put(&layout.bias, column.bias.to_le_bytes());
                put(
                    &layout.zero_points,
                    weight.zero_point(channel).to_le_bytes(),
                );
            }
        }
        words[WORDS + 1] |= if is_winograd { WINOGRAD } else { 0 };
        words[WORDS + 1] |= if is_narrow { NARROW } else { 0 };
        family.tag.write(blob, &words);
        Ok(())
    }

    /// One group's packed weights.
    pub(crate) fn group(&self, group: usize) -> &'a [u8] {
        &self.weights[group * self.group..][..self.group]
    }

    /// One group's columns.
    pub(crate) fn columns(&self, group: usize) -> Columns<'a> {
        let bytes = self.panels.padded() * 4;
        let of = |section: &'a [u8]| section.get(group * bytes..).unwrap_or_default();
        Columns {
            init: of(self.init),
            scale: of(self.scale),
            bias: of(self.bias),
            zero_points: of(self.zero_points),
        }
    }

    /// Whether the input is quantized on the fly.
    fn is_dynamic(&self) -> bool {
        matches!(self.finish, Finish::Dequantize { .. })
    }

    /// How the product is made from tiles of a 3 x 3 convolution, where that is exact.
    pub(super) fn winograd(&self) -> Option<Winograd> {
        let small = self.is_winograd && !self.is_dynamic() && self.zero_points.is_empty();
        Winograd::new(&self.geometry).filter(|_| small)
    }

    /// How the output is cut.
    pub(crate) fn cut(&self) -> Cut {
        let Geometry {
            rows,
            out_channels,
            groups,
            k,
            ..
        } = self.geometry;
        if self.winograd().is_some() {
            let unit = self.geometry.tile_lines() * self.geometry.out_width();
            return Cut::of_rows(rows, unit, out_channels, k, self.finish.element());
        }
        let cut = Cut::new(rows, out_channels, k, self.finish.element(), groups == 1);
        // every call of a dynamic product looks at the whole input first
        if self.is_dynamic() {
            cut.at_least(rows.saturating_mul(LOOK))
        } else {
            cut
        }
    }
}

/// What is folded for one output channel.
struct Column {
    init: i32,
    scale: f32,
    /// Where the family has a section of them.
    bias: f32,
}

impl Column {
    /// Static: `scale = (sw * sa) * (1 / so)`, or divided by `so`, and `init = bias_q - za * sum(w - zw)`, with
    /// `bias_q = rne(bias * (1 / f32(f64(sw) * f64(sa))))`, as torch's QNNPACK. A bias so large that
    /// the sum could leave `i32` is brought back to the nearest one that cannot. As FBGEMM: divided always,
    /// and the bias is [`Weight::float_bias`].
    ///
    /// Dynamic: `scale = sw` and `init = -sum(w - zw)`, to be multiplied with the zero point.
    fn new(
        numerics: Numerics,
        weight: &Weight<'_>,
        channel: usize,
        reach: Reach,
        params: &Params,
    ) -> Result<Column, Refusal> {
        let sum = reach.positive + reach.negative;
        let sw = weight.scale(channel);
        let Params::Static {
            input,
            output,
            divide,
            ..
        } = *params
        else {
            return Ok(Column {
                init: (-sum) as i32,
                scale: sw,
                bias: weight.bias(channel),
            });
        };
        let divide = divide || numerics == Numerics::Fbgemm;
        let scale = affine::factor(sw * input.scale, output.scale, divide);
        if !(scale.is_normal() && scale > 0.0) {
            return Err(scale_refusal("requantization scale", scale));
        }
        let below = i64::from(input.zero_point);
        let centre = -below * sum;
        Ok(match numerics {
            Numerics::Qnnpack => {
                let product = (f64::from(sw) * f64::from(input.scale)) as f32;
                let bias = round_ties_even(weight.bias(channel) * (1.0 / product)) as i32;
                let above = 255 - below;
                let most = reach.positive * above - reach.negative * below;
                let least = reach.negative * above - reach.positive * below;
                let bias =
                    i64::from(bias).clamp(i64::from(i32::MIN) - least, i64::from(i32::MAX) - most);
                Column {
                    init: (bias + centre) as i32,
                    scale,
                    bias: 0.0,
                }
            }
            Numerics::Fbgemm => Column {
                init: centre as i32,
                scale,
                bias: weight.float_bias(channel, input.scale)?,
            },
        })
    }
}
