//! The operator vocabulary: one entry an operator, with every spelling PyTorch has for it.
//!
//! A spelling is a type: `nn::Conv2d` is `torch.nn.Conv2d`, `F::relu` is `torch.nn.functional.relu`,
//! `method::relu_` is the in-place method. Module names are the aliases that PyTorch's own source
//! uses. A crate adds an operator by declaring a type of its own and implementing [`Spelled`].

use core::fmt;

/// What an operator is, whatever it is called.
#[derive(Debug)]
pub struct Operator {
    /// The name in a spec: `conv2d`.
    pub name: &'static str,
    /// The ONNX operators that mean the same, most specific first; empty where there is none.
    pub onnx: &'static [&'static str],
    /// What part it can play in a pattern.
    pub role: Role,
    /// Spatial dimensions it is defined for; 0 where it does not matter.
    pub rank: u8,
}

/// What part an operator can play in a pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// May begin a fused pattern: convolutions, linear, binary operators.
    Root,
    /// Normalization: may follow a root, and an activation may follow it.
    Norm,
    /// Element-wise: may end a pattern.
    Activation,
    /// Stands alone.
    Alone,
}

impl Operator {
    /// Whether it has a weight, as argument or in its module: what a dtype config says of weights counts for it.
    pub fn has_weight(&self) -> bool {
        const WEIGHTED: [&str; 11] = [
            "linear",
            "addmm",
            "prelu",
            "lstm",
            "gru",
            "rnn",
            "embedding",
            "embedding_bag",
            "group_norm",
            "instance_norm",
            "layer_norm",
        ];
        WEIGHTED.contains(&self.name)
            || self.name.starts_with("conv")
            || self.name.ends_with("_cell")
    }
}

impl PartialEq for Operator {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
impl Eq for Operator {}

/// Where PyTorch keeps a spelling.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum SpellingKind {
    /// A class in `torch.nn`.
    Module,
    /// A function in `torch.nn.functional`.
    Functional,
    /// A function in `torch`.
    Function,
    /// A function in Python's `operator`.
    Operator,
    /// A tensor method; in-place ones end in `_`.
    Method,
    /// An overload of an operator in `torch.ops.aten`.
    Aten,
    /// A fused float module (`torch.ao.nn.intrinsic`).
    Fused,
    /// A module for quantization-aware training (`torch.ao.nn.qat`).
    Qat,
    /// A fused module for quantization-aware training (`torch.ao.nn.intrinsic.qat`).
    FusedQat,
    /// A reference quantized module (`torch.ao.nn.quantized.reference`).
    Reference,
    /// Defined outside PyTorch.
    Custom,
}

/// One way to write an operator.
#[derive(Debug)]
pub struct Spelling {
    /// PyTorch's public dotted path, or the bare name of a method.
    pub path: &'static str,
    /// How a spec writes it: `nn::Conv2d`.
    pub dsl: &'static str,
    /// Where PyTorch keeps it.
    pub kind: SpellingKind,
    /// What it means.
    pub operator: &'static Operator,
    /// [`hash`] of `path`.
    pub hash: u32,
}

impl Spelling {
    /// A spelling; constants use it.
    pub const fn new(
        path: &'static str,
        dsl: &'static str,
        kind: SpellingKind,
        operator: &'static Operator,
    ) -> Self {
        Self {
            path,
            dsl,
            kind,
            operator,
            hash: hash(path),
        }
    }
}

impl PartialEq for Spelling {
    fn eq(&self, other: &Self) -> bool {
        core::ptr::eq(self, other) || (self.hash == other.hash && self.path == other.path)
    }
}
impl Eq for Spelling {}

impl fmt::Display for Spelling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.path)
    }
}

/// FNV-1a, 32 bits.
pub const fn hash(text: &str) -> u32 {
    let bytes = text.as_bytes();
    let mut hash = 0x811c_9dc5;
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    hash
}

/// A type that stands for a spelling: the vocabulary's, or one of your own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an operator",
    label = "patterns are made of types that implement `Spelled`"
)]
pub trait Spelled {
    /// The spelling.
    const SPELLING: &'static Spelling;
}

/// Finds a spelling of the vocabulary by PyTorch's path (or a method's bare name).
///
/// ```
/// let relu = qconfig_core::operator::by_path("torch.nn.functional.relu").unwrap();
/// assert_eq!((relu.dsl, relu.operator.name), ("F::relu", "relu"));
/// ```
pub fn by_path(path: &str) -> Option<&'static Spelling> {
    let hash = hash(path);
    SPELLINGS
        .iter()
        .copied()
        .find(|spelling| spelling.hash == hash && spelling.path == path)
}

/// Finds a spelling of the vocabulary by how a spec writes it: `nn::Conv2d`.
pub fn by_dsl(dsl: &str) -> Option<&'static Spelling> {
    SPELLINGS
        .iter()
        .copied()
        .find(|spelling| spelling.dsl == dsl)
}

/// Finds the spelling that an operator's short name stands for: `conv2d` is `nn::Conv2d`.
pub fn by_name(name: &str) -> Option<&'static Spelling> {
    let operator = OPERATORS.iter().find(|operator| operator.name == name)?;
    spellings_of(operator).next()
}

/// The spellings of an operator, in the vocabulary's order.
pub fn spellings_of(operator: &Operator) -> impl Iterator<Item = &'static Spelling> {
    SPELLINGS
        .iter()
        .copied()
        .filter(move |spelling| spelling.operator == operator)
}

/// The operator that an ONNX operator of that name and spatial rank means, if the vocabulary has it.
pub fn by_onnx(onnx: &str, rank: u8) -> Option<&'static Operator> {
    OPERATORS
        .iter()
        .copied()
        .find(|op| op.onnx.contains(&onnx) && (op.rank == 0 || op.rank == rank))
}

macro_rules! operators {
    ($($(#[$doc:meta])* $name:ident: $role:ident $rank:literal [$($onnx:literal),*] = $primary_module:ident::$primary:ident;)*) => {
        /// The operators themselves.
        pub mod operators {
            use super::{Operator, Role};
            $(
                $(#[$doc])*
                #[allow(non_upper_case_globals, reason = "named as specs write them")]
                pub static $name: Operator = Operator {
                    name: stringify!($name), onnx: &[$($onnx),*], role: Role::$role, rank: $rank,
                };
            )*
        }
        /// Every operator of the vocabulary.
        pub static OPERATORS: &[&Operator] = &[$(&operators::$name),*];
        /// The operators' short names: each is the spelling that PyTorch users write first.
        #[allow(non_camel_case_types, reason = "named as specs write them")]
        pub mod short {
            $(pub use super::$primary_module::$primary as $name;)*
        }
    };
}

/// The last part of a path: a name, or where Rust keeps that for itself, what is written behind `as`.
macro_rules! last {
    ($name:ident) => {
        stringify!($name)
    };
    ($name:ident $text:literal) => {
        $text
    };
}

macro_rules! spellings {
    ($($(#[$doc:meta])* $module:ident $prefix:literal $kind:ident {
        $($name:ident $(as $text:literal)?: $op:ident),* $(,)?
    })*) => {
        $(
            $(#[$doc])*
            #[allow(non_camel_case_types, reason = "named as PyTorch names them")]
            #[allow(non_snake_case, reason = "PyTorch imports `torch.nn.functional as F`")]
            pub mod $module {
                use super::{Spelled, Spelling, SpellingKind, operators};
                $(
                    #[doc = concat!("`", $prefix, last!($name $($text)?), "`")]
                    #[derive(Clone, Copy, Debug)]
                    pub struct $name;
                    impl Spelled for $name {
                        const SPELLING: &'static Spelling = {
                            static SPELLING: Spelling = Spelling::new(
                                concat!($prefix, last!($name $($text)?)),
                                concat!(stringify!($module), "::", stringify!($name)),
                                SpellingKind::$kind,
                                &operators::$op,
                            );
                            &SPELLING
                        };
                    }
                )*
            }
        )*
        /// Every spelling of the vocabulary.
        pub static SPELLINGS: &[&Spelling] = &[$($(<$module::$name as Spelled>::SPELLING),*),*];
    };
}

operators! {
    /// 1-D convolution.
    conv1d: Root 1 ["Conv"] = nn::Conv1d;
    /// 2-D convolution.
    conv2d: Root 2 ["Conv"] = nn::Conv2d;
    /// 3-D convolution.
    conv3d: Root 3 ["Conv"] = nn::Conv3d;
    /// Transposed 1-D convolution.
    conv_transpose1d: Root 1 ["ConvTranspose"] = nn::ConvTranspose1d;
    /// Transposed 2-D convolution.
    conv_transpose2d: Root 2 ["ConvTranspose"] = nn::ConvTranspose2d;
    /// Transposed 3-D convolution.
    conv_transpose3d: Root 3 ["ConvTranspose"] = nn::ConvTranspose3d;
    /// `y = x W^T + b`.
    linear: Root 0 ["Gemm", "MatMul"] = nn::Linear;
    /// Batch normalization over `[N, C]` or `[N, C, L]`.
    bn1d: Norm 1 ["BatchNormalization"] = nn::BatchNorm1d;
    /// Batch normalization over `[N, C, H, W]`.
    bn2d: Norm 2 ["BatchNormalization"] = nn::BatchNorm2d;
    /// Batch normalization over `[N, C, D, H, W]`.
    bn3d: Norm 3 ["BatchNormalization"] = nn::BatchNorm3d;
    /// Addition.
    add: Root 0 ["Add"] = torch::add;
    /// Multiplication.
    mul: Root 0 ["Mul"] = torch::mul;
    /// Subtraction.
    sub: Root 0 ["Sub"] = torch::sub;
    /// Division.
    div: Alone 0 ["Div"] = torch::div;
    /// Powers.
    pow: Alone 0 ["Pow"] = torch::pow;
    /// The smaller of two values.
    minimum: Alone 0 ["Min"] = torch::minimum;
    /// The greater of two values.
    maximum: Alone 0 ["Max"] = torch::maximum;
    /// `a < b`.
    lt: Alone 0 ["Less"] = torch::lt;
    /// `a <= b`.
    le: Alone 0 ["LessOrEqual"] = torch::le;
    /// `a > b`.
    gt: Alone 0 ["Greater"] = torch::gt;
    /// `a >= b`.
    ge: Alone 0 ["GreaterOrEqual"] = torch::ge;
    /// `a == b`.
    eq: Alone 0 ["Equal"] = torch::eq;
    /// One of two values by a condition.
    where_: Alone 0 ["Where"] = torch::where_;
    /// Matrix product of two activations.
    matmul: Root 0 ["MatMul"] = torch::matmul;
    /// `beta C + alpha A B`.
    addmm: Root 0 ["Gemm"] = torch::addmm;
    /// A convolution of any rank, as exported graphs have it.
    convolution: Root 0 ["Conv"] = aten::convolution;
    /// One of several outputs.
    getitem: Alone 0 [] = operator::getitem;
    /// The largest value of a window, and where it stands.
    max_pool2d_with_indices: Alone 2 [] = aten::max_pool2d_with_indices;
    /// Concatenation.
    cat: Alone 0 ["Concat"] = torch::cat;
    /// Stacking along a new axis.
    stack: Alone 0 [] = torch::stack;
    /// `max(x, 0)`.
    relu: Activation 0 ["Relu"] = nn::ReLU;
    /// `min(max(x, 0), 6)`.
    relu6: Activation 0 ["Clip"] = nn::ReLU6;
    /// `min(max(x, min), max)`.
    hardtanh: Activation 0 ["Clip"] = nn::Hardtanh;
    /// `min(max(x, min), max)`.
    clamp: Activation 0 ["Clip"] = torch::clamp;
    /// Exponential linear unit.
    elu: Activation 0 ["Elu"] = nn::ELU;
    /// Leaky ReLU.
    leaky_relu: Activation 0 ["LeakyRelu"] = nn::LeakyReLU;
    /// ReLU with a learned slope.
    prelu: Activation 0 ["PRelu"] = nn::PReLU;
    /// `x * relu6(x + 3) / 6`.
    hardswish: Activation 0 ["HardSwish"] = nn::Hardswish;
    /// `relu6(x + 3) / 6`.
    hardsigmoid: Activation 0 ["HardSigmoid"] = nn::Hardsigmoid;
    /// `1 / (1 + exp(-x))`.
    sigmoid: Activation 0 ["Sigmoid"] = nn::Sigmoid;
    /// Gaussian error linear unit.
    gelu: Activation 0 ["Gelu"] = nn::GELU;
    /// Hyperbolic tangent.
    tanh: Activation 0 ["Tanh"] = nn::Tanh;
    /// `x * sigmoid(x)`.
    silu: Alone 0 [] = nn::SiLU;
    /// `x * tanh(softplus(x))`.
    mish: Alone 0 ["Mish"] = nn::Mish;
    /// `log(1 + exp(x))`.
    softplus: Alone 0 ["Softplus"] = nn::Softplus;
    /// `x / (1 + |x|)`.
    softsign: Alone 0 ["Softsign"] = nn::Softsign;
    /// `exp(x)`.
    exp: Alone 0 ["Exp"] = torch::exp;
    /// The natural logarithm.
    log: Alone 0 ["Log"] = torch::log;
    /// The square root.
    sqrt: Alone 0 ["Sqrt"] = torch::sqrt;
    /// `1 / sqrt(x)`.
    rsqrt: Alone 0 [] = torch::rsqrt;
    /// `1 / x`.
    reciprocal: Alone 0 ["Reciprocal"] = torch::reciprocal;
    /// `-x`.
    neg: Alone 0 ["Neg"] = torch::neg;
    /// `|x|`.
    abs: Alone 0 ["Abs"] = torch::abs;
    /// -1, 0 or 1.
    sign: Alone 0 ["Sign"] = torch::sign;
    /// The error function.
    erf: Alone 0 ["Erf"] = torch::erf;
    /// The largest integer not above.
    floor: Alone 0 ["Floor"] = torch::floor;
    /// The smallest integer not below.
    ceil: Alone 0 ["Ceil"] = torch::ceil;
    /// The nearest integer.
    round: Alone 0 ["Round"] = torch::round;
    /// Sine.
    sin: Alone 0 ["Sin"] = torch::sin;
    /// Cosine.
    cos: Alone 0 ["Cos"] = torch::cos;
    /// Tangent.
    tan: Alone 0 ["Tan"] = torch::tan;
    /// Inverse sine.
    asin: Alone 0 ["Asin"] = torch::asin;
    /// Inverse cosine.
    acos: Alone 0 ["Acos"] = torch::acos;
    /// Inverse tangent.
    atan: Alone 0 ["Atan"] = torch::atan;
    /// Hyperbolic sine.
    sinh: Alone 0 ["Sinh"] = torch::sinh;
    /// Hyperbolic cosine.
    cosh: Alone 0 ["Cosh"] = torch::cosh;
    /// Inverse hyperbolic sine.
    asinh: Alone 0 ["Asinh"] = torch::asinh;
    /// Inverse hyperbolic cosine.
    acosh: Alone 0 ["Acosh"] = torch::acosh;
    /// Inverse hyperbolic tangent.
    atanh: Alone 0 ["Atanh"] = torch::atanh;
    /// Softmax.
    softmax: Alone 0 ["Softmax"] = nn::Softmax;
    /// Dropout, the identity at inference.
    dropout: Activation 0 ["Dropout"] = nn::Dropout;
    /// The identity.
    identity: Alone 0 ["Identity"] = nn::Identity;
    /// Instance normalization, 1-D.
    instance_norm1d: Alone 1 ["InstanceNormalization"] = nn::InstanceNorm1d;
    /// Instance normalization, 2-D.
    instance_norm2d: Alone 2 ["InstanceNormalization"] = nn::InstanceNorm2d;
    /// Instance normalization, 3-D.
    instance_norm3d: Alone 3 ["InstanceNormalization"] = nn::InstanceNorm3d;
    /// Instance normalization of any rank.
    instance_norm: Alone 0 ["InstanceNormalization"] = F::instance_norm;
    /// Group normalization.
    group_norm: Alone 0 ["GroupNormalization"] = F::group_norm;
    /// Layer normalization.
    layer_norm: Alone 0 ["LayerNormalization"] = nn::LayerNorm;
    /// Average pooling to a given size, 1-D.
    adaptive_avg_pool1d: Alone 1 ["GlobalAveragePool"] = nn::AdaptiveAvgPool1d;
    /// Average pooling to a given size, 2-D.
    adaptive_avg_pool2d: Alone 2 ["GlobalAveragePool"] = nn::AdaptiveAvgPool2d;
    /// Average pooling to a given size, 3-D.
    adaptive_avg_pool3d: Alone 3 ["GlobalAveragePool"] = nn::AdaptiveAvgPool3d;
    /// Average pooling, 1-D.
    avg_pool1d: Alone 1 ["AveragePool"] = nn::AvgPool1d;
    /// Average pooling, 2-D.
    avg_pool2d: Alone 2 ["AveragePool"] = nn::AvgPool2d;
    /// Average pooling, 3-D.
    avg_pool3d: Alone 3 ["AveragePool"] = nn::AvgPool3d;
    /// Max pooling, 1-D.
    max_pool1d: Alone 1 ["MaxPool"] = nn::MaxPool1d;
    /// Max pooling, 2-D.
    max_pool2d: Alone 2 ["MaxPool"] = nn::MaxPool2d;
    /// Max pooling, 3-D.
    max_pool3d: Alone 3 ["MaxPool"] = nn::MaxPool3d;
    /// Mean over axes.
    mean: Alone 0 ["ReduceMean"] = torch::mean;
    /// Sum over axes.
    sum: Alone 0 ["ReduceSum"] = torch::sum;
    /// Product over axes.
    prod: Alone 0 ["ReduceProd"] = torch::prod;
    /// Minimum over axes.
    amin: Alone 0 ["ReduceMin"] = torch::amin;
    /// Maximum over axes.
    amax: Alone 0 ["ReduceMax"] = torch::amax;
    /// More elements around a tensor.
    pad: Alone 0 ["Pad"] = F::pad;
    /// More elements of one value around an image.
    constant_pad2d: Alone 2 [] = nn::ConstantPad2d;
    /// Positions of a dimension.
    index_select: Alone 0 ["Gather"] = torch::index_select;
    /// Integers to floats.
    float: Alone 0 ["Cast"] = method::float;
    /// Resizing.
    interpolate: Alone 0 ["Resize"] = F::interpolate;
    /// Depth to space.
    pixel_shuffle: Alone 0 ["DepthToSpace"] = nn::PixelShuffle;
    /// Space to depth.
    pixel_unshuffle: Alone 0 ["SpaceToDepth"] = nn::PixelUnshuffle;
    /// Merging dimensions.
    flatten: Alone 0 ["Flatten"] = torch::flatten;
    /// Another shape, same elements.
    reshape: Alone 0 ["Reshape"] = method::reshape;
    /// Another shape, same memory.
    view: Alone 0 ["Reshape"] = method::view;
    /// The lengths of a tensor: no tensor itself.
    size: Alone 0 ["Shape"] = method::size;
    /// The lengths of a tensor, as an attribute.
    shape: Alone 0 ["Shape"] = method::shape;
    /// In-place resizing.
    resize: Alone 0 [] = method::resize_;
    /// Swapping two dimensions.
    transpose: Alone 0 ["Transpose"] = torch::transpose;
    /// Reordering dimensions.
    permute: Alone 0 ["Transpose"] = method::permute;
    /// Dropping dimensions of size 1.
    squeeze: Alone 0 ["Squeeze"] = torch::squeeze;
    /// Adding a dimension of size 1.
    unsqueeze: Alone 0 ["Unsqueeze"] = torch::unsqueeze;
    /// A range of a dimension.
    narrow: Alone 0 ["Slice"] = torch::narrow;
    /// Tiling.
    repeat: Alone 0 ["Tile"] = method::repeat;
    /// Repeating elements.
    repeat_interleave: Alone 0 [] = torch::repeat_interleave;
    /// Making memory contiguous.
    contiguous: Alone 0 [] = method::contiguous;
    /// Leaving the autograd graph.
    detach: Alone 0 [] = method::detach;
    /// Integer division.
    floordiv: Alone 0 [] = operator::floordiv;
    /// Long short-term memory.
    lstm: Alone 0 ["LSTM"] = nn::LSTM;
    /// Gated recurrent unit.
    gru: Alone 0 ["GRU"] = nn::GRU;
    /// A plain recurrent network.
    rnn: Alone 0 ["RNN"] = nn::RNN;
    /// One step of an LSTM.
    lstm_cell: Alone 0 [] = nn::LSTMCell;
    /// One step of a GRU.
    gru_cell: Alone 0 [] = nn::GRUCell;
    /// One step of a plain recurrent network.
    rnn_cell: Alone 0 [] = nn::RNNCell;
    /// Rows of a table.
    embedding: Alone 0 ["Gather"] = nn::Embedding;
    /// Sums of rows of a table.
    embedding_bag: Alone 0 [] = nn::EmbeddingBag;
}

spellings! {
    /// `torch.nn`
    nn "torch.nn." Module {
        Conv1d: conv1d, Conv2d: conv2d, Conv3d: conv3d,
        ConvTranspose1d: conv_transpose1d, ConvTranspose2d: conv_transpose2d, ConvTranspose3d: conv_transpose3d,
        Linear: linear, BatchNorm1d: bn1d, BatchNorm2d: bn2d, BatchNorm3d: bn3d,
        ReLU: relu, ReLU6: relu6, Hardtanh: hardtanh, ELU: elu, LeakyReLU: leaky_relu, PReLU: prelu,
        Hardswish: hardswish, Hardsigmoid: hardsigmoid, Sigmoid: sigmoid, Tanh: tanh, Softmax: softmax,
        GELU: gelu, Dropout: dropout, Identity: identity,
        InstanceNorm1d: instance_norm1d, InstanceNorm2d: instance_norm2d, InstanceNorm3d: instance_norm3d,
        LayerNorm: layer_norm,
        AdaptiveAvgPool1d: adaptive_avg_pool1d, AdaptiveAvgPool2d: adaptive_avg_pool2d,
        AdaptiveAvgPool3d: adaptive_avg_pool3d,
        AvgPool1d: avg_pool1d, AvgPool2d: avg_pool2d, AvgPool3d: avg_pool3d,
        MaxPool1d: max_pool1d, MaxPool2d: max_pool2d, MaxPool3d: max_pool3d,
        PixelShuffle: pixel_shuffle, PixelUnshuffle: pixel_unshuffle,
        LSTM: lstm, GRU: gru, LSTMCell: lstm_cell, GRUCell: gru_cell, RNNCell: rnn_cell,
        Embedding: embedding, EmbeddingBag: embedding_bag,
        SiLU: silu, Mish: mish, Softplus: softplus, Softsign: softsign, RNN: rnn,
        Flatten: flatten, ConstantPad2d: constant_pad2d,
    }
    /// `torch.nn.functional`
    F "torch.nn.functional." Functional {
        conv1d: conv1d, conv2d: conv2d, conv3d: conv3d,
        conv_transpose1d: conv_transpose1d, conv_transpose2d: conv_transpose2d, conv_transpose3d: conv_transpose3d,
        linear: linear, relu: relu, relu6: relu6, hardtanh: hardtanh, hardtanh_: hardtanh,
        elu: elu, leaky_relu: leaky_relu, hardswish: hardswish, hardsigmoid: hardsigmoid, gelu: gelu, dropout: dropout,
        instance_norm: instance_norm, group_norm: group_norm, layer_norm: layer_norm,
        adaptive_avg_pool1d: adaptive_avg_pool1d,
        adaptive_avg_pool2d: adaptive_avg_pool2d, adaptive_avg_pool3d: adaptive_avg_pool3d,
        avg_pool1d: avg_pool1d, avg_pool2d: avg_pool2d, avg_pool3d: avg_pool3d,
        max_pool1d: max_pool1d, max_pool2d: max_pool2d, max_pool3d: max_pool3d,
        interpolate: interpolate, pixel_shuffle: pixel_shuffle, pixel_unshuffle: pixel_unshuffle,
        silu: silu, mish: mish, softplus: softplus, softsign: softsign, pad: pad,
        leaky_relu_: leaky_relu, embedding: embedding,
    }
    /// `torch`
    torch "torch." Function {
        add: add, mul: mul, matmul: matmul, addmm: addmm, cat: cat, concat: cat, concatenate: cat, stack: stack, relu: relu, clamp: clamp,
        sigmoid: sigmoid, tanh: tanh,
        adaptive_avg_pool1d: adaptive_avg_pool1d, avg_pool1d: avg_pool1d,
        mean: mean, flatten: flatten, narrow: narrow, repeat_interleave: repeat_interleave,
        transpose: transpose, squeeze: squeeze, unsqueeze: unsqueeze,
        permute: permute, permute_copy: permute,
        where_ as "where": where_,
        sub: sub, div: div, pow: pow, minimum: minimum, maximum: maximum, lt: lt, le: le, gt: gt, ge: ge, eq: eq, sum: sum, prod: prod, amin: amin, amax: amax, index_select: index_select,
        exp: exp, log: log, sqrt: sqrt, rsqrt: rsqrt, reciprocal: reciprocal, neg: neg, abs: abs, sign: sign, erf: erf, floor: floor, ceil: ceil, round: round, sin: sin, cos: cos, tan: tan, asin: asin, acos: acos, atan: atan, sinh: sinh, cosh: cosh, asinh: asinh, acosh: acosh, atanh: atanh,
    }
    /// Python's `operator`
    operator "operator." Operator { add: add, mul: mul, floordiv: floordiv, sub: sub, truediv: div, pow: pow, neg: neg, getitem: getitem }
    /// Tensor methods
    method "" Method {
        relu: relu, relu_: relu, clamp: clamp, contiguous: contiguous, detach: detach, detach_: detach,
        mean: mean, permute: permute, repeat: repeat, repeat_interleave: repeat_interleave,
        reshape: reshape, resize_: resize, squeeze: squeeze, squeeze_: squeeze, transpose: transpose,
        unsqueeze: unsqueeze, unsqueeze_: unsqueeze, view: view,
        hardsigmoid: hardsigmoid, hardsigmoid_: hardsigmoid, sigmoid: sigmoid, sigmoid_: sigmoid,
        tanh: tanh, tanh_: tanh, float: float, leaky_relu: leaky_relu, size: size, shape: shape,
    }
    /// `torch.ops.aten`: operators of exported graphs; the overload is PyTorch's default one
    aten "torch.ops.aten." Aten {
        addmm as "addmm.default": addmm, mm as "mm.default": matmul,
        convolution as "convolution.default": convolution,
        relu as "relu.default": relu, relu_ as "relu_.default": relu,
        add as "add.Tensor": add, add_ as "add_.Tensor": add,
        max_pool2d_with_indices as "max_pool2d_with_indices.default": max_pool2d_with_indices,
    }
    /// `torch.ao.nn.intrinsic`: fused float modules
    nni "torch.ao.nn.intrinsic." Fused {
        ConvReLU1d: conv1d, ConvReLU2d: conv2d, ConvReLU3d: conv3d,
        ConvBn1d: conv1d, ConvBn2d: conv2d, ConvBn3d: conv3d,
        ConvBnReLU1d: conv1d, ConvBnReLU2d: conv2d, ConvBnReLU3d: conv3d,
        LinearReLU: linear, LinearBn1d: linear, BNReLU2d: bn2d, BNReLU3d: bn3d,
        ConvAdd2d: conv2d, ConvAddReLU2d: conv2d, LinearLeakyReLU: linear, LinearTanh: linear,
    }
    /// `torch.ao.nn.qat`
    nnqat "torch.ao.nn.qat." Qat {
        Conv1d: conv1d, Conv2d: conv2d, Conv3d: conv3d, Linear: linear,
        Embedding: embedding, EmbeddingBag: embedding_bag,
    }
    /// `torch.ao.nn.intrinsic.qat`
    nniqat "torch.ao.nn.intrinsic.qat." FusedQat {
        ConvReLU1d: conv1d, ConvReLU2d: conv2d, ConvReLU3d: conv3d,
        ConvBn1d: conv1d, ConvBn2d: conv2d, ConvBn3d: conv3d,
        ConvBnReLU1d: conv1d, ConvBnReLU2d: conv2d, ConvBnReLU3d: conv3d,
        LinearReLU: linear, LinearBn1d: linear,
    }
    /// `torch.ao.nn.quantized.reference`
    nnqr "torch.ao.nn.quantized.reference." Reference {
        Conv1d: conv1d, Conv2d: conv2d, Conv3d: conv3d,
        ConvTranspose1d: conv_transpose1d, ConvTranspose2d: conv_transpose2d, ConvTranspose3d: conv_transpose3d,
        Linear: linear, LSTM: lstm, GRU: gru, LSTMCell: lstm_cell, GRUCell: gru_cell, RNNCell: rnn_cell,
        Embedding: embedding, EmbeddingBag: embedding_bag,
    }
}
