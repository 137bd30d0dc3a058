//! Layers with a weight: linear, convolutions forward and transposed over one to three dimensions, as one
//! product for each group. Rows that do not lie in the input are gathered in the scratch memory.
//!
//! The blob: a header with the geometry, whose channels are counted in bytes, so that a volume of bytes
//! gathers the rows; a second one with outputs, groups and bounds; the weight, its columns packed for each
//! group, or `[taps][channels]` of a depthwise convolution; the bias.

use qconfig_core::DType::float32;
use qconfig_core::kernel::{
    BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Signature, Sizes, Split,
    TensorSpec, WeightData, Window, Window3,
};
use qconfig_core::{DType, Isa};

use super::depthwise::Depthwise;
use super::loops;
use super::product::{self, Product, SLICE, packed_len, padded};
use crate::blob::{self, ALIGN, HEADER, Tag, align};
use crate::gemm::{Cut, PANEL, Rows};
use crate::q8_linear_dynamic::{float_bounds, floats};
use crate::units::{self, word};
use crate::volume::{Direction, Geometry, Volume, ndhwc};

const FLOATS: &[DType] = &[float32];
const SIGNATURE: Signature = Signature {
    weight: FLOATS,
    bias: FLOATS,
    ..Signature::activations(FLOATS, FLOATS)
};

/// Linear layer, `float32` throughout: `clamp(sum_k x[.., k] w[o, k] + b[o])`, an activation behind. Each
/// output is one chain of fused multiply-adds in the order of `k`; the bias is added at the end.
#[derive(Clone, Copy, Debug)]
pub struct F32Linear;

/// Convolution over one to three dimensions, `float32` throughout, grouped and depthwise too, an activation
/// behind. Each output is one chain of fused multiply-adds over taps, then channels, padding being zeros; that
/// of a depthwise convolution has separately rounded products over the taps inside. The bias is added at the
/// end.
#[derive(Clone, Copy, Debug)]
pub struct F32Conv;

/// [`F32Conv`] transposed.
#[derive(Clone, Copy, Debug)]
pub struct F32ConvTranspose;

#[derive(Clone, Copy)]
struct Family {
    tag: Tag,
    direction: Direction,
}

const LINEAR: Family = Family {
    tag: Tag {
        word: *b"FLI1",
        kernel: "f32_linear",
    },
    direction: Direction::Forward,
};
const CONV: Family = Family {
    tag: Tag {
        word: *b"FCO1",
        kernel: "f32_conv",
    },
    direction: Direction::Forward,
};
const CONV_TRANSPOSE: Family = Family {
    tag: Tag {
        word: *b"FCT1",
        kernel: "f32_conv_transpose",
    },
    direction: Direction::Transposed,
};
/// The second header.
const SECOND: Tag = Tag {
    word: *b"fly1",
    kernel: "f32_layer",
};

macro_rules! family {
    ($family:ty, $constant:ident) => {
        impl KernelFamily for $family {
            const KERNEL: &'static Kernel = &Kernel {
                name: $constant.tag.kernel,
                signature: SIGNATURE,
                sizes: |node| $constant.sizes(node),
                pack: |node, blob| $constant.pack(node, blob),
                split: |blob, inputs| $constant.split(blob, inputs),
                run: |call| $constant.run(call),
                variant: |blob, isa| $constant.variant(blob, isa),
            };
        }
    };
}
family!(F32Linear, LINEAR);
family!(F32Conv, CONV);
family!(F32ConvTranspose, CONV_TRANSPOSE);

/// Bytes that a block of gathered rows may take: half of a small second-level cache.
const BUDGET: usize = 256 * 1024;
/// Most rows of a block: a multiple of the tallest tile.
const BLOCK: usize = 96;

/// The numbers of a layer, which its blob holds.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Shape {
    /// Channels in bytes.
    geometry: Geometry,
    outputs: usize,
    groups: usize,
    low: f32,
    high: f32,
    /// Output positions.
    rows: usize,
    taps: usize,
    /// Length of a group's chains.
    k: usize,
    /// Bytes of the weight.
    weight: usize,
}

impl Shape {
    /// `None` where the numbers do not fit each other or overflow.
    fn new(
        geometry: Geometry,
        [outputs, groups]: [usize; 2],
        [low, high]: [f32; 2],
    ) -> Option<Self> {
        if groups == 0 || outputs == 0 || !outputs.is_multiple_of(groups) {
            return None;
        }
        let run = geometry.channels.checked_div(groups)?;
        if !geometry.channels.is_multiple_of(groups) || run == 0 || !run.is_multiple_of(4) {
            return None;
        }
        let taps = geometry.taps()?;
        let rows = geometry.pixels()?;
        let k = taps.checked_mul(run / 4)?;
        // what is computed from these stays inside `isize`
        let most = [
            k,
            rows.checked_mul(outputs)?,
            k.checked_mul(padded(outputs))?,
        ];
        let countable = |n: usize| n.checked_mul(8).is_some_and(|n| isize::try_from(n).is_ok());
        if !most.into_iter().all(countable) {
            return None;
        }
        let shape = Self {
            geometry,
            outputs,
            groups,
            low,
            high,
            rows,
            taps,
            k,
            weight: 0,
        };
        let weight = if shape.is_depthwise() {
            taps.checked_mul(geometry.channels)?
        } else {
            packed_len(k, outputs / groups)?.checked_mul(groups)?
        };
        Some(Self { weight, ..shape })
    }

    fn of(family: Family, node: &NodeSpec<'_>) -> Result<Self, Refusal> {
        floats(node)?;
        let [input] = units::arity(node)?;
        let unfit = Refusal::Shape("the shapes of input, weight and output do not fit each other");
        let Some(weight) = node.weight else {
            return Err(Refusal::Shape("the node has no weight"));
        };
        let (Some(channels), Some(outputs)) = (input.shape.last(), node.output.shape.last()) else {
            return Err(unfit);
        };
        let bytes = channels.checked_mul(4).ok_or(unfit.clone())?;
        let (geometry, groups) = match node.op {
            NodeOp::Linear if family.tag.word == LINEAR.tag.word => {
                let rows = |spec: &TensorSpec<'_>| {
                    let (_, rows) = spec.shape.split_last()?;
                    rows.iter().try_fold(1usize, |n, size| n.checked_mul(*size))
                };
                let (Some(rows), true) = (rows(input), rows(input) == rows(&node.output)) else {
                    return Err(unfit);
                };
                if weight.shape != [*outputs, *channels] {
                    return Err(unfit);
                }
                (line(rows, bytes, *outputs)?, 1)
            }
            NodeOp::Conv { window, groups } if family.tag.word == CONV.tag.word => {
                let window = volume(window);
                (geometry(window, [0; 3], family, node, bytes)?, groups)
            }
            NodeOp::Conv3d { window, groups } if family.tag.word == CONV.tag.word => {
                (geometry(window, [0; 3], family, node, bytes)?, groups)
            }
            NodeOp::ConvTranspose {
                window,
                output_padding,
                groups,
            } if family.direction == Direction::Transposed => (
                geometry(window, output_padding, family, node, bytes)?,
                groups,
            ),
            _ => return Err(Refusal::Operator("this kernel computes other layers")),
        };
        let (low, high) = float_bounds(node.activation);
        let shape = Self::new(geometry, [*outputs, groups], [low, high]);
        let shape = shape.ok_or(Refusal::Shape(
            "channels and groups do not fit each other, or the node is too large",
        ))?;
        if node.op != NodeOp::Linear {
            let wanted = [geometry.kernel[0], geometry.kernel[1], geometry.kernel[2]];
            let fits = match ndhwc(weight.shape) {
                Some([o, kernel @ .., i]) => {
                    o == *outputs && kernel == wanted && i.checked_mul(groups) == Some(*channels)
                }
                None => false,
            };
            if !fits {
                return Err(unfit);
            }
        }
        Ok(shape)
    }

    fn group_outputs(&self) -> usize {
        self.outputs / self.groups
    }

    /// One input and one output channel a group, forward.
    fn is_depthwise(&self) -> bool {
        self.groups > 1
            && self.outputs == self.groups
            && self.geometry.channels == 4 * self.groups
            && self.geometry.is_forward()
    }

    /// Where the rows lie in the input as they are.
    fn is_lying(&self) -> bool {
        self.groups == 1 && self.geometry.is_point()
    }

    /// Bytes of the bias.
    fn bias(&self) -> usize {
        4 * if self.is_depthwise() {
            self.outputs
        } else {
            self.groups * padded(self.group_outputs())
        }
    }

    /// Where the bias begins, and the length of the blob.
    fn blob(&self) -> [usize; 2] {
        let bias = 2 * HEADER + align(self.weight);
        [bias, bias + self.bias()]
    }

    /// Bytes from one gathered row to the next, an odd number of cache lines, and the rows of a block.
    fn block(&self) -> [usize; 2] {
        let pitch = align(self.k * 4) | ALIGN;
        let rows = (BUDGET / pitch).clamp(6, BLOCK) / 6 * 6;
        [pitch, rows.min(self.rows.max(1))]
    }

    fn scratch(&self) -> usize {
        if self.is_lying() || self.is_depthwise() {
            return 0;
        }
        let [pitch, rows] = self.block();
        pitch * rows
    }

    fn cut(&self) -> Cut {
        let panels = self.is_lying();
        let k = if self.is_depthwise() {
            self.taps
        } else {
            self.k
        };
        Cut::new(self.rows, self.outputs, k, 4, panels)
    }
}

/// Rows of a matrix as a line of pixels.
fn line(rows: usize, bytes: usize, outputs: usize) -> Result<Geometry, Refusal> {
    let point = Window3 {
        kernel: [1; 3],
        stride: [1; 3],
        padding: [0; 6],
        dilation: [1; 3],
    };
    let spec = |shape| TensorSpec {
        dtype: float32,
        shape,
        qparams: None,
    };
    let (from, to) = ([1, rows, bytes], [1, rows, outputs]);
    Geometry::new(point, [0; 3], Direction::Forward, &spec(&from), &spec(&to))
}

/// The same window over volumes.
fn volume(window: Window) -> Window3 {
    let Window {
        kernel: [height, width],
        stride,
        padding: [top, left, bottom, right],
        dilation,
    } = window;
    Window3 {
        kernel: [1, height, width],
        stride: [1, stride[0], stride[1]],
        padding: [0, top, left, 0, bottom, right],
        dilation: [1, dilation[0], dilation[1]],
    }
}

/// The geometry of a convolution, channels in bytes.
fn geometry(
    window: Window3,
    more: [usize; 3],
    family: Family,
    node: &NodeSpec<'_>,
    bytes: usize,
) -> Result<Geometry, Refusal> {
    let [input] = units::arity(node)?;
    let mut shape = [0; 5];
    let rank = input.shape.len();
    let Some(shape) = shape.get_mut(..rank) else {
        return Err(Refusal::Shape("a convolution has one to three dimensions"));
    };
    shape.copy_from_slice(input.shape);
    if let Some(channels) = shape.last_mut() {
        *channels = bytes;
    }
    let input = TensorSpec { shape, ..*input };
    Geometry::new(window, more, family.direction, &input, &node.output)
}

/// A blob, read.
struct Layer<'a> {
    shape: Shape,
    weight: &'a [u8],
    bias: &'a [u8],
}

impl Family {
    fn sizes(self, node: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
        let shape = Shape::of(self, node)?;
        Ok(Sizes {
            blob: shape.blob()[1],
            scratch: shape.scratch(),
        })
    }

    fn pack(self, node: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
        let shape = Shape::of(self, node)?;
        let [bias, len] = shape.blob();
        units::blob_length(blob, len)?;
        let data = match node.weight.map(|weight| (weight.dtype, weight.data)) {
            Some((float32, WeightData::F32(data))) => data,
            Some((dtype, _)) => {
                return Err(Refusal::DType {
                    place: "weight",
                    dtype,
                });
            }
            None => return Err(Refusal::Shape("the node has no weight")),
        };
        let columns = shape.group_outputs();
        if shape.k.checked_mul(shape.outputs) != Some(data.len()) {
            return Err(Refusal::Shape(
                "the weight has not as many values as its shape",
            ));
        }
        if node.bias.is_some_and(|bias| bias.len() != shape.outputs) {
            return Err(Refusal::Shape("the bias has not one value for each output"));
        }
        blob.fill(0);
        let (first, rest) = blob.split_at_mut(HEADER);
        self.tag.write(first, &shape.geometry.words()?);
        let mut words = [0; 15];
        words[..4].copy_from_slice(&[
            word(shape.outputs)?,
            word(shape.groups)?,
            shape.low.to_bits(),
            shape.high.to_bits(),
        ]);
        SECOND.write(rest, &words);
        let (weight, biases) = rest.split_at_mut(bias - HEADER);
        let weight = &mut weight[HEADER..][..shape.weight];
        if shape.is_depthwise() {
            for (at, cell) in weight.as_chunks_mut().0.iter_mut().enumerate() {
                let (tap, channel) = (at / shape.outputs, at % shape.outputs);
                *cell = data[channel * shape.taps + tap].to_le_bytes();
            }
        } else if let Some(len) = packed_len(shape.k, columns).filter(|len| *len > 0) {
            for (group, to) in weight.chunks_exact_mut(len).enumerate() {
                let rows = &data[group * columns * shape.k..][..columns * shape.k];
                product::pack(shape.k, columns, to, |column, step| {
                    rows[column * shape.k + step]
                });
            }
        }
        let stored = biases.len() / 4 / shape.groups;
        let cells = biases.as_chunks_mut().0.chunks_exact_mut(stored.max(1));
        let bias = node.bias.unwrap_or_default().chunks_exact(columns);
        for (cells, bias) in cells.zip(bias) {
            for (cell, value) in cells.iter_mut().zip(bias) {
                *cell = value.to_le_bytes();
            }
        }
        Ok(())
    }

    fn read(self, blob: &[u8]) -> Result<Layer<'_>, BlobError> {
        let damaged = BlobError::Header(self.tag.kernel);
        let geometry = Geometry::read(&self.tag.read(blob)?, self.direction).ok_or(damaged)?;
        let rest = blob.get(HEADER..).ok_or(damaged)?;
        let [outputs, groups, low, high, ..] = SECOND.read(rest)?;
        let shape = Shape::new(
            geometry,
            [outputs as usize, groups as usize],
            [low, high].map(f32::from_bits),
        )
        .ok_or(damaged)?;
        let [bias, len] = shape.blob();
        blob::exact("the blob", blob.len(), len)?;
        let weight = blob.get(2 * HEADER..2 * HEADER + shape.weight);
        Ok(Layer {
            shape,
            weight: weight.ok_or(damaged)?,
            bias: blob.get(bias..).ok_or(damaged)?,
        })
    }

    fn split(self, blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
        let shape = self.read(blob)?.shape;
        let [input] = units::lengths(inputs)?;
        blob::exact("the input", input, shape.geometry.input_len())?;
        Ok(shape.cut().split())
    }

    fn run(self, call: Call<'_>) -> Result<(), BlobError> {
        let layer = self.read(call.blob)?;
        let shape = &layer.shape;
        let lengths = call.inputs.iter().map(|input| input.len());
        blob::exact("the list of inputs", lengths.len(), 1)?;
        let input = units::input(call.inputs, 0)?;
        blob::exact("the input", input.len(), shape.geometry.input_len())?;
        blob::at_least("scratch", call.scratch.len(), shape.scratch())?;
        let part = shape.cut().part(&call.units, call.output.len())?;
        if shape.is_depthwise() {
            let work = Depthwise {
                geometry: &shape.geometry,
                input,
                weight: layer.weight,
                bias: layer.bias,
                bounds: [shape.low, shape.high],
                first: part.rows.start,
                output: call.output,
            };
            loops::vectorized(call.isa, work);
            return Ok(());
        }
        if shape.is_lying() {
            let slice = part.panels.start.saturating_mul(PANEL / SLICE);
            let first = (slice * SLICE).min(shape.outputs);
            let last = part.panels.end.saturating_mul(PANEL).min(shape.outputs);
            let row = shape.k * 4;
            let product = Product {
                x: input.get(part.rows.start * row..).unwrap_or_default(),
                row_bytes: row,
                rows: part.rows.len(),
                k: shape.k,
                weight: layer.weight.get(slice * row * SLICE..).unwrap_or_default(),
                bias: layer.bias.get(first * 4..).unwrap_or_default(),
                columns: last.saturating_sub(first),
                low: shape.low,
                high: shape.high,
            };
            return product.run(call.output, (last - first) * 4, call.isa);
        }
        layer.gathered(input, part.rows, call.output, call.scratch, call.isa)
    }

    fn variant(self, blob: &[u8], isa: Isa) -> &'static str {
        match self.read(blob) {
            Ok(layer) if layer.shape.is_depthwise() => loops::variant(blob, isa),
            _ => product::variant(isa),
        }
    }
}

impl Layer<'_> {
    /// Rows gathered block by block, each block multiplied for every group.
    fn gathered(
        &self,
        input: &[u8],
        rows: core::ops::Range<usize>,
        output: &mut [u8],
        scratch: &mut [u8],
        isa: Isa,
    ) -> Result<(), BlobError> {
        let shape = &self.shape;
        let columns = shape.group_outputs();
        let pitch = shape.outputs * 4;
        let [row_bytes, most] = shape.block();
        let volume = Volume {
            geometry: &shape.geometry,
            groups: shape.groups,
            input,
            zero_point: 0,
        };
        let weight = shape.weight / shape.groups;
        let bias = padded(columns) * 4;
        let blocks = output.chunks_mut((most * pitch).max(1));
        for (block, output) in blocks.enumerate() {
            let first = rows.start + block * most;
            let count = most.min(rows.end - first);
            for group in 0..shape.groups {
                for (row, to) in (first..first + count).zip(scratch.chunks_exact_mut(row_bytes)) {
                    volume.gather(row, group, &mut to[..shape.k * 4]);
                }
                let product = Product {
                    x: scratch,
                    row_bytes,
                    rows: count,
                    k: shape.k,
                    weight: &self.weight[group * weight..][..weight],
                    bias: &self.bias[group * bias..][..bias],
                    columns,
                    low: shape.low,
                    high: shape.high,
                };
                let to = output.get_mut(group * columns * 4..).unwrap_or_default();
                product.run(to, pitch, isa)?;
            }
        }
        Ok(())
    }
}
