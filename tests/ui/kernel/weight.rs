qconfig::backend_config! {
    pub backend B = "b";
    config w { input: quint8, output: quint8, weight: quint4x2, bias: f32 }
    pattern nn::Linear: w { kernel => qconfig::kernels::Q8Linear; }
}

fn main() {}
