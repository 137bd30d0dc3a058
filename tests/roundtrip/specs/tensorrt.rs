qconfig::backend_config! {
    /// Imported from PyTorch: 149 patterns, 149 pairs of pattern and dtype config.
    pub backend TENSORRT = "tensorrt";

    config weighted_qint8 { input: qint8, output: qint8, weight: qint8, bias: f32 }
    config default_qint8  { input: qint8, output: qint8 }

    group conv: weighted_qint8 { kernel none; }
    pattern torch::addmm: weighted_qint8 { args { bias: 0, input: 1, weight: 2 } kernel none; }
    group cat: default_qint8 { kernel none; }
    group linear: weighted_qint8 { kernel none; }
    group binary: weighted_qint8 { kernel none; }
    group share_qparams: default_qint8 { kernel none; }
    group tensor_info: default_qint8 { kernel none; }
}
