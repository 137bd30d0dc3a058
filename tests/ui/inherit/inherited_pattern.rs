qconfig::backend_config! {
    pub backend B = "b" extends qconfig::backends::QNNPACK;
    pattern nn::Linear: default { kernel none; }
}

fn main() {}
