qconfig::backend_config! {
    /// Imported from PyTorch: 14 patterns, 35 pairs of pattern and dtype config.
    pub backend SEVERAL = "several";

    dtype wt_qint8   = qint8  { quant in -127..=127 };
    dtype act_quint8 = quint8 { quant in 0..=127 };

    config weighted_quint8          { input: quint8, output: quint8, weight: qint8, bias: f32 }
    config weighted_quint8_wt_qint8 { input: quint8, output: quint8, weight: wt_qint8, bias: f32 }
    config weighted_quint8_qint8    { input: quint8, output: quint8, weight: qint8 }
    config weighted_quint8_quint8   { input: quint8, output: quint8, weight: quint8, bias: f32 }
    config weighted_act_quint8      { input: act_quint8, output: act_quint8, weight: qint8, bias: f32 }
    dynamic config dynamic_int8     { input: quint8, output: f32, weight: qint8, bias: f32 }
    dynamic config dynamic_f16      { input: f16, output: f32, weight: f16, bias: f32 }
    config weight_only_quint8       { input: f32, output: f32, weight: quint8 }
    config weight_only_quint4x2     { input: f32, output: f32, weight: quint4x2 }
    config default_quint8           { input: quint8, output: quint8 }

    list weighted = [
        weighted_quint8, weighted_quint8_wt_qint8, weighted_quint8_qint8, weighted_quint8_quint8,
        weighted_act_quint8,
    ];
    list dynamic = [dynamic_int8, dynamic_f16];

    pattern nn::Conv2d: weighted { root: nn::Conv2d; reference: nnqr::Conv2d; kernel none; }
    pattern nn::Conv2d + {nn::ReLU | F::relu}: weighted {
        fused: nni::ConvReLU2d; fuser: sequential; kernel none;
    }
    pattern nn::Linear: [weighted.., dynamic..] { kernel none; }
    pattern nn::LSTM | nn::GRU: dynamic { kernel none; }
    pattern F::linear: weighted_quint8 { args { weight: 1, bias: 2 } kernel none; }
    pattern nn::EmbeddingBag: [weight_only_quint8, weight_only_quint4x2] { kernel none; }
    pattern nn::Embedding: weight_only_quint4x2 { kernel none; }
    pattern torch::add: default_quint8 {
        observe by tensor_args { 0: none, 1: shared, 2: separate }
        kernel none;
    }
    pattern nn::MaxPool2d | nn::AvgPool2d: default_quint8 { observe: shared; kernel none; }
    pattern method::reshape | method::view: default_quint8 { observe: none; kernel none; }
}
