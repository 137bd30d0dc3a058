qconfig::backend_config! {
    pub backend B = "b";
    config w { input: quint8, output: quint8, weight: qint8, bias: f32 }
    // the root is the convolution, not the sum
    pattern add(conv2d, _): w { root_node: [0]; kernel for add => qconfig::kernels::Q8Conv; }
}
fn main() {}
