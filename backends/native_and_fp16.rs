//! PyTorch's native backends with operators on `float16`, which it keeps for tests.

crate::backend_config! {
    /// `_native_and_fp16`: [`NATIVE`](crate::NATIVE), and `float16` in and out. PyTorch has only reference modules for
    /// those, no engine computes them, and there is no kernel for them here.
    pub backend NATIVE_AND_FP16 = "_native_and_fp16";

    use kernels standard;

    config weighted_quint8      { input: quint8, output: quint8, weight: qint8, bias: f32 }
    config default_quint8       { input: quint8, output: quint8 }
    config default_f16          { input: f16, output: f16, weight: f16, bias: f16 }
    dynamic config dynamic_int8 { input: quint8, output: f32, weight: qint8, bias: f32 }
    dynamic config dynamic_f16  { input: f16, output: f32, weight: f16, bias: f32 }
    config weight_only_quint8   { input: f32, output: f32, weight: quint8 }
    config weight_only_quint4x2 { input: f32, output: f32, weight: quint4x2 }
    #[allow(deprecated)] // layer normalization takes its weight as it is
    config activation_quint8    { input: quint8, output: quint8, weight: f32, bias: f32 }

    list default = [default_quint8, default_f16];
    list dynamic = [dynamic_int8, dynamic_f16];

    group conv: weighted_quint8;
    group linear: [weighted_quint8, dynamic.., default_f16] {
        kernel default_f16 none;
        kernel dynamic_int8 => crate::kernels::Q8LinearDynamic;
        kernel dynamic_f16  => crate::kernels::F16LinearDynamic;
    }
    group binary: default { kernel default_f16 none; }
    group cat: default_quint8;
    group default_ops: default_quint8;
    group fixed_qparams: default { kernel default_f16 none; }
    group share_qparams: default { kernel default_f16 none; }
    group tensor_info: default_quint8;
    group bn: default_quint8;
    group layer_norm: activation_quint8;
    group rnn: dynamic { kernel dynamic_f16 => crate::kernels::F16Recurrent; }
    group embedding: [weight_only_quint8, weight_only_quint4x2];
}
