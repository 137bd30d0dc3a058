qconfig::backend_config! {
    pub backend B = "b";
    config d { input: quint8, output: quint8 }
    pattern nn::Linear: d { kernel => qconfig::kernels::Q8Linear; }
}

fn main() {}
