qconfig::backend_config! {
    /// Imported from PyTorch: 20 patterns, 34 pairs of pattern and dtype config.
    pub backend FIXED = "fixed";

    dtype act_qint8    = qint8  { quant in -127..=127, scale == 1/16, zero_point == 0 };
    dtype act_qint8_2  = qint8  { scale == 1/256, zero_point == -128 };
    dtype act_quint8   = quint8 { quant in 0..=255, scale == 1/256, zero_point == 0 };
    dtype act_quint8_2 = quint8 { scale == 1/256, zero_point == 0 };

    config default_quint8      { input: quint8, output: quint8 }
    config default_qint8       { input: qint8, output: qint8 }
    config default_act_qint8   { input: act_qint8, output: act_qint8 }
    config weighted_qint8      { input: act_qint8, output: act_qint8, weight: qint8, bias: qint32 }
    config default_act_qint8_2 { input: act_qint8_2, output: act_qint8_2 }
    config default_act_quint8  { input: act_quint8, output: act_quint8 }
    config default_quint8_2    { input: quint8, output: act_quint8_2 }

    pattern nn::ReLU: default_quint8 { observe: shared; kernel none; }
    group fixed_qparams: [default_quint8, default_qint8] { kernel none; }
    pattern torch::add | torch::mul: default_act_qint8 { kernel none; }
    pattern nn::Linear: weighted_qint8 { kernel none; }
    pattern nn::GELU: default_act_qint8_2 { kernel none; }
    pattern nn::SiLU: [default_act_quint8, default_act_qint8_2] { kernel none; }
    pattern nn::Softplus: default_quint8_2 { kernel none; }
}
