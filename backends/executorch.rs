//! ExecuTorch with its XNNPACK delegate, once called `qnnpack_executorch`: phones.

crate::backend_config! {
    /// What PyTorch lowers to through the ExecuTorch stack.
    pub backend EXECUTORCH = "executorch";

    use kernels standard;

    // XNNPACK cannot requantize by less than 2^-12, and its symmetric kernels leave out -128
    dtype act_qint8 = qint8 { scale >= 2^-12 };
    dtype wt_qint8  = qint8 { scale >= 2^-12, quant in -127..=127 };

    config weighted_qint8         { input: act_qint8, output: act_qint8, weight: wt_qint8, bias: f32 }
    config weighted_quint8        { input: quint8, output: quint8, weight: qint8, bias: f32 }
    config default_qint8          { input: act_qint8, output: act_qint8 }
    config default_quint8         { input: quint8, output: quint8 }
    dynamic config dynamic_quint8 { input: quint8, output: f32, weight: qint8, bias: f32 }
    dynamic config dynamic_qint8  { input: act_qint8, output: f32, weight: wt_qint8, bias: f32 }
    dynamic config dynamic_f16    { input: f16, output: f32, weight: f16, bias: f32 }
    config weight_only_quint8     { input: f32, output: f32, weight: quint8 }

    list weighted = [weighted_qint8, weighted_quint8];
    list default  = [default_qint8, default_quint8];

    group linear_alone: [weighted.., dynamic_quint8, dynamic_qint8, dynamic_f16] {
        kernel [dynamic_quint8, dynamic_qint8] => crate::kernels::Q8LinearDynamic;
        kernel dynamic_f16                     => crate::kernels::F16LinearDynamic;
    }
    group conv2d: weighted;
    // PyTorch lists a weight for operators that have none
    pattern operator::add + {nn::ReLU | F::relu | torch::relu} | operator::add
        | torch::add + {nn::ReLU | F::relu | torch::relu} | torch::add
        | operator::sub + {nn::ReLU | F::relu | torch::relu} | operator::sub
        | torch::sub + {nn::ReLU | F::relu | torch::relu} | torch::sub
        | operator::mul + {nn::ReLU | F::relu | torch::relu} | operator::mul
        | torch::mul + {nn::ReLU | F::relu | torch::relu} | torch::mul: [default_qint8, weighted_quint8]
    {
        observe by tensor_args { 0: separate, 1: shared, 2: separate }
        kernel for sub none; // no engine of PyTorch's has a quantized subtraction
    }
    pattern nn::Flatten | F::adaptive_avg_pool2d | F::elu | F::hardtanh | F::max_pool2d | F::pad
        | F::relu | F::relu6 | F::leaky_relu | F::leaky_relu_ | nn::AdaptiveAvgPool2d
        | nn::ConstantPad2d | nn::ELU | nn::MaxPool2d | nn::ReLU6 | nn::Hardtanh | nn::LeakyReLU
        | torch::clamp | torch::flatten | torch::mean | torch::permute | torch::permute_copy
        | torch::squeeze | method::clamp | method::mean | method::permute | method::reshape
        | method::relu | method::relu_ | method::squeeze | method::squeeze_ | method::leaky_relu: default
    {
        observe: shared;
        kernel for pad | constant_pad2d none;
    }
    pattern nn::BatchNorm2d: default;
    pattern torch::cat | torch::concat | torch::concatenate: default { observe: shared; }
    pattern nn::Embedding: weight_only_quint8 {
        root: nn::Embedding; qat: nnqat::Embedding; reference: nnqr::Embedding;
    }
    pattern nnqat::Embedding: weight_only_quint8 { root: nn::Embedding; reference: nnqr::Embedding; }
    pattern F::embedding: weight_only_quint8 { args { weight: 1 } }
    pattern nn::EmbeddingBag: weight_only_quint8 {
        root: nn::EmbeddingBag; qat: nnqat::EmbeddingBag; reference: nnqr::EmbeddingBag;
    }
    pattern nnqat::EmbeddingBag: weight_only_quint8 { root: nn::EmbeddingBag; reference: nnqr::EmbeddingBag; }
}
