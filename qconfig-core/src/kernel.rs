//! The contract between a dispatch table and the code that computes.
//!
//! A [`Kernel`] is a row of plain function pointers. When a plan is made, [`Kernel::sizes`] and
//! [`Kernel::pack`] turn a [`NodeSpec`] (shapes, quantization parameters, weights) into a *blob*:
//! little-endian bytes that hold everything the kernel needs, the same on every instruction set, so
//! that a saved plan runs anywhere. When a session runs, [`Kernel::run`] reads blob and inputs and
//! writes its part of the output; it allocates nothing.
//!
//! # Storage
//! - Shapes are given in storage order, channels last: `[N, H, W, C]`, `[N, L, C]`, `[.., K]`.
//! - `quint8` activations are stored as they are. `qint8` activations are stored **with the sign bit
//!   flipped** (`stored = q + 128`, a `u8`), so that one kernel serves both; [`QParams::zero_point`]
//!   is always that of the dtype itself (so for `qint8` the stored zero point is `zero_point + 128`).
//! - `float32` tensors are stored as native-endian bytes on 4-byte alignment.
//! - Blobs and tensors start on 64-byte boundaries.

use core::fmt;
use core::ops::Range;

use crate::{DType, Isa};

/// Scale and zero point of a per-tensor quantized value: `real = scale * (q - zero_point)`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct QParams {
    /// Positive and finite.
    pub scale: f32,
    /// In the range of the dtype.
    pub zero_point: i32,
}

/// Shape and type of an activation.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TensorSpec<'a> {
    /// Element type.
    pub dtype: DType,
    /// Dimensions in storage order (channels last).
    pub shape: &'a [usize],
    /// Present exactly where `dtype` is quantized.
    pub qparams: Option<QParams>,
}

impl<'a> WeightSpec<'a> {
    /// A parameter that stays `float32`, of a shape that its operator knows.
    pub const fn float(data: &'a [f32]) -> Self {
        Self {
            dtype: DType::float32,
            shape: &[],
            data: WeightData::F32(data),
            scales: &[],
            zero_points: &[],
        }
    }
}

impl TensorSpec<'_> {
    /// Number of elements, or `None` where the product overflows.
    pub fn elements(&self) -> Option<usize> {
        self.shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d))
    }

    /// Bytes in memory, or `None` where that overflows.
    pub fn bytes(&self) -> Option<usize> {
        let bits = self.elements()?.checked_mul(self.dtype.bits() as usize)?;
        Some(bits.div_ceil(8))
    }
}

/// The values of a weight.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum WeightData<'a> {
    /// Quantized, one `i8` an element.
    I8(&'a [i8]),
    /// Quantized, one `u8` an element, `quint4x2` too.
    U8(&'a [u8]),
    /// Float; a kernel with a `float16` weight rounds it while packing.
    F32(&'a [f32]),
}

/// A weight: `[O, K]` for linear, `[O, kh, kw, I / groups]` for convolutions; or another parameter, whose
/// shape its operator tells.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct WeightSpec<'a> {
    /// `qint8` or `float16`; `quint8` or `quint4x2` for tables of rows and for weights in blocks; `float32` for parameters that stay as
    /// they are.
    pub dtype: DType,
    /// Dimensions, output channels first, input channels last.
    pub shape: &'a [usize],
    /// Row-major values of `shape`.
    pub data: WeightData<'a>,
    /// One scale, one for each output channel, or one for each block of each; empty for float weights.
    pub scales: &'a [f32],
    /// As many as `scales`.
    pub zero_points: &'a [i32],
}

/// What follows the operator inside the same kernel.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, low), high)`, bounds in real values.
    Clamp {
        /// Lower bound.
        low: f32,
        /// Upper bound.
        high: f32,
    },
}

/// Window of a convolution or a pool, `[height, width]`; one-dimensional windows have height 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// Kernel size.
    pub kernel: [usize; 2],
    /// Step between outputs.
    pub stride: [usize; 2],
    /// Padding before and after: `[top, left, bottom, right]`.
    pub padding: [usize; 4],
    /// Step between taps.
    pub dilation: [usize; 2],
}

/// A function of one value.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub enum Unary {
    /// `x * min(max(x + 3, 0), 6) / 6`.
    Hardswish,
    /// `min(max(x + 3, 0), 6) / 6`.
    Hardsigmoid,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `x` where positive, else `alpha * (exp(x) - 1)`.
    Elu {
        /// Minus the limit on the left.
        alpha: f32,
    },
    /// `x` where positive, else `negative_slope * x`.
    LeakyRelu {
        /// The slope on the left.
        negative_slope: f32,
    },
    /// `x * P(X <= x)` of the normal distribution.
    Gelu {
        /// torch's `approximate="tanh"`: `x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`.
        tanh: bool,
    },
    /// `floor(x / divisor)`, as Python's `//`.
    FloorDivide {
        /// Not 0.
        divisor: f64,
    },
    /// `x + other`.
    AddScalar {
        /// The number added.
        other: f64,
    },
    /// `x * other`.
    MulScalar {
        /// The factor.
        other: f64,
    },
    /// `x` to a power.
    PowScalar {
        /// The power.
        exponent: f64,
    },
    /// `x * sigmoid(x)`.
    Silu,
    /// `x * tanh(log(1 + exp(x)))`.
    Mish,
    /// `log(1 + exp(beta x)) / beta`.
    Softplus {
        /// How sharply it bends.
        beta: f32,
    },
    /// `x / (1 + |x|)`.
    Softsign,
    /// `exp(x)`.
    Exp,
    /// The natural logarithm.
    Log,
    /// The square root.
    Sqrt,
    /// `1 / sqrt(x)`.
    Rsqrt,
    /// `1 / x`.
    Reciprocal,
    /// `-x`.
    Neg,
    /// `|x|`.
    Abs,
    /// -1, 0 or 1.
    Sign,
    /// The error function.
    Erf,
    /// The largest integer not above.
    Floor,
    /// The smallest integer not below.
    Ceil,
    /// The nearest integer, ties to even.
    Round,
    /// Sine of radians.
    Sin,
    /// Cosine of radians.
    Cos,
    /// Tangent of radians.
    Tan,
    /// Inverse sine.
    Asin,
    /// Inverse cosine.
    Acos,
    /// Inverse tangent.
    Atan,
    /// Hyperbolic sine.
    Sinh,
    /// Hyperbolic cosine.
    Cosh,
    /// Inverse hyperbolic sine.
    Asinh,
    /// Inverse hyperbolic cosine.
    Acosh,
    /// Inverse hyperbolic tangent.
    Atanh,
}

/// A function of two values, beside sum and product.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Binary {
    /// `a - b`.
    Sub,
    /// `a / b`.
    Div,
    /// `a` to the power `b`.
    Pow,
    /// The smaller one; NaN where either is.
    Minimum,
    /// The greater one; NaN where either is.
    Maximum,
    /// 1 where `a < b`, else 0.
    Less,
    /// 1 where `a <= b`, else 0.
    LessEqual,
    /// 1 where `a > b`, else 0.
    Greater,
    /// 1 where `a >= b`, else 0.
    GreaterEqual,
    /// 1 where `a == b`, else 0.
    Equal,
}

/// How many values become one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Reduction {
    /// Their sum.
    Sum,
    /// Their product.
    Prod,
    /// The smallest; NaN where one is.
    Min,
    /// The greatest; NaN where one is.
    Max,
}

/// What stands around a tensor that is made larger.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub enum Padding {
    /// One value.
    Constant(f32),
    /// The tensor mirrored at its outermost elements, which are not repeated.
    Reflect,
    /// Its outermost elements.
    Edge,
    /// The tensor again.
    Wrap,
}

/// Window over up to three dimensions, `[depth, height, width]`; dimensions that a tensor lacks are the
/// first, of size 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window3 {
    /// Kernel size.
    pub kernel: [usize; 3],
    /// Step between outputs; of a transposed convolution, between inputs.
    pub stride: [usize; 3],
    /// Padding before and after: `[front, top, left, back, bottom, right]`.
    pub padding: [usize; 6],
    /// Step between taps.
    pub dilation: [usize; 3],
}

/// A view of a tensor: output element `[i0, i1, ..]`, row-major in storage order, is input element
/// `offset + i0 * steps[0] + i1 * steps[1] + ..`.
///
/// ```
/// use qconfig_core::kernel::Strides;
/// // a matrix of 3 x 4, transposed
/// let view = Strides::new(&[(4, 1), (3, 4)], 0).unwrap();
/// assert_eq!((view.elements(), view.last(), view.run()), (Some(12), Some(11), None));
/// // its second line
/// assert_eq!(Strides::new(&[(1, 4), (4, 1)], 4).unwrap().run(), Some(4));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Strides {
    /// The first element.
    pub offset: usize,
    /// Positions along each dimension, the outermost first; 1 in front of those there are.
    pub sizes: [usize; Self::RANK],
    /// Elements of the input between neighbours along each; 0 repeats one.
    pub steps: [usize; Self::RANK],
}

impl Strides {
    /// Most dimensions of a view.
    pub const RANK: usize = 8;
    /// One element, the first.
    pub const IDENTITY: Self = Self {
        offset: 0,
        sizes: [1; Self::RANK],
        steps: [0; Self::RANK],
    };

    /// A view with these sizes and steps, the outermost first, dimensions that lie behind each other
    /// merged; `None` where more than [`Strides::RANK`] are left.
    pub fn new(dimensions: &[(usize, usize)], offset: usize) -> Option<Self> {
        let mut view = Self {
            offset,
            ..Self::IDENTITY
        };
        let mut free = Self::RANK;
        for &(size, step) in dimensions.iter().rev() {
            if size == 1 {
                continue;
            }
            // one step of this dimension is all of the one inside it
            if let (Some(inner), Some(inner_step)) = (view.sizes.get(free), view.steps.get(free))
                && inner.checked_mul(*inner_step) == Some(step)
            {
                let merged = inner.checked_mul(size)?;
                *view.sizes.get_mut(free)? = merged;
                continue;
            }
            free = free.checked_sub(1)?;
            *view.sizes.get_mut(free)? = size;
            *view.steps.get_mut(free)? = step;
        }
        Some(view)
    }

    /// The same view with dimensions that lie behind each other merged.
    pub fn merged(&self) -> Self {
        let mut dimensions = [(1, 0); Self::RANK];
        for (to, from) in dimensions
            .iter_mut()
            .zip(self.sizes.iter().zip(&self.steps))
        {
            *to = (*from.0, *from.1);
        }
        Self::new(&dimensions, self.offset).unwrap_or(*self)
    }

    /// Elements of the output; `None` where the product overflows.
    pub fn elements(&self) -> Option<usize> {
        self.sizes
            .iter()
            .try_fold(1usize, |n, size| n.checked_mul(*size))
    }

    /// The furthest element of the input that is read; `None` where that overflows or nothing is.
    pub fn last(&self) -> Option<usize> {
        let mut last = self.offset;
        for (size, step) in self.sizes.iter().zip(&self.steps) {
            last = last.checked_add(size.checked_sub(1)?.checked_mul(*step)?)?;
        }
        Some(last)
    }

    /// Where the view begins, if it is one run of the input.
    pub fn run(&self) -> Option<usize> {
        let merged = self.merged();
        let (outer, inner) = merged.sizes.split_at(Self::RANK - 1);
        let is_run = outer.iter().all(|size| *size == 1)
            && (inner == [1] || merged.steps.last() == Some(&1));
        is_run.then_some(self.offset)
    }
}

/// How an interpolated value is made from those around it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum InterpolationMode {
    /// The value at `floor(position)`.
    Nearest,
    /// Weights along each dimension, positions of pixel centres (`align_corners=False`).
    Linear,
    /// Weights along each dimension, positions of the outermost pixels (`align_corners=True`).
    LinearAligned,
}

impl InterpolationMode {
    /// The mode with that discriminant.
    pub const fn from_word(word: u32) -> Option<Self> {
        match word {
            0 => Some(Self::Nearest),
            1 => Some(Self::Linear),
            2 => Some(Self::LinearAligned),
            _ => None,
        }
    }
}

/// Where the values of an output of another size come from.
///
/// ```
/// use qconfig_core::kernel::{Interpolation, InterpolationMode};
/// let twice = Interpolation { mode: InterpolationMode::Linear, step: [1.0, 1.0, 0.5] };
/// assert_eq!(twice.taps(2, 1, 4), [(0, 0.75), (1, 0.25)]);
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Interpolation {
    /// How values are mixed.
    pub mode: InterpolationMode,
    /// Input pixels from one output pixel to the next, along depth, height and width.
    pub step: [f32; 3],
}

impl Interpolation {
    /// The two positions around output position `at` along an axis of `size` input pixels, at least one, and
    /// their weights; one of them may be 0. As torch in `f32`
    /// (`aten/src/ATen/native/UpSample.h`, `area_pixel_compute_source_index`).
    pub fn taps(&self, axis: usize, at: usize, size: usize) -> [(usize, f32); 2] {
        let last = size.saturating_sub(1);
        let step = self.step.get(axis).copied().unwrap_or(1.0);
        // a conversion to an integer rounds towards zero, which is down, and takes NaN as 0
        let position = match self.mode {
            InterpolationMode::Nearest => {
                let nearest = (at as f32 * step) as usize;
                return [(nearest.min(last), 1.0), (last, 0.0)];
            }
            InterpolationMode::Linear => (step * (at as f32 + 0.5) - 0.5).max(0.0),
            InterpolationMode::LinearAligned => step * at as f32,
        };
        let first = (position as usize).min(last);
        let behind = (position - first as f32).clamp(0.0, 1.0);
        [
            (first, 1.0 - behind),
            (first.saturating_add(1).min(last), behind),
        ]
    }
}

/// What a node computes.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub enum NodeOp {
    /// An operator that is not PyTorch's; tensors are row-major in the order of their dimensions, and
    /// [`NodeSpec::parameters`] holds at most one list, of what the operator gives.
    Own {
        /// What it is called.
        name: &'static str,
    },
    /// `y[.., o] = sum_k x[.., k] w[o, k] + b[o]`.
    Linear,
    /// [`NodeOp::Linear`] whose weight, `quint8` or `quint4x2`, has a scale and a zero point for each block of
    /// a row: `[O, ceil(K / block)]` of both.
    LinearWeightOnly {
        /// Values of a block; the last one of a row may have fewer.
        block: usize,
    },
    /// Convolution of `[N, H, W, C]` (or `[N, L, C]`, with a window of height 1).
    Conv {
        /// The window.
        window: Window,
        /// Channel groups; equal to the input channels for depthwise.
        groups: usize,
    },
    /// Convolution of `[N, D, H, W, C]` with a weight `[O, kd, kh, kw, I / groups]`.
    Conv3d {
        /// The window.
        window: Window3,
        /// Channel groups.
        groups: usize,
    },
    /// Transposed convolution of `[N, .., C]`, one to three dimensions between, with a weight
    /// `[O, k.., I / groups]`: input `i` adds to output `i * stride + tap * dilation - padding before`.
    ConvTranspose {
        /// The window.
        window: Window3,
        /// Outputs more than the shape of the input says, behind the last.
        output_padding: [usize; 3],
        /// Channel groups.
        groups: usize,
    },
    /// `a + b`; the shapes broadcast to the output's as numpy's do.
    Add,
    /// `a * b`; the shapes broadcast as those of [`NodeOp::Add`].
    Mul,
    /// `a[.., m, k] b[.., k, n]`, or `a[.., m, k] b[.., n, k]^T`; the axes in front broadcast as those of
    /// [`NodeOp::Add`]. An operand of one axis is a row on the left and a column on the right, and the output
    /// lacks that axis; of two such operands it is `[1]`.
    MatMul {
        /// Whether the right matrices lie transposed.
        transposed: bool,
    },
    /// `x` where positive, else `x * slope`. The one parameter has a slope, or one for each channel (of the
    /// last axis).
    PRelu,
    /// A function of two tensors, whose shapes broadcast as those of [`NodeOp::Add`].
    Binary(Binary),
    /// `b` where `a` is not 0, else `c`; the shapes broadcast as those of [`NodeOp::Add`].
    Where,
    /// Several tensors behind each other.
    Cat {
        /// The axis, in storage order.
        axis: usize,
    },
    /// `exp(x) / sum exp(x)` along an axis.
    Softmax {
        /// The axis, in storage order.
        axis: usize,
    },
    /// A function of each element; input and output have the same shape.
    Unary(Unary),
    /// Maximum over a window; padding never wins.
    MaxPool {
        /// The window.
        window: Window,
    },
    /// Mean over a window.
    AvgPool {
        /// The window; dilation 1.
        window: Window,
        /// Whether padded cells count in the divisor.
        count_include_pad: bool,
        /// Replaces the divisor.
        divisor_override: Option<usize>,
    },
    /// [`NodeOp::MaxPool`] over `[N, D, H, W, C]`.
    MaxPool3d {
        /// The window.
        window: Window3,
    },
    /// [`NodeOp::AvgPool`] over `[N, D, H, W, C]`.
    AvgPool3d {
        /// The window; dilation 1.
        window: Window3,
        /// Whether padded cells count in the divisor.
        count_include_pad: bool,
        /// Replaces the divisor.
        divisor_override: Option<usize>,
    },
    /// Batch normalization of `[N, .., C]` with the moments seen in training. Parameters: weight, bias, mean,
    /// variance, `[C]` each.
    BatchNorm {
        /// Added to the variance.
        eps: f32,
    },
    /// Normalization of each image's groups of channels, `[N, .., C]`; as many groups as channels for
    /// instance normalization. Parameters: weight and bias, `[C]` each, or none.
    GroupNorm {
        /// Groups of channels.
        groups: usize,
        /// Added to the variance; positive.
        eps: f32,
    },
    /// Normalization of each row. Parameters: weight and bias, of a row each, or none.
    LayerNorm {
        /// The last axes, which a row is made of.
        axes: usize,
        /// Added to the variance; positive.
        eps: f32,
    },
    /// Mean over shares of the spatial positions, `[N, .., C]` to `[N, .., C]` of any size: along each axis
    /// output `i` of `n` sees the cells from `floor(i * size / n)` to `ceil((i + 1) * size / n)`.
    AdaptiveAvgPool,
    /// Mean over axes, which the output has with size 1 or lacks; the mean of everything may be `[1]`.
    Mean {
        /// Bit `i`: axis `i` of the input's storage order is averaged.
        axes: u32,
    },
    /// Reduction over axes, which the output has with size 1 or lacks, as [`NodeOp::Mean`].
    Reduce {
        /// How.
        reduction: Reduction,
        /// Bit `i`: axis `i` of the input's storage order is reduced.
        axes: u32,
    },
    /// More elements before and behind; how many behind, the output's shape tells.
    Pad {
        /// What stands there.
        padding: Padding,
        /// Elements before along each axis in storage order; 0 for axes that the tensor has not.
        before: [usize; Strides::RANK],
    },
    /// Positions of an axis: `out[.., i, ..] = in[.., indices[i], ..]`. One parameter: the indices, as floats,
    /// which are exact up to 2^24.
    Select {
        /// The axis, in storage order.
        axis: usize,
    },
    /// A tensor that the plan holds; no inputs. The weight is its values in storage order, `float32`.
    Constant,
    /// Integers to `float32`.
    ToFloat,
    /// Mean over all spatial positions: `[N, H, W, C]` to `[N, 1, 1, C]`, any number of axes between.
    GlobalAvgPool,
    /// The activation alone, input and output with the same quantization parameters.
    Clamp,
    /// `float32` to quantized.
    Quantize,
    /// Quantized to `float32`.
    Dequantize,
    /// Quantized to quantized with other parameters.
    Requantize,
    /// Another shape of the same bytes.
    Reshape,
    /// Another size: `[N, spatial.., C]` with one to three spatial dimensions.
    Interpolate(Interpolation),
    /// A view of the input through strides, written out.
    Rearrange(Strides),
    /// Channels last to channels first: `[N, H, W, C]` stored as `[N, C, H, W]`, any number of axes between.
    ToChannelsFirst,
    /// Channels first to channels last.
    ToChannelsLast,
    /// A recurrent layer over `[T, B, I]`, or a cell over `[B, I]`.
    ///
    /// Inputs: the sequence, then perhaps the initial states, each `[layers x directions, B, H]`: that of the
    /// hidden state and, for an LSTM, that of the memory cell; without them they are zero. Parameters: for
    /// each layer and direction the weight of the input `[gates x H, I]` (`[gates x H, directions x H]` in
    /// later layers), that of the hidden state `[gates x H, H]`, and their biases `[gates x H]`, or all
    /// without biases; gates in torch's order. Output, one behind the other in one dimension: the sequence
    /// `[T, B, directions x H]`, which a cell has not, and the states after the last step.
    Recurrent {
        /// What a step computes.
        cell: RecurrentCell,
        /// Layers above each other.
        layers: usize,
        /// Whether each layer also runs backwards in time.
        bidirectional: bool,
        /// Whether sequences are `[B, T, ..]`; states are not touched by it.
        batch_first: bool,
    },
    /// Rows of a table: `int32` or `int64` indices of any shape to `float32` `[.., D]`. The weight is the
    /// table, `[rows, D]`: `quint8` or `quint4x2`, as floats that the kernel quantizes row by row, or as
    /// integers with a scale for each row and, as the one parameter, a zero point for each row, `float32`.
    Embedding,
    /// Bags of rows of a table, reduced to one row each: `float32` `[bags, D]`. The table is that of
    /// [`NodeOp::Embedding`]. Inputs: indices `[bags, length]`, or `[indices]` and then where each bag begins,
    /// `int32` or `int64` `[bags]`; last, perhaps, `float32` weights in the shape of the indices.
    EmbeddingBag {
        /// How the rows of a bag become one.
        mode: BagMode,
        /// Whether there is one offset more than bags: where the last one ends.
        include_last_offset: bool,
        /// Rows that count for nothing.
        padding_idx: Option<usize>,
    },
}

/// How the rows of a bag become one; an empty bag becomes zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BagMode {
    /// Their sum, or their sum with weights.
    Sum,
    /// Their sum divided by how many they are.
    Mean,
    /// The greatest value of each column.
    Max,
}

/// What a recurrent layer computes in a step.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RecurrentCell {
    /// Long short-term memory: input, forget, cell and output gate.
    Lstm,
    /// Gated recurrent unit: reset, update and new gate.
    Gru,
    /// `tanh` of the one gate.
    Tanh,
    /// `max(x, 0)` of the one gate.
    Relu,
}

impl RecurrentCell {
    /// Gates, each as wide as the hidden state.
    pub const fn gates(self) -> usize {
        match self {
            RecurrentCell::Lstm => 4,
            RecurrentCell::Gru => 3,
            RecurrentCell::Tanh | RecurrentCell::Relu => 1,
        }
    }

    /// States that a step hands to the next: the hidden one, and an LSTM's memory cell.
    pub const fn states(self) -> usize {
        match self {
            RecurrentCell::Lstm => 2,
            _ => 1,
        }
    }
}

/// All that a kernel may know about a node when the plan is made.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct NodeSpec<'a> {
    /// The operator and its attributes.
    pub op: NodeOp,
    /// What is fused behind it; a kernel that cannot compute it refuses the node.
    pub activation: Activation,
    /// Activations that come in.
    pub inputs: &'a [TensorSpec<'a>],
    /// The activation that goes out.
    pub output: TensorSpec<'a>,
    /// The weight, where the operator has one.
    pub weight: Option<WeightSpec<'a>>,
    /// Bias in real values, one for each output channel.
    pub bias: Option<&'a [f32]>,
    /// What an operator has beside one weight and one bias, in the order its [`NodeOp`] names: the
    /// gates of a recurrent layer, the moments of a normalization, the slopes of a PReLU.
    pub parameters: &'a [WeightSpec<'a>],
    /// For dynamic kernels: quantize activations to 7 bits (`qmax / 2`), as torch's `reduce_range`.
    pub reduce_range: bool,
    /// For static kernels with a weight: the factor from sums to outputs is `sw * sa / so`, as ONNX Runtime
    /// rounds it; otherwise `sw * sa * (1 / so)`, as torch does. They differ in the last bit at most.
    pub divide: bool,
}

impl<'a> NodeSpec<'a> {
    /// A node without weights, bias and activation.
    pub const fn new(op: NodeOp, inputs: &'a [TensorSpec<'a>], output: TensorSpec<'a>) -> Self {
        Self {
            op,
            activation: Activation::None,
            inputs,
            output,
            weight: None,
            bias: None,
            parameters: &[],
            reduce_range: false,
            divide: false,
        }
    }

    /// Multiply-adds of the node, for a rate in operations; 0 for operators that are not made of products, or
    /// whose numbers overflow.
    pub fn multiply_adds(&self) -> u64 {
        let products = match self.op {
            NodeOp::Linear
            | NodeOp::LinearWeightOnly { .. }
            | NodeOp::Conv { .. }
            | NodeOp::Conv3d { .. } => self.products(),
            NodeOp::ConvTranspose { groups, .. } => self.transposed_products(groups),
            NodeOp::Recurrent { .. } => self.recurrent_products(),
            NodeOp::MatMul { .. } => self.matrix_products(),
            _ => None,
        };
        products.unwrap_or(0)
    }

    /// Each output value sums as many products as its channel of the weight has values.
    fn products(&self) -> Option<u64> {
        let (_, each) = self.weight?.shape.split_first()?;
        let each = each.iter().try_fold(1usize, |n, d| n.checked_mul(*d))?;
        u64::try_from(self.output.elements()?.checked_mul(each)?).ok()
    }

    /// Each output value sums a row of the left operand.
    fn matrix_products(&self) -> Option<u64> {
        let k = self.inputs.first()?.shape.last()?;
        u64::try_from(self.output.elements()?.checked_mul(*k)?).ok()
    }

    /// Each row of the sequence meets all weights.
    fn recurrent_products(&self) -> Option<u64> {
        let input = self.inputs.first()?;
        let rows = input.elements()?.checked_div(*input.shape.last()?)?;
        let sizes = self.parameters.iter().map(|weight| match weight.shape {
            [rows, columns] => rows.checked_mul(*columns),
            _ => Some(0),
        });
        let all = sizes
            .into_iter()
            .try_fold(0usize, |all, size| all.checked_add(size?))?;
        u64::try_from(rows.checked_mul(all)?).ok()
    }

    /// Each input value meets its channel's share of the weight.
    fn transposed_products(&self, groups: usize) -> Option<u64> {
        let shape = self.weight?.shape;
        let all = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d))?;
        let each = all.checked_div(shape.last()?.checked_mul(groups)?)?;
        u64::try_from(self.inputs.first()?.elements()?.checked_mul(each)?).ok()
    }
}

/// Bytes a packed node takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sizes {
    /// Length of the blob.
    pub blob: usize,
    /// Scratch memory of one thread while it runs.
    pub scratch: usize,
}

/// How the work of a node can be cut: into `units` pieces, in the order of the output, each of
/// `unit_bytes` output bytes (the last may be shorter).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Split {
    /// Number of pieces.
    pub units: usize,
    /// Output bytes of each but perhaps the last.
    pub unit_bytes: usize,
    /// Total output bytes.
    pub output_bytes: usize,
    /// Units that a thread should take at least, so that waking it pays.
    pub grain: usize,
}

impl Split {
    /// The output bytes of a range of units.
    pub fn bytes(&self, units: &Range<usize>) -> Range<usize> {
        let at = |unit: usize| unit.saturating_mul(self.unit_bytes).min(self.output_bytes);
        at(units.start)..at(units.end)
    }
}

/// One call of a kernel: a range of its units.
#[derive(Debug)]
pub struct Call<'a> {
    /// What [`Kernel::pack`] wrote.
    pub blob: &'a [u8],
    /// The inputs, whole.
    pub inputs: &'a [&'a [u8]],
    /// The output bytes of `units`.
    pub output: &'a mut [u8],
    /// Which part of the work this call does.
    pub units: Range<usize>,
    /// At least [`Sizes::scratch`] bytes, contents arbitrary.
    pub scratch: &'a mut [u8],
    /// The instruction set to use.
    pub isa: Isa,
}

/// Why a kernel cannot take a node.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The node's operator or an attribute of it is not this kernel's.
    #[error("{0}")]
    Operator(&'static str),
    /// Shapes that do not fit each other.
    #[error("{0}")]
    Shape(&'static str),
    /// A dtype that this kernel does not take.
    #[error("{place} is {dtype}, which this kernel does not take")]
    DType {
        /// `input`, `output`, `weight`.
        place: &'static str,
        /// The dtype found.
        dtype: DType,
    },
    /// A scale, or a ratio of scales, outside what the formula allows.
    #[error("{what} is {value}, outside {low:e}..{high:e}")]
    Scale {
        /// Which scale or ratio.
        what: &'static str,
        /// Its value.
        value: f32,
        /// Lower bound, included.
        low: f32,
        /// Upper bound, excluded.
        high: f32,
    },
    /// A zero point outside its dtype.
    #[error("zero point {0} is outside its dtype")]
    ZeroPoint(i32),
    /// The reduction is so long that an `i32` accumulator could overflow.
    #[error("{k} products could overflow the 32-bit accumulator (at most {max})")]
    Accumulator {
        /// Length of the reduction.
        k: usize,
        /// The longest one allowed.
        max: usize,
    },
    /// A value of the weight or the bias is NaN or infinite.
    #[error("{0} holds NaN or infinity")]
    NotFinite(&'static str),
}

/// Why a blob and its inputs do not fit together, or what the inputs hold cannot be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// The blob's header is damaged or another kernel's.
    #[error("the packed data of kernel `{0}` is damaged or not its own")]
    Header(&'static str),
    /// A length is not what the header says.
    #[error("{what} has {found} bytes, {expected} are needed")]
    Length {
        /// Which buffer.
        what: &'static str,
        /// Bytes needed.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// An index among the inputs is outside what it counts in.
    #[error("{what} {at} is {value}, outside {start}..{end}")]
    Index {
        /// Which kind: `index`, `offset`.
        what: &'static str,
        /// Its position.
        at: usize,
        /// Its value.
        value: i64,
        /// The least possible.
        start: usize,
        /// The first one beyond.
        end: usize,
    },
}

/// Which dtype configs a kernel family takes.
///
/// A `const` check emitted by `backend_config!` holds every bound dtype config against it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Signature {
    /// Input dtypes accepted.
    pub input: &'static [DType],
    /// Output dtypes accepted.
    pub output: &'static [DType],
    /// Weight dtypes accepted; empty where the operator has no weight.
    pub weight: &'static [DType],
    /// Bias dtypes accepted; empty where the operator has no bias.
    pub bias: &'static [DType],
    /// Whether activations are quantized on the fly.
    pub is_dynamic: bool,
    /// Weights must be guaranteed to lie in this range, where one is given.
    pub weight_range: Option<(i64, i64)>,
    /// Scales must be guaranteed not to fall below this bound, where one is given.
    pub scale_min: Option<f64>,
}

impl Signature {
    /// Of an operator without weight and bias: which dtypes come in and go out.
    pub const fn activations(input: &'static [DType], output: &'static [DType]) -> Self {
        Self {
            input,
            output,
            weight: &[],
            bias: &[],
            is_dynamic: false,
            weight_range: None,
            scale_min: None,
        }
    }
}

/// A row of a dispatch table: one operator contract, with its variants for each instruction set inside.
#[derive(Clone, Copy)]
pub struct Kernel {
    /// The family's name, unique within a backend: `q8_linear`.
    pub name: &'static str,
    /// The dtype configs it takes.
    pub signature: Signature,
    /// How many bytes [`Kernel::pack`] will write and [`Kernel::run`] needs as scratch.
    pub sizes: fn(&NodeSpec<'_>) -> Result<Sizes, Refusal>,
    /// Writes the blob; `blob.len()` is [`Sizes::blob`].
    pub pack: fn(&NodeSpec<'_>, &mut [u8]) -> Result<(), Refusal>,
    /// Checks a blob from anywhere against the lengths of the buffers it will run on.
    pub split: fn(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError>,
    /// Computes. Safe on any bytes: what does not fit is an error, never out of bounds.
    pub run: fn(Call<'_>) -> Result<(), BlobError>,
    /// The variant that `run` takes for this blob on that instruction set: `8x16c4__avx2`.
    pub variant: fn(blob: &[u8], isa: Isa) -> &'static str,
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A type that stands for a kernel in a `kernel` clause of `backend_config!`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a kernel family",
    label = "a `kernel` clause takes a type that implements `KernelFamily`"
)]
pub trait KernelFamily {
    /// The kernel.
    const KERNEL: &'static Kernel;
}

/// The kernels of one model, as `kernels!` declares them.
#[derive(Clone, Copy, Debug)]
pub struct KernelTable {
    kernels: &'static [&'static Kernel],
}

impl KernelTable {
    /// A table; the same kernel may stand in it several times.
    pub const fn new(kernels: &'static [&'static Kernel]) -> Self {
        Self { kernels }
    }

    /// The kernel of that name: what a plan asks for when it is loaded.
    pub fn named(&self, name: &str) -> Option<&'static Kernel> {
        self.kernels
            .iter()
            .copied()
            .find(|kernel| kernel.name == name)
    }

    /// Every kernel, in the order of the rows.
    pub fn iter(&self) -> impl Iterator<Item = &'static Kernel> + use<> {
        self.kernels.iter().copied()
    }
}

/// The type-level dispatch table: `Backend: Dispatch<Pattern, Config>` exists exactly where a kernel
/// is bound, and only the kernels that a program names are linked.
#[diagnostic::on_unimplemented(
    message = "backend `{Self}` has no kernel for pattern `{P}` with dtype config `{C}`",
    label = "no `kernel` clause binds this pair",
    note = "bind one with `kernel CONFIG => Family;` in the pattern's block, or ask for another pair"
)]
pub trait Dispatch<P, C> {
    /// The kernel of this pair.
    const KERNEL: &'static Kernel;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[usize]) -> TensorSpec<'_> {
        TensorSpec {
            dtype: DType::float32,
            shape,
            qparams: None,
        }
    }

    fn weight(shape: &[usize]) -> WeightSpec<'_> {
        WeightSpec {
            shape,
            ..WeightSpec::float(&[])
        }
    }

    fn counted(op: NodeOp, input: &[usize], output: &[usize], w: &[usize]) -> u64 {
        let inputs = [tensor(input)];
        NodeSpec {
            weight: Some(weight(w)),
            ..NodeSpec::new(op, &inputs, tensor(output))
        }
        .multiply_adds()
    }

    #[test]
    fn multiply_adds_are_counted() {
        assert_eq!(counted(NodeOp::Linear, &[3, 5], &[3, 7], &[7, 5]), 105);
        let window = Window {
            kernel: [3, 3],
            stride: [1, 1],
            padding: [1; 4],
            dilation: [1, 1],
        };
        let conv = |groups| NodeOp::Conv { window, groups };
        let (x, y) = ([2, 6, 6, 8], [2, 6, 6, 16]);
        assert_eq!(
            counted(conv(1), &x, &y, &[16, 3, 3, 8]),
            2 * 36 * 16 * 9 * 8
        );
        // depthwise
        assert_eq!(counted(conv(8), &x, &x, &[8, 3, 3, 1]), 2 * 36 * 8 * 9);
        let transposed = NodeOp::ConvTranspose {
            window: Window3 {
                kernel: [1, 2, 2],
                stride: [1, 2, 2],
                padding: [0; 6],
                dilation: [1; 3],
            },
            output_padding: [0; 3],
            groups: 2,
        };
        let y = [2, 12, 12, 6];
        let found = counted(transposed, &x, &y, &[6, 2, 2, 4]);
        assert_eq!(found, (2 * 36 * 8) * (3 * 2 * 2));
        let product = NodeOp::MatMul { transposed: false };
        assert_eq!(counted(product, &[2, 3, 5], &[2, 3, 7], &[]), 2 * 3 * 5 * 7);
        let found = counted(NodeOp::Add, &x, &x, &[8]);
        assert_eq!(found, 0, "no weight is multiplied");
        let huge = usize::MAX / 2;
        assert_eq!(counted(NodeOp::Linear, &[1, 8], &[huge], &[1, 8]), 0);
    }

    #[test]
    fn multiply_adds_of_a_recurrent_layer_are_those_of_its_matrices() {
        let op = NodeOp::Recurrent {
            cell: RecurrentCell::Lstm,
            layers: 1,
            bidirectional: false,
            batch_first: false,
        };
        let inputs = [tensor(&[50, 2, 10])];
        let (w_ih, w_hh) = (weight(&[80, 10]), weight(&[80, 20]));
        let parameters = [w_ih, w_hh, WeightSpec::float(&[]), WeightSpec::float(&[])];
        let node = NodeSpec {
            parameters: &parameters,
            ..NodeSpec::new(op, &inputs, tensor(&[50, 2, 20]))
        };
        assert_eq!(node.multiply_adds(), 50 * 2 * 80 * (10 + 20));
    }
}
