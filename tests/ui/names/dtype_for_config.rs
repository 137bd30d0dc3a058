qconfig::backend_config! {
    pub backend B = "b";
    dtype act_qint8 = qint8 { scale >= 2^-12 };
    pattern nn::ReLU: act_qint8 { kernel none; }
}

fn main() {}
