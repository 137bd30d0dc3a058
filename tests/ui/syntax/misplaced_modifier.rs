qconfig::backend_config! {
    pub backend B = "b";
    config d { input: quint8, output: quint8 }
    dynamic list all = [d];
    pattern nn::ReLU: d { kernel none; }
}

fn main() {}
