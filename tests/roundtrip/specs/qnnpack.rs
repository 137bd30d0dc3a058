qconfig::backend_config! {
    /// Imported from PyTorch: 190 patterns, 404 pairs of pattern and dtype config.
    pub backend QNNPACK = "qnnpack";

    dtype act_qint8 = qint8 { scale >= 2^-12 };
    dtype wt_qint8  = qint8 { quant in -127..=127, scale >= 2^-12 };

    config weighted_qint8       { input: act_qint8, output: act_qint8, weight: wt_qint8, bias: f32 }
    config weighted_quint8      { input: quint8, output: quint8, weight: qint8, bias: f32 }
    dynamic config dynamic_int8 { input: quint8, output: f32, weight: qint8, bias: f32 }
    dynamic config dynamic_f16  { input: f16, output: f32, weight: f16, bias: f32 }
    config default_qint8        { input: act_qint8, output: act_qint8 }
    config default_quint8       { input: quint8, output: quint8 }
    config weight_only_quint8   { input: f32, output: f32, weight: quint8 }
    config weight_only_quint4x2 { input: f32, output: f32, weight: quint4x2 }

    list weighted = [weighted_qint8, weighted_quint8];
    list default  = [default_qint8, default_quint8];
    list dynamic  = [dynamic_int8, dynamic_f16];

    group conv: weighted { kernel none; }
    group linear: [weighted.., dynamic..] { kernel none; }
    group binary: default { kernel none; }
    group cat: default { kernel none; }
    group default_ops: default { kernel none; }
    group fixed_qparams: default { kernel none; }
    group share_qparams: default { kernel none; }
    group bn: default { kernel none; }
    group rnn: dynamic { kernel none; }
    group embedding: [weight_only_quint8, weight_only_quint4x2] { kernel none; }
}
