qconfig::backend_config! {
    pub backend B = "b";
    config w { input: quint8, output: quint8, weight: qint8, bias: f32 }
    pattern nn::Linear: w {
        kernel w => qconfig::kernels::Q8Linear;
        kernel w none;
    }
}

fn main() {}
