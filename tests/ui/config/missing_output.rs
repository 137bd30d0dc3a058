qconfig::backend_config! {
    pub backend B = "b";
    config d { input: quint8 }
    pattern nn::ReLU: d { kernel none; }
}

fn main() {}
