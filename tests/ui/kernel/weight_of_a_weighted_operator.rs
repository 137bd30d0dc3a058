qconfig::backend_config! {
    pub backend B = "b";
    config w { input: quint8, output: quint8, weight: qint8, bias: f32 }
    // a weight that a config lists for a sum is not looked at; a linear layer's is
    pattern torch::add: w { kernel => qconfig::kernels::Q8Add; }
    pattern nn::Linear: w { kernel => qconfig::kernels::Q8Add; }
}
fn main() {}
