qconfig::backend_config! {
    /// Imported from PyTorch: 7 patterns, 9 pairs of pattern and dtype config.
    pub backend NESTED = "nested";

    config weighted_quint8      { input: quint8, output: quint8, weight: qint8, bias: f32 }
    config weighted_qint8       { input: qint8, output: qint8, weight: qint8, bias: f32 }
    dynamic config dynamic_int8 { input: quint8, output: f32, weight: qint8, bias: f32 }
    config default_quint8       { input: quint8, output: quint8 }

    pattern nn::ReLU(operator::add(nn::Conv2d + nn::BatchNorm2d, _)): [weighted_quint8, weighted_qint8] {
        fuser: conv_bn; root_node: [0, 0, 0]; extra_inputs: [[0, 1]]; kernel none;
    }
    pattern F::relu(torch::add(_, nn::Conv2d)): weighted_quint8 {
        fused: nni::ConvReLU2d; root_node: [0, 1]; extra_inputs: [[0, 0]]; kernel none;
    }
    pattern operator::mul(_, nn::Linear + nn::Sigmoid): weighted_quint8 { kernel none; }
    pattern nn::ReLU(torch::cat(_, nn::Linear + nn::Tanh, nn::Linear)): [weighted_quint8, dynamic_int8] {
        kernel none;
    }
    pattern nn::Hardtanh(_) | torch::matmul(torch::transpose(_), _): default_quint8 { kernel none; }
    pattern nn::Conv2d: weighted_quint8 { root: nn::Conv2d; kernel none; }
}
