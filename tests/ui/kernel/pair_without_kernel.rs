#![deny(deprecated)]

qconfig::backend_config! {
    pub backend B = "b";
    config w { input: quint8, output: quint8, weight: qint8, bias: f32 }
    dynamic config y { input: quint8, output: f32, weight: qint8, bias: f32 }
    pattern nn::Linear: [w, y] { kernel w => qconfig::kernels::Q8Linear; }
}

fn main() {}
