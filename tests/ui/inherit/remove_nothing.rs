qconfig::backend_config! {
    pub backend B = "b" extends qconfig::backends::QNNPACK;
    remove pattern nn::Mish;
}

fn main() {}
