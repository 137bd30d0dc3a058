qconfig::backend_config! {
    pub backend B = "b";
    use kernels standard;
    config w { input: quint8, output: quint8, weight: quint8, bias: f32 }
    group linear: w;
}
fn main() {}
