qconfig::backend_config! {
    /// Imported from PyTorch: 194 patterns, 227 pairs of pattern and dtype config.
    pub backend NATIVE = "native";

    config weighted_quint8      { input: quint8, output: quint8, weight: qint8, bias: f32 }
    dynamic config dynamic_int8 { input: quint8, output: f32, weight: qint8, bias: f32 }
    dynamic config dynamic_f16  { input: f16, output: f32, weight: f16, bias: f32 }
    config default_quint8       { input: quint8, output: quint8 }
    #[allow(deprecated)] // `f32` weight with quantized `input` is never matched by a kernel
    config weighted_quint8_f32  { input: quint8, output: quint8, weight: f32, bias: f32 }
    config weight_only_quint8   { input: f32, output: f32, weight: quint8 }
    config weight_only_quint4x2 { input: f32, output: f32, weight: quint4x2 }

    list dynamic = [dynamic_int8, dynamic_f16];

    group conv: weighted_quint8 { kernel none; }
    group linear: [weighted_quint8, dynamic..] { kernel none; }
    group binary: default_quint8 { kernel none; }
    group cat: default_quint8 { kernel none; }
    group default_ops: default_quint8 { kernel none; }
    group fixed_qparams: default_quint8 { kernel none; }
    group share_qparams: default_quint8 { kernel none; }
    group tensor_info: default_quint8 { kernel none; }
    group bn: default_quint8 { kernel none; }
    group layer_norm: weighted_quint8_f32 { kernel none; }
    group rnn: dynamic { kernel none; }
    group embedding: [weight_only_quint8, weight_only_quint4x2] { kernel none; }
}
