qconfig::backend_config! {
    pub backend B = "b";
    config d { input: qint8, output: qint8 }
    pattern nn::Sigmoid: d {
        fix quint8 { scale == 1/256, zero_point == 0 }
        kernel none;
    }
}

fn main() {}
