qconfig::backend_config! {
    pub backend B = "b";
    pub backend C = "c";
    config d { input: quint8, output: quint8 }
    pattern nn::ReLU: d { kernel none; }
}

fn main() {}
