#![deny(deprecated)]

qconfig::backend_config! {
    pub backend B = "b";
    config d { input: quint8, output: quint8 }
    config e { input: quint8, output: quint8 }
    list all = [d, e];
    pattern nn::ReLU: d { kernel none; }
}

fn main() {}
