//! The operator groups that PyTorch's own backends are made of, pattern by pattern in its order
//! (`torch/ao/quantization/backend_config/_common_operator_config_utils.py`).
//!
//! A backend says `group conv: weighted;` and gets all of a group with its dtype configs.

qconfig_macros::op_groups! {
    pub groups standard_groups;

    /// A convolution and its fusions.
    template conv_nd {
        // alone
        pattern nn::ConvNd { root: nn::ConvNd; qat: nnqat::ConvNd; reference: nnqr::ConvNd; }
        pattern nnqat::ConvNd { root: nn::ConvNd; reference: nnqr::ConvNd; }
        pattern F::convNd { args { weight: 1, bias: 2 } }
        // with an activation
        pattern nn::ConvNd + {nn::ReLU | F::relu} { fuser: sequential; fused: nni::ConvReLUNd; }
        pattern nni::ConvReLUNd { root: nn::ConvNd; qat: nniqat::ConvReLUNd; reference: nnqr::ConvNd; }
        pattern nniqat::ConvReLUNd { root: nn::ConvNd; reference: nnqr::ConvNd; }
        pattern F::convNd + {nn::ReLU | F::relu};
        // PyTorch sets these two again: the second entry counts, in the place of the first
        override pattern nni::ConvReLUNd { qat: nniqat::ConvReLUNd; }
        override pattern nniqat::ConvReLUNd { root: nn::ConvNd; reference: nnqr::ConvNd; }
        // with batch normalization
        pattern nn::ConvNd + nn::BatchNormNd { fuser: conv_bn; fused: nni::ConvBnNd; }
        pattern nn::ConvNd + nn::BatchNormNd + nn::ReLU { fuser: conv_bn_relu; fused: nni::ConvBnReLUNd; }
        pattern nn::ConvNd + nn::BatchNormNd + F::relu {
            root: nn::ConvNd; fuser: conv_bn_relu; fused: nni::ConvBnReLUNd;
        }
        pattern nni::ConvBnNd { qat: nniqat::ConvBnNd; }
        pattern nni::ConvBnReLUNd { qat: nniqat::ConvBnReLUNd; }
        pattern nniqat::ConvBnNd | nniqat::ConvBnReLUNd { root: nn::ConvNd; reference: nnqr::ConvNd; }
    }

    /// A transposed convolution and its fusion.
    template conv_transpose_nd {
        pattern nn::ConvTransposeNd { root: nn::ConvTransposeNd; reference: nnqr::ConvTransposeNd; }
        pattern nn::ConvTransposeNd + nn::BatchNormNd {
            fuser: conv_transpose_bn; root: nn::ConvTransposeNd; reference: nnqr::ConvTransposeNd;
        }
        pattern F::conv_transposeNd { args { weight: 1, bias: 2 } }
    }

    /// Convolutions of one to three dimensions, their fusions, and transposed ones.
    group conv {
        ranks 1..=3 {
            include conv_nd; include conv_transpose_nd;
        }
    }

    /// Convolutions of images and their fusions alone.
    group conv2d {
        ranks 2..=2 {
            include conv_nd;
        }
    }

    /// Linear layers without what could be fused.
    group linear_alone {
        pattern nn::Linear { root: nn::Linear; qat: nnqat::Linear; reference: nnqr::Linear; }
        pattern nnqat::Linear { root: nn::Linear; reference: nnqr::Linear; }
        pattern F::linear { args { weight: 1, bias: 2 } }
    }

    /// Linear layers and their fusions.
    group linear {
        include linear_alone;
        pattern nn::Linear + {nn::ReLU | F::relu} { fuser: sequential; fused: nni::LinearReLU; }
        pattern nni::LinearReLU { root: nn::Linear; qat: nniqat::LinearReLU; reference: nnqr::Linear; }
        pattern nniqat::LinearReLU { root: nn::Linear; reference: nnqr::Linear; }
        pattern F::linear + {nn::ReLU | F::relu};
        pattern nn::Linear + nn::BatchNorm1d { fuser: linear_bn; fused: nni::LinearBn1d; }
        pattern nni::LinearBn1d { root: nn::Linear; qat: nniqat::LinearBn1d; reference: nnqr::Linear; }
        pattern nniqat::LinearBn1d { root: nn::Linear; reference: nnqr::Linear; }
    }

    /// Addition and multiplication, an activation behind them, and the product of two activations.
    group binary {
        pattern operator::add + {nn::ReLU | F::relu | torch::relu} | operator::add
            | torch::add + {nn::ReLU | F::relu | torch::relu} | torch::add
            | operator::mul + {nn::ReLU | F::relu | torch::relu} | operator::mul
            | torch::mul + {nn::ReLU | F::relu | torch::relu} | torch::mul
        {
            // a tensor and a number: the output can be read off the input
            observe by tensor_args { 0: separate, 1: shared, 2: separate }
        }
        pattern torch::matmul;
    }

    /// Concatenation.
    group cat {
        pattern torch::cat { observe: shared; }
    }

    /// Layer normalization.
    group layer_norm {
        pattern nn::LayerNorm;
        pattern F::layer_norm { args { weight: 2, bias: 3 } }
    }

    /// Activations and normalizations whose output has a range of its own.
    group default_ops {
        pattern nn::ELU | nn::LeakyReLU | nn::Hardswish
            | nn::InstanceNorm1d | nn::InstanceNorm2d | nn::InstanceNorm3d
            | nn::Dropout | nn::PReLU
            | F::elu | F::hardswish | F::leaky_relu | F::dropout;
        pattern F::group_norm { args { weight: 2, bias: 3 } }
        pattern F::instance_norm { args { weight: 3, bias: 4 } }
    }

    /// Activations whose range is known beforehand: 0 to 1, or -1 to 1.
    group fixed_qparams {
        pattern nn::Hardsigmoid | F::hardsigmoid | method::hardsigmoid | method::hardsigmoid_
            | nn::Sigmoid | torch::sigmoid | method::sigmoid | method::sigmoid_ | nn::Softmax
        {
            fix quint8 { quant in 0..=255, scale == 1/256, zero_point == 0 }
        }
        pattern nn::Tanh | torch::tanh | method::tanh | method::tanh_ {
            fix quint8 { quant in 0..=255, scale == 2/256, zero_point == 128 }
        }
    }

    /// Operators whose output has the input's scale and zero point.
    group share_qparams {
        pattern nn::AdaptiveAvgPool1d | nn::AdaptiveAvgPool2d | nn::AdaptiveAvgPool3d
            | nn::AvgPool1d | nn::AvgPool2d | nn::AvgPool3d
            | nn::Hardtanh | nn::Identity
            | nn::MaxPool1d | nn::MaxPool2d | nn::MaxPool3d
            | nn::PixelShuffle | nn::PixelUnshuffle | nn::ReLU | nn::ReLU6
            | F::adaptive_avg_pool1d | F::adaptive_avg_pool2d | F::adaptive_avg_pool3d
            | F::hardtanh | F::hardtanh_ | F::interpolate
            | F::max_pool1d | F::max_pool2d | F::max_pool3d
            | F::pixel_shuffle | F::pixel_unshuffle | F::relu | F::relu6
            | F::avg_pool1d | F::avg_pool2d | F::avg_pool3d
            | torch::clamp | torch::flatten | torch::mean | torch::narrow | torch::repeat_interleave
            | torch::transpose | torch::squeeze | torch::stack | torch::unsqueeze
            | operator::floordiv
            | method::contiguous | method::clamp | method::detach | method::detach_ | method::mean
            | method::permute | method::repeat | method::repeat_interleave | method::reshape
            | method::resize_ | method::relu | method::relu_ | method::squeeze | method::squeeze_
            | method::transpose | method::unsqueeze | method::unsqueeze_ | method::view
        {
            observe: shared;
        }
    }

    /// What tells a tensor's lengths, not a tensor.
    group tensor_info {
        pattern method::shape | method::size { observe: none; }
    }

    /// Batch normalization that no convolution has taken in.
    group bn {
        pattern nn::BatchNorm2d + {nn::ReLU | F::relu} { fuser: sequential; fused: nni::BNReLU2d; }
        pattern nn::BatchNorm2d;
        pattern nn::BatchNorm3d + {nn::ReLU | F::relu} { fuser: sequential; fused: nni::BNReLU3d; }
        pattern nn::BatchNorm3d | nni::BNReLU2d | nni::BNReLU3d;
    }

    /// Recurrent layers and cells.
    group rnn {
        pattern nn::GRUCell { root: nn::GRUCell; reference: nnqr::GRUCell; }
        pattern nn::LSTMCell { root: nn::LSTMCell; reference: nnqr::LSTMCell; }
        pattern nn::RNNCell { root: nn::RNNCell; reference: nnqr::RNNCell; }
        pattern nn::LSTM { root: nn::LSTM; reference: nnqr::LSTM; }
        pattern nn::GRU { root: nn::GRU; reference: nnqr::GRU; }
    }

    /// Tables of rows.
    group embedding {
        pattern nn::Embedding { root: nn::Embedding; qat: nnqat::Embedding; reference: nnqr::Embedding; }
        pattern nnqat::Embedding { root: nn::Embedding; reference: nnqr::Embedding; }
        pattern nn::EmbeddingBag {
            root: nn::EmbeddingBag; qat: nnqat::EmbeddingBag; reference: nnqr::EmbeddingBag;
        }
        pattern nnqat::EmbeddingBag { root: nn::EmbeddingBag; reference: nnqr::EmbeddingBag; }
    }

    /// What computes the standard groups on 8 bits, with the numerics of PyTorch's QNNPACK engine.
    kernels standard {
        kernel for conv1d | conv2d | conv3d | convolution => crate::kernels::Q8Conv;
        kernel for conv_transpose1d | conv_transpose2d | conv_transpose3d => crate::kernels::Q8ConvTranspose;
        kernel for linear | addmm => crate::kernels::Q8Linear;
        kernel for add => crate::kernels::Q8Add;
        kernel for mul => crate::kernels::Q8Mul;
        kernel for matmul => crate::kernels::Q8MatMul;
        kernel for cat | stack => crate::kernels::Q8Cat;
        kernel for elu | leaky_relu | hardswish | sigmoid | hardsigmoid | tanh | floordiv
            => crate::kernels::Q8Lut;
        kernel for relu | relu6 | hardtanh | clamp => crate::kernels::Q8Clamp;
        kernel for prelu => crate::kernels::Q8PRelu;
        kernel for softmax => crate::kernels::Q8Softmax;
        kernel for bn2d | bn3d => crate::kernels::Q8BatchNorm;
        kernel for layer_norm => crate::kernels::Q8LayerNorm;
        kernel for instance_norm1d | instance_norm2d | instance_norm3d | instance_norm | group_norm
            => crate::kernels::Q8GroupNorm;
        kernel for max_pool1d | max_pool2d | max_pool3d | max_pool2d_with_indices
            => crate::kernels::Q8MaxPool;
        kernel for avg_pool1d | avg_pool2d | avg_pool3d => crate::kernels::Q8AvgPool;
        kernel for adaptive_avg_pool1d | adaptive_avg_pool2d | adaptive_avg_pool3d
            => crate::kernels::Q8AdaptiveAvgPool;
        kernel for mean => crate::kernels::Q8Mean;
        kernel for interpolate => crate::kernels::Q8Interpolate;
        kernel for flatten | reshape | view | squeeze | unsqueeze | identity | contiguous | detach | resize | dropout
            => crate::kernels::Reshape;
        kernel for transpose | permute | narrow | repeat | repeat_interleave | pixel_shuffle | pixel_unshuffle
            => crate::kernels::Rearrange;
        kernel for lstm | gru | lstm_cell | gru_cell | rnn_cell => crate::kernels::Q8Recurrent;
        kernel for embedding | embedding_bag => crate::kernels::EmbeddingRowwise;
        // lengths are known when a plan is made: there is nothing to compute
        kernel for shape | size none;
    }

    /// On top of `standard`: what PyTorch's engines fbgemm, x86 and onednn compute by other formulas.
    kernels fbgemm {
        kernel for conv1d | conv2d | conv3d => crate::kernels::fbgemm::Q8Conv;
        kernel for conv_transpose1d | conv_transpose2d | conv_transpose3d
            => crate::kernels::fbgemm::Q8ConvTranspose;
        kernel for linear => crate::kernels::fbgemm::Q8Linear;
        kernel for add => crate::kernels::fbgemm::Q8Add;
        kernel for hardswish | tanh => crate::kernels::fbgemm::Q8Lut;
        kernel for lstm | gru | lstm_cell | gru_cell | rnn_cell => crate::kernels::fbgemm::Q8Recurrent;
    }
}
