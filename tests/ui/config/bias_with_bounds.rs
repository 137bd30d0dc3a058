qconfig::backend_config! {
    pub backend B = "b";
    dtype b = qint32 { scale >= 2^-12 };
    config w { input: quint8, output: quint8, weight: qint8, bias: b }
    pattern nn::Linear: w { kernel none; }
}

fn main() {}
