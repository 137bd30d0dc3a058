qconfig::backend_config! {
    pub backend B = "b";
    config d { input: quint8, output: quint8 }
    pattern nn::ReLU: d {
        observe: shared;
        observe: separate;
        kernel none;
    }
}

fn main() {}
