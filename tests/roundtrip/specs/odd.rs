qconfig::backend_config! {
    /// Imported from PyTorch: 5 patterns, 12 pairs of pattern and dtype config.
    pub backend ODD_ONE = "odd \"one\" \\ ä";

    #[allow(deprecated)] // no observer looks at a largest scale
    dtype act_qint8    = qint8    { scale >= 1e-7, scale <= 0.1 };
    dtype act_quint8   = quint8   { quant in 1..=254, scale >= 1/3 };
    dtype wt_qint8     = qint8    { quant in -63..=63 };
    dtype wt_qint8_2   = qint8    { quant in -31..=31 };
    #[allow(deprecated)] // a bound outside `quint4x2` has no effect: it is 0..=15
    dtype wt_quint4x2  = quint4x2 { quant in -127..=127 };
    #[allow(deprecated)] // a scale says nothing of floats
    dtype act_f32      = f32      { scale >= 2^-12 };
    dtype act_quint8_2 = quint8   { quant in 0..=127 };
    #[allow(deprecated)] // no observer looks at a largest scale
    dtype act_qint32   = qint32   { scale <= 3e30 };

    config weighted_qint8           { input: act_qint8, output: act_qint8, weight: act_quint8, bias: f32 }
    config weighted_quint8          { input: act_quint8, output: act_quint8, weight: wt_qint8, bias: bf16 }
    config weighted_act_quint8      { input: act_quint8, output: act_quint8, weight: wt_qint8_2 }
    config weight_only_quint4x2     { input: f32, output: f32, weight: wt_quint4x2 }
    config weight_only_act_f32      { input: act_f32, output: f32, weight: quint4x2 }
    config default_quint8           { input: act_quint8_2, output: act_quint8_2 }
    config default_int8_to_int32    { input: int8, output: int32 }
    config default_bf16             { input: bf16, output: bf16 }
    config default_quint8_to_qint32 { input: quint8, output: act_qint32 }
    config default_quint8_to_f32    { input: act_quint8_2, output: f32 }
    config default_f64              { input: f64, output: f64 }
    config weighted_f16             { input: f16, output: f16, weight: f16, bias: f16 }

    pattern nn::Linear: [weighted_qint8, weighted_quint8, weighted_act_quint8] { kernel none; }
    pattern nn::Embedding: [weight_only_quint4x2, weight_only_act_f32] { observe: none; kernel none; }
    pattern torch::add: [default_quint8, default_int8_to_int32, default_bf16, default_quint8_to_qint32] {
        kernel none;
    }
    pattern torch::sub: [default_quint8_to_f32, default_f64] { kernel none; }
    pattern nn::Conv1d: weighted_f16 { kernel none; }
}
