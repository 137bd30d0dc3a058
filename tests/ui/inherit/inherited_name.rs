qconfig::backend_config! {
    pub backend B = "b" extends qconfig::backends::QNNPACK;
    config weighted_qint8 { input: quint8, output: quint8, weight: qint8 }
}

fn main() {}
