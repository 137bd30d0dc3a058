//! What a node computes, with its parameters in PyTorch's terms.

use qconfig_core::kernel::{Activation, Binary, Padding, Reduction, Unary};

use super::{Embedding, Interpolate, Movement, Norm, Own, Recurrent};
use crate::tensor::Tensor;

/// A convolution over one to three spatial dimensions.
#[derive(Clone, PartialEq, Debug)]
pub struct Conv {
    /// `[O, I / groups, k..]`.
    pub weight: Tensor,
    /// One for each output channel.
    pub bias: Option<Vec<f32>>,
    /// For each spatial dimension.
    pub stride: Vec<usize>,
    /// For each spatial dimension, on both sides; or twice as many numbers, in front of each dimension
    /// and then behind each, where the sides differ.
    pub padding: Vec<usize>,
    /// For each spatial dimension.
    pub dilation: Vec<usize>,
    /// Channel groups.
    pub groups: usize,
}

impl Conv {
    /// Stride 1, no padding, one group.
    pub fn new(weight: Tensor) -> Self {
        let rank = weight.shape().len().saturating_sub(2);
        Self {
            weight,
            bias: None,
            stride: vec![1; rank],
            padding: vec![0; rank],
            dilation: vec![1; rank],
            groups: 1,
        }
    }

    /// With a bias.
    #[must_use]
    pub fn bias(self, bias: Tensor) -> Self {
        Self {
            bias: Some(bias.data().to_vec()),
            ..self
        }
    }

    /// The same stride in every dimension.
    #[must_use]
    pub fn stride(mut self, stride: usize) -> Self {
        self.stride.fill(stride);
        self
    }

    /// The same padding in every dimension.
    #[must_use]
    pub fn padding(mut self, padding: usize) -> Self {
        self.padding.fill(padding);
        self
    }

    /// The same dilation in every dimension.
    #[must_use]
    pub fn dilation(mut self, dilation: usize) -> Self {
        self.dilation.fill(dilation);
        self
    }

    /// Channel groups.
    #[must_use]
    pub fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }
}

/// A transposed convolution over one to three spatial dimensions.
#[derive(Clone, PartialEq, Debug)]
pub struct ConvTranspose {
    /// `[I, O / groups, k..]`, as PyTorch has it.
    pub weight: Tensor,
    /// One for each output channel.
    pub bias: Option<Vec<f32>>,
    /// For each spatial dimension.
    pub stride: Vec<usize>,
    /// For each spatial dimension, on both sides.
    pub padding: Vec<usize>,
    /// For each spatial dimension: outputs more at the end, fewer than stride or dilation.
    pub output_padding: Vec<usize>,
    /// For each spatial dimension.
    pub dilation: Vec<usize>,
    /// Channel groups.
    pub groups: usize,
}

impl ConvTranspose {
    /// Stride 1, no padding, one group.
    pub fn new(weight: Tensor) -> Self {
        let Conv {
            weight,
            bias,
            stride,
            padding,
            dilation,
            groups,
        } = Conv::new(weight);
        Self {
            output_padding: padding.clone(),
            weight,
            bias,
            stride,
            padding,
            dilation,
            groups,
        }
    }

    /// With a bias.
    #[must_use]
    pub fn bias(self, bias: Tensor) -> Self {
        Self {
            bias: Some(bias.data().to_vec()),
            ..self
        }
    }

    /// The same stride in every dimension.
    #[must_use]
    pub fn stride(mut self, stride: usize) -> Self {
        self.stride.fill(stride);
        self
    }

    /// The same padding in every dimension.
    #[must_use]
    pub fn padding(mut self, padding: usize) -> Self {
        self.padding.fill(padding);
        self
    }

    /// The same output padding in every dimension.
    #[must_use]
    pub fn output_padding(mut self, output_padding: usize) -> Self {
        self.output_padding.fill(output_padding);
        self
    }

    /// The same dilation in every dimension.
    #[must_use]
    pub fn dilation(mut self, dilation: usize) -> Self {
        self.dilation.fill(dilation);
        self
    }

    /// Channel groups.
    #[must_use]
    pub fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    /// The weight with output channels first, `[O, I / groups, k..]`: a row for each output channel, as
    /// scales and batch normalization have it.
    pub(crate) fn by_output(&self) -> Tensor {
        let shape = self.weight.shape();
        let (ins, outs) = (shape[0] / self.groups, shape[1]);
        let area: usize = shape[2..].iter().product();
        let mut rows = Tensor::zeros(&[&[outs * self.groups, ins], &shape[2..]].concat());
        for (row, to) in rows.data_mut().chunks_exact_mut(area).enumerate() {
            let (o, i) = (row / ins, row % ins);
            let from = ((o / outs * ins + i) * outs + o % outs) * area;
            to.copy_from_slice(&self.weight.data()[from..from + area]);
        }
        rows
    }
}

/// `y = x W^T + b`.
#[derive(Clone, PartialEq, Debug)]
pub struct Linear {
    /// `[O, K]`.
    pub weight: Tensor,
    /// `[O]`.
    pub bias: Option<Vec<f32>>,
}

/// Batch normalization at inference.
#[derive(Clone, PartialEq, Debug)]
pub struct BatchNorm {
    /// Scale, one for each channel.
    pub weight: Vec<f32>,
    /// Shift.
    pub bias: Vec<f32>,
    /// Mean seen in training.
    pub running_mean: Vec<f32>,
    /// Variance seen in training.
    pub running_var: Vec<f32>,
    /// Added to the variance.
    pub eps: f32,
}

/// The window of a pooling.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pool {
    /// For each spatial dimension.
    pub kernel: Vec<usize>,
    /// For each spatial dimension.
    pub stride: Vec<usize>,
    /// For each spatial dimension, on both sides, at most half the kernel; or twice as many numbers, in
    /// front of each dimension and then behind each, below the kernel.
    pub padding: Vec<usize>,
    /// For each spatial dimension; 1 for averages.
    pub dilation: Vec<usize>,
    /// Whether the last, partial window counts.
    pub ceil_mode: bool,
}

impl Pool {
    /// A square window that steps by its own size.
    pub fn square(kernel: usize) -> Self {
        Self::new(&[kernel; 2])
    }

    /// A window of one to three dimensions that steps by its own size.
    pub fn new(kernel: &[usize]) -> Self {
        Self {
            kernel: kernel.to_vec(),
            stride: kernel.to_vec(),
            padding: vec![0; kernel.len()],
            dilation: vec![1; kernel.len()],
            ceil_mode: false,
        }
    }
}

/// What a node computes.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Op {
    /// Convolution.
    Conv(Conv),
    /// Transposed convolution.
    ConvTranspose(ConvTranspose),
    /// Fully connected layer.
    Linear(Linear),
    /// Batch normalization.
    BatchNorm(BatchNorm),
    /// Normalization of each image's groups of channels by their own moments; instance normalization with
    /// as many groups as channels.
    GroupNorm {
        /// Groups of channels.
        groups: usize,
        /// Parameters of a channel each.
        norm: Norm,
    },
    /// Normalization over the last dimensions by their own moments.
    LayerNorm {
        /// How many dimensions.
        axes: usize,
        /// Parameters of a feature each.
        norm: Norm,
    },
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, low), high)`.
    Clamp {
        /// Lower bound.
        low: f32,
        /// Upper bound.
        high: f32,
    },
    /// `a + b`, of shapes that broadcast.
    Add,
    /// `a * b`, of shapes that broadcast.
    Mul,
    /// The product of matrices in the last two dimensions; those before broadcast. An operand of one
    /// dimension is a row on the left and a column on the right, and the output lacks that dimension.
    MatMul,
    /// `x` where positive, else `x * slope`: one slope, or one for each channel.
    PRelu(Vec<f32>),
    /// Another function of two tensors, of shapes that broadcast.
    Binary(Binary),
    /// The second tensor where the first is not 0, else the third; the shapes broadcast.
    Where,
    /// Several tensors behind each other.
    Cat {
        /// The axis.
        axis: usize,
    },
    /// Several tensors of one shape behind each other along a new axis.
    Stack {
        /// The axis of the output that is new.
        axis: usize,
    },
    /// `exp(x) / sum exp(x)` along an axis.
    Softmax {
        /// The axis.
        axis: usize,
    },
    /// A function of each element.
    Unary(Unary),
    /// Maximum over windows.
    MaxPool(Pool),
    /// Mean over windows.
    AvgPool {
        /// The window.
        pool: Pool,
        /// Whether padded cells count in the divisor.
        count_include_pad: bool,
        /// Replaces the divisor.
        divisor_override: Option<usize>,
    },
    /// Mean over all spatial dimensions, which stay with size 1.
    GlobalAvgPool,
    /// Mean over shares of the input, to so many outputs in each spatial dimension.
    AdaptiveAvgPool(Vec<usize>),
    /// Mean over dimensions.
    Mean {
        /// Which ones, each once.
        axes: Vec<usize>,
        /// Whether they stay with size 1.
        keepdim: bool,
    },
    /// Sum, product, minimum or maximum over dimensions.
    Reduce {
        /// Which of them.
        reduction: Reduction,
        /// Over which dimensions, each once.
        axes: Vec<usize>,
        /// Whether they stay with size 1.
        keepdim: bool,
    },
    /// More elements around a tensor.
    Pad {
        /// What stands there.
        padding: Padding,
        /// How many before each dimension.
        before: Vec<usize>,
        /// How many behind each dimension.
        after: Vec<usize>,
    },
    /// Positions of a dimension, in any order, any number of times.
    Select {
        /// The dimension.
        axis: usize,
        /// Which positions.
        indices: Vec<usize>,
    },
    /// Integers become floats.
    ToFloat,
    /// All dimensions from `start` on become one.
    Flatten {
        /// The first dimension merged.
        start: usize,
    },
    /// Another shape of as many elements.
    Reshape(Vec<usize>),
    /// Another size of images, lines or volumes.
    Interpolate(Interpolate),
    /// Elements in other places.
    Movement(Movement),
    /// The identity: dropout at inference, `contiguous`, `detach`.
    Identity,
    /// Rows of a table, each or reduced in bags.
    Embedding(Embedding),
    /// A recurrent layer or cell; its inputs are the sequence and perhaps the initial states.
    Recurrent(Recurrent),
    /// An operator that is not PyTorch's.
    Own(Own),
}

impl Op {
    /// The activation this is, if it can be fused behind another operator.
    pub fn as_activation(&self) -> Option<Activation> {
        match self {
            Op::Relu => Some(Activation::Relu),
            Op::Clamp { low, high } => Some(Activation::Clamp {
                low: *low,
                high: *high,
            }),
            _ => None,
        }
    }
}
