qconfig::backend_config! {
    pub backend B = "b";
    config w { input: quint8, output: quint8, weight: qint8, bias: f32 }
    group linear: w {
        root: nn::Linear;
        kernel none;
    }
}

fn main() {}
