qconfig::backend_config! {
    pub backend B = "b";
    config w { input: quint8, output: quint8, weight: qint8, bias: f32 }
    pattern torch::addmm: w { args { bias: 2, input: 1, weight: 0 } kernel none; }
}
fn main() {}
