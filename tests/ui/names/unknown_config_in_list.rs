qconfig::backend_config! {
    pub backend B = "b";
    config weighted_qint8 { input: qint8, output: qint8 }
    list weighted = [weighted_qnt8];
    pattern nn::ReLU: weighted_qint8 { kernel none; }
}

fn main() {}
