qconfig::backend_config! {
    pub backend B = "b";
    config d { input: quint8, output: quint8 }
    list a = [d..];
    pattern nn::ReLU: d { kernel none; }
}

fn main() {}
