qconfig::backend_config! {
    pub backend B = "b";
    config w { input: f16, output: f16, weight: qint8, bias: f32 }
    pattern nn::Linear: w { kernel => qconfig::kernels::Q8Linear; }
}

fn main() {}
