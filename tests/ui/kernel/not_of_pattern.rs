qconfig::backend_config! {
    pub backend B = "b";
    config w { input: quint8, output: quint8, weight: qint8, bias: f32 }
    config d { input: quint8, output: quint8 }
    pattern nn::Linear: w {
        kernel d => qconfig::kernels::Q8Linear;
        kernel none;
    }
    pattern nn::ReLU: d { kernel none; }
}

fn main() {}
