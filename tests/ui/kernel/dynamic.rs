qconfig::backend_config! {
    pub backend B = "b";
    config w { input: quint8, output: f32, weight: qint8, bias: f32 }
    pattern nn::Linear: w { kernel => qconfig::kernels::Q8LinearDynamic; }
}

fn main() {}
