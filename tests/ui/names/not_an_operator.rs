pub struct Mish;

qconfig::backend_config! {
    pub backend B = "b";
    config d { input: quint8, output: quint8 }
    pattern crate::Mish: d { kernel none; }
}

fn main() {}
