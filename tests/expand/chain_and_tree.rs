qconfig::backend_config! {
    backend SHAPES = "shapes";

    config w { input: quint8, output: quint8, weight: qint8, bias: f32 }

    pattern nn::Conv2d + {nn::ReLU | F::relu}: w { fuser: sequential; fused: nni::ConvReLU2d; kernel => crate::Conv; }
    pattern relu(add(_, bn2d(conv2d))): w { root_node: [0, 1, 0]; extra_inputs: [[0, 0]]; kernel => crate::Conv; }
    pattern conv2d + crate::Mish: w { kernel none; }
}
