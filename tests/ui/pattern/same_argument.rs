qconfig::backend_config! {
    pub backend B = "b";
    config w { input: quint8, output: quint8, weight: qint8, bias: f32 }
    pattern torch::matmul: w { args { weight: 1, bias: 1 } kernel none; }
}
fn main() {}
