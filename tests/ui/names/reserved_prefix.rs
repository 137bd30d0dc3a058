qconfig::backend_config! {
    pub backend B = "b";
    config __d { input: quint8, output: quint8 }
    config d { input: quint8, output: quint8 }
    pattern nn::ReLU: d { kernel none; }
}

fn main() {}
