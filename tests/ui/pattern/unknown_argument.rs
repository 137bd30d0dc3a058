qconfig::backend_config! {
    pub backend B = "b";
    config w { input: quint8, output: quint8, weight: qint8, bias: f32 }
    pattern F::conv2d: w {
        args { wieght: 1 }
        kernel none;
    }
}

fn main() {}
