qconfig::backend_config! {
    pub backend B = "b";
    dtype act = qint8 { quant in 127..=-127 };
    config a { input: act, output: act, input: act }
    config b { input: quint8, output: quint8 }
    list all = [b, c];
    pattern nn::ReLU + nn::Linear: b { kernel none; }
    patern nn::Linear: b;
    pattern nn::Hardtanh: [a, b] { kernel none; }
}

fn main() {}
