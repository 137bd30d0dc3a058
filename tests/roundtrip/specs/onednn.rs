qconfig::backend_config! {
    /// Imported from PyTorch: 221 patterns, 244 pairs of pattern and dtype config.
    pub backend ONEDNN = "onednn";

    config weighted_quint8      { input: quint8, output: quint8, weight: qint8, bias: f32 }
    dynamic config dynamic_int8 { input: quint8, output: f32, weight: qint8, bias: f32 }
    config default_quint8       { input: quint8, output: quint8 }
    #[allow(deprecated)] // `f32` weight with quantized `input` is never matched by a kernel
    config weighted_quint8_f32  { input: quint8, output: quint8, weight: f32, bias: f32 }
    config weight_only_qint8    { input: f32, output: f32, weight: qint8 }

    list linear_configs = [weighted_quint8, dynamic_int8];

    group conv: weighted_quint8 { kernel none; }
    pattern torch::add(nn::Conv2d + nn::BatchNorm2d, _)
        | operator::add(nn::Conv2d + nn::BatchNorm2d, _): weighted_quint8
    {
        fused: nni::ConvAdd2d; fuser: conv_bn_add; root_node: [0, 0]; extra_inputs: [[1]]; kernel none;
    }
    pattern torch::add(nn::Conv2d, _) | operator::add(nn::Conv2d, _): weighted_quint8 {
        fused: nni::ConvAdd2d; fuser: conv_add; root_node: [0]; extra_inputs: [[1]]; kernel none;
    }
    pattern torch::add(_, nn::Conv2d + nn::BatchNorm2d)
        | operator::add(_, nn::Conv2d + nn::BatchNorm2d): weighted_quint8
    {
        fused: nni::ConvAdd2d; fuser: conv_bn_add; root_node: [1, 0]; extra_inputs: [[0]]; kernel none;
    }
    pattern torch::add(_, nn::Conv2d) | operator::add(_, nn::Conv2d): weighted_quint8 {
        fused: nni::ConvAdd2d; fuser: conv_add; root_node: [1]; extra_inputs: [[0]]; kernel none;
    }
    pattern nni::ConvAdd2d: weighted_quint8 { root: nn::Conv2d; reference: nnqr::Conv2d; kernel none; }
    pattern nn::ReLU(torch::add(nn::Conv2d + nn::BatchNorm2d, _))
        | nn::ReLU(operator::add(nn::Conv2d + nn::BatchNorm2d, _)): weighted_quint8
    {
        fused: nni::ConvAddReLU2d; fuser: conv_bn_add_relu; root_node: [0, 0, 0]; extra_inputs: [[0, 1]];
        kernel none;
    }
    pattern nn::ReLU(torch::add(nn::Conv2d, _)) | nn::ReLU(operator::add(nn::Conv2d, _)): weighted_quint8 {
        fused: nni::ConvAddReLU2d; fuser: conv_add_relu; root_node: [0, 0]; extra_inputs: [[0, 1]];
        kernel none;
    }
    pattern nn::ReLU(torch::add(_, nn::Conv2d + nn::BatchNorm2d))
        | nn::ReLU(operator::add(_, nn::Conv2d + nn::BatchNorm2d)): weighted_quint8
    {
        fused: nni::ConvAddReLU2d; fuser: conv_bn_add_relu; root_node: [0, 1, 0]; extra_inputs: [[0, 0]];
        kernel none;
    }
    pattern nn::ReLU(torch::add(_, nn::Conv2d)) | nn::ReLU(operator::add(_, nn::Conv2d)): weighted_quint8 {
        fused: nni::ConvAddReLU2d; fuser: conv_add_relu; root_node: [0, 1]; extra_inputs: [[0, 0]];
        kernel none;
    }
    pattern nni::ConvAddReLU2d: weighted_quint8 { root: nn::Conv2d; reference: nnqr::Conv2d; kernel none; }
    group linear: linear_configs { kernel none; }
    pattern nn::Linear + {nn::LeakyReLU | F::leaky_relu}: linear_configs {
        fused: nni::LinearLeakyReLU; fuser: sequential; kernel none;
    }
    pattern nni::LinearLeakyReLU: linear_configs { root: nn::Linear; reference: nnqr::Linear; kernel none; }
    pattern F::linear + {nn::LeakyReLU | F::leaky_relu}: linear_configs { kernel none; }
    pattern nn::Linear + nn::BatchNorm1d + nn::LeakyReLU: linear_configs {
        fused: nni::LinearLeakyReLU; fuser: linear_bn_leaky_relu; kernel none;
    }
    pattern nn::Linear + {nn::Tanh | torch::tanh}: linear_configs {
        fused: nni::LinearTanh; fuser: sequential; kernel none;
    }
    pattern nni::LinearTanh: linear_configs { root: nn::Linear; reference: nnqr::Linear; kernel none; }
    pattern F::linear + {nn::Tanh | torch::tanh}: linear_configs { kernel none; }
    group binary: default_quint8 { kernel none; }
    group cat: default_quint8 { kernel none; }
    group default_ops: default_quint8 { kernel none; }
    group fixed_qparams: default_quint8 { kernel none; }
    group share_qparams: default_quint8 { kernel none; }
    group bn: default_quint8 { kernel none; }
    group layer_norm: weighted_quint8_f32 { kernel none; }
    group rnn: dynamic_int8 { kernel none; }
    group embedding: weight_only_qint8 { kernel none; }
}
