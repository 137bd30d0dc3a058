qconfig::backend_config! {
    pub backend B = "b";
    use kernels standard;
    config w { input: quint8, output: quint8, weight: qint8, bias: f32 }
    group liner: w;
}
fn main() {}
