//! PyTorch's QNNPACK: phones and other small CPUs.

crate::backend_config! {
    /// PyTorch's native QNNPACK backend.
    pub backend QNNPACK = "qnnpack";

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

    group conv: weighted {
        kernel for conv1d | conv2d | conv3d => crate::kernels::Q8Conv;
        kernel for conv_transpose1d | conv_transpose2d | conv_transpose3d => crate::kernels::Q8ConvTranspose;
    }
    group linear: [weighted.., dynamic..] {
        kernel weighted     => crate::kernels::Q8Linear;
        kernel dynamic_int8 => crate::kernels::Q8LinearDynamic;
        kernel dynamic_f16  => crate::kernels::F16LinearDynamic;
    }
    group binary: default {
        kernel for add => crate::kernels::Q8Add;
        kernel for mul => crate::kernels::Q8Mul;
        kernel for matmul => crate::kernels::Q8MatMul;
    }
    group cat: default { kernel => crate::kernels::Q8Cat; }
    group default_ops: default {
        kernel for elu | leaky_relu | hardswish => crate::kernels::Q8Lut;
        kernel for instance_norm1d | instance_norm2d | instance_norm3d | instance_norm | group_norm => crate::kernels::Q8GroupNorm;
        kernel for dropout => crate::kernels::Reshape;
        kernel for prelu => crate::kernels::Q8PRelu;
    }
    group fixed_qparams: default {
        kernel for sigmoid | hardsigmoid | tanh => crate::kernels::Q8Lut;
        kernel for softmax => crate::kernels::Q8Softmax;
    }
    group share_qparams: default {
        kernel for relu | relu6 | hardtanh | clamp => crate::kernels::Q8Clamp;
        kernel for stack => crate::kernels::Q8Cat;
        kernel for floordiv => crate::kernels::Q8Lut;
        kernel for max_pool1d | max_pool2d | max_pool3d => crate::kernels::Q8MaxPool;
        kernel for avg_pool1d | avg_pool2d | avg_pool3d => crate::kernels::Q8AvgPool;
        kernel for adaptive_avg_pool1d | adaptive_avg_pool2d | adaptive_avg_pool3d => crate::kernels::Q8AdaptiveAvgPool;
        kernel for mean => crate::kernels::Q8Mean;
        kernel for flatten | reshape | view | squeeze | unsqueeze | identity | contiguous | detach | resize => crate::kernels::Reshape;
        kernel for interpolate => crate::kernels::Q8Interpolate;
        kernel for transpose | permute | narrow | repeat | repeat_interleave | pixel_shuffle | pixel_unshuffle => crate::kernels::Rearrange;
    }
    group bn: default { kernel => crate::kernels::Q8BatchNorm; }
    group rnn: dynamic {
        kernel dynamic_int8 => crate::kernels::Q8Recurrent;
        kernel dynamic_f16  => crate::kernels::F16Recurrent;
    }
    group embedding: [weight_only_quint8, weight_only_quint4x2] {
        kernel => crate::kernels::EmbeddingRowwise;
    }
}
