qconfig::backend_config! {
    pub backend B = "b";
    dtype act = f16 { quant in 0..=10 };
    config d { input: act, output: act }
    pattern nn::ReLU: d { kernel none; }
}

fn main() {}
