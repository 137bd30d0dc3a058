qconfig::backend_config! {
    pub backend B = "b";
    config w { input: quint8, output: quint8, weight: qint8, bias: f32 }
    pattern nn::Conv2d + nn::ReLU: w { kernel none; }
    pattern conv2d + relu: w { kernel none; }
}

fn main() {}
