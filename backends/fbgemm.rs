//! PyTorch's FBGEMM: servers.

crate::backend_config! {
    /// PyTorch's native FBGEMM backend.
    pub backend FBGEMM = "fbgemm";

    use kernels standard;
    use kernels fbgemm;

    config weighted_quint8      { input: quint8, output: quint8, weight: qint8, bias: f32 }
    config default_quint8       { input: quint8, output: quint8 }
    #[allow(unused)] // PyTorch declares it and lists it nowhere
    config default_f16          { input: f16, output: f16, weight: f16, bias: f16 }
    dynamic config dynamic_int8 { input: quint8, output: f32, weight: qint8, bias: f32 }
    dynamic config dynamic_f16  { input: f16, output: f32, weight: f16, bias: f32 }
    config weight_only_quint8   { input: f32, output: f32, weight: quint8 }
    config weight_only_quint4x2 { input: f32, output: f32, weight: quint4x2 }

    list dynamic = [dynamic_int8, dynamic_f16];

    group conv: weighted_quint8;
    group linear: [weighted_quint8, dynamic..] {
        kernel dynamic_int8 => crate::kernels::fbgemm::Q8LinearDynamic;
        kernel dynamic_f16  => crate::kernels::F16LinearDynamic;
    }
    group binary: default_quint8;
    group cat: default_quint8;
    group default_ops: default_quint8;
    group fixed_qparams: default_quint8;
    group share_qparams: default_quint8;
    group tensor_info: default_quint8;
    group bn: default_quint8;
    group rnn: dynamic { kernel dynamic_f16 => crate::kernels::F16Recurrent; }
    group embedding: [weight_only_quint8, weight_only_quint4x2];
}
