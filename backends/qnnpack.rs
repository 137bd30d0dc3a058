//! PyTorch's QNNPACK: phones and other small CPUs.

crate::backend_config! {
    /// PyTorch's native QNNPACK backend.
    pub backend QNNPACK = "qnnpack";

    use kernels standard;

    // XNNPACK cannot requantize by less than 2^-12, and its symmetric kernels leave out -128
    dtype act_qint8 = qint8 { scale >= 2^-12 };
    dtype wt_qint8  = qint8 { scale >= 2^-12, quant in -127..=127 };

    config weighted_qint8       { input: act_qint8, output: act_qint8, weight: wt_qint8, bias: f32 }
    config weighted_quint8      { input: quint8, output: quint8, weight: qint8, bias: f32 }
    config default_qint8        { input: act_qint8, output: act_qint8 }
    config default_quint8       { input: quint8, output: quint8 }
    #[allow(unused)] // PyTorch declares it and lists it nowhere
    config default_f16          { input: f16, output: f16, weight: f16, bias: f16 }
    dynamic config dynamic_int8 { input: quint8, output: f32, weight: qint8, bias: f32 }
    dynamic config dynamic_f16  { input: f16, output: f32, weight: f16, bias: f32 }
    config weight_only_quint8   { input: f32, output: f32, weight: quint8 }
    config weight_only_quint4x2 { input: f32, output: f32, weight: quint4x2 }

    list weighted = [weighted_qint8, weighted_quint8];
    list default  = [default_qint8, default_quint8];
    list dynamic  = [dynamic_int8, dynamic_f16];

    group conv: weighted;
    group linear: [weighted.., dynamic..] {
        kernel dynamic_int8 => crate::kernels::Q8LinearDynamic;
        kernel dynamic_f16  => crate::kernels::F16LinearDynamic;
    }
    group binary: default;
    group cat: default;
    group default_ops: default;
    group fixed_qparams: default;
    group share_qparams: default;
    group bn: default;
    group rnn: dynamic { kernel dynamic_f16 => crate::kernels::F16Recurrent; }
    group embedding: [weight_only_quint8, weight_only_quint4x2];
}
