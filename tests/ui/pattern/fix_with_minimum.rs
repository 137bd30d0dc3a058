qconfig::backend_config! {
    pub backend B = "b";
    dtype act = quint8 { scale >= 2^-12 };
    config d { input: act, output: act }
    pattern nn::Sigmoid: d {
        fix quint8 { scale == 1/256, zero_point == 0 }
        kernel none;
    }
}

fn main() {}
