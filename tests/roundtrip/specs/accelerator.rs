qconfig::backend_config! {
    /// Imported from PyTorch: 141 patterns, 228 pairs of pattern and dtype config.
    pub backend ACCELERATOR = "accelerator";

    config weighted_quint8      { input: quint8, output: quint8, weight: qint8, bias: f32 }
    config weighted_qint8       { input: qint8, output: qint8, weight: qint8, bias: f32 }
    dynamic config dynamic_int8 { input: quint8, output: f32, weight: qint8, bias: f32 }
    dynamic config dynamic_f16  { input: f16, output: f32, weight: f16, bias: f32 }
    config default_quint8       { input: quint8, output: quint8 }

    list weighted = [weighted_quint8, weighted_qint8];

    group conv: weighted { kernel none; }
    remove pattern nn::Conv3d | F::conv3d;
    override pattern nn::Conv2d: weighted_quint8 { root: nn::Conv2d; kernel none; }
    group linear: [weighted.., dynamic_int8, dynamic_f16] { kernel none; }
    remove pattern nn::Linear;
    group binary: default_quint8 { kernel none; }
    group share_qparams: default_quint8 { kernel none; }
    remove pattern nn::Identity | method::detach_;
    override pattern nn::MaxPool2d: default_quint8 { kernel none; }
    pattern nn::Linear: dynamic_int8 {
        root: nn::Linear; qat: nnqat::Linear; reference: nnqr::Linear; kernel none;
    }
}
