qconfig::backend_config! {
    pub backend B = "b";
    dynamic config d { input: quint8, output: qint8 }
    pattern nn::ReLU: d { kernel none; }
}

fn main() {}
