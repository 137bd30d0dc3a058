#![deny(deprecated)]

qconfig::backend_config! {
    pub backend B = "b";
    config w { input: quint8, output: quint8, weight: qint8, bias: f32 }
    group linear: w { kernel none; }
    override pattern F::linear: w { kernel none; args { weight: 1, bias: 2 } }
}

fn main() {}
