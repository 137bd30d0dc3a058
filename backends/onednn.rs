//! PyTorch's oneDNN engine: servers, with sums fused into convolutions.

crate::backend_config! {
    /// PyTorch's native oneDNN backend.
    pub backend ONEDNN = "onednn";

    use kernels standard;
    use kernels fbgemm;

    config weighted_quint8      { input: quint8, output: quint8, weight: qint8, bias: f32 }
    config default_quint8       { input: quint8, output: quint8 }
    dynamic config dynamic_int8 { input: quint8, output: f32, weight: qint8, bias: f32 }
    config weight_only_qint8    { input: f32, output: f32, weight: qint8 }
    #[allow(deprecated)] // layer normalization takes its weight as it is
    config activation_quint8    { input: quint8, output: quint8, weight: f32, bias: f32 }

    list linear_configs = [weighted_quint8, dynamic_int8];

    group conv: weighted_quint8;
    // a sum in a convolution's last step: here the sum is a kernel of its own, which these patterns leave free
    pattern {torch::add | operator::add}(nn::Conv2d + nn::BatchNorm2d, _): weighted_quint8 {
        fuser: conv_bn_add; fused: nni::ConvAdd2d; root_node: [0, 0]; extra_inputs: [[1]]; kernel none;
    }
    pattern {torch::add | operator::add}(nn::Conv2d, _): weighted_quint8 {
        fuser: conv_add; fused: nni::ConvAdd2d; root_node: [0]; extra_inputs: [[1]]; kernel none;
    }
    pattern {torch::add | operator::add}(_, nn::Conv2d + nn::BatchNorm2d): weighted_quint8 {
        fuser: conv_bn_add; fused: nni::ConvAdd2d; root_node: [1, 0]; extra_inputs: [[0]]; kernel none;
    }
    pattern {torch::add | operator::add}(_, nn::Conv2d): weighted_quint8 {
        fuser: conv_add; fused: nni::ConvAdd2d; root_node: [1]; extra_inputs: [[0]]; kernel none;
    }
    pattern nni::ConvAdd2d: weighted_quint8 { root: nn::Conv2d; reference: nnqr::Conv2d; kernel none; }
    pattern nn::ReLU({torch::add | operator::add}(nn::Conv2d + nn::BatchNorm2d, _)): weighted_quint8 {
        fuser: conv_bn_add_relu; fused: nni::ConvAddReLU2d; root_node: [0, 0, 0]; extra_inputs: [[0, 1]];
        kernel none;
    }
    pattern nn::ReLU({torch::add | operator::add}(nn::Conv2d, _)): weighted_quint8 {
        fuser: conv_add_relu; fused: nni::ConvAddReLU2d; root_node: [0, 0]; extra_inputs: [[0, 1]];
        kernel none;
    }
    pattern nn::ReLU({torch::add | operator::add}(_, nn::Conv2d + nn::BatchNorm2d)): weighted_quint8 {
        fuser: conv_bn_add_relu; fused: nni::ConvAddReLU2d; root_node: [0, 1, 0]; extra_inputs: [[0, 0]];
        kernel none;
    }
    pattern nn::ReLU({torch::add | operator::add}(_, nn::Conv2d)): weighted_quint8 {
        fuser: conv_add_relu; fused: nni::ConvAddReLU2d; root_node: [0, 1]; extra_inputs: [[0, 0]];
        kernel none;
    }
    pattern nni::ConvAddReLU2d: weighted_quint8 { root: nn::Conv2d; reference: nnqr::Conv2d; kernel none; }

    group linear: linear_configs { kernel dynamic_int8 => crate::kernels::fbgemm::Q8LinearDynamic; }
    pattern nn::Linear + {nn::LeakyReLU | F::leaky_relu}: linear_configs {
        fuser: sequential; fused: nni::LinearLeakyReLU; kernel none;
    }
    pattern nni::LinearLeakyReLU: linear_configs { root: nn::Linear; reference: nnqr::Linear; kernel none; }
    pattern F::linear + {nn::LeakyReLU | F::leaky_relu}: linear_configs { kernel none; }
    pattern nn::Linear + nn::BatchNorm1d + nn::LeakyReLU: linear_configs {
        fuser: linear_bn_leaky_relu; fused: nni::LinearLeakyReLU; kernel none;
    }
    pattern nn::Linear + {nn::Tanh | torch::tanh}: linear_configs {
        fuser: sequential; fused: nni::LinearTanh; kernel none;
    }
    pattern nni::LinearTanh: linear_configs { root: nn::Linear; reference: nnqr::Linear; kernel none; }
    pattern F::linear + {nn::Tanh | torch::tanh}: linear_configs { kernel none; }

    group binary: default_quint8;
    group cat: default_quint8;
    group default_ops: default_quint8;
    group fixed_qparams: default_quint8;
    group share_qparams: default_quint8;
    group bn: default_quint8;
    group layer_norm: activation_quint8;
    group rnn: dynamic_int8;
    // no engine of PyTorch's has rows of qint8
    group embedding: weight_only_qint8 { kernel none; }
}
