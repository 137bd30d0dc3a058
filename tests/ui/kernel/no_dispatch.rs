qconfig::backend_config! {
    pub backend B = "b";
    config w { input: quint8, output: quint8, weight: qint8, bias: f32 }
    config d { input: quint8, output: quint8 }
    pattern nn::Linear: w { kernel => qconfig::kernels::Q8Linear; }
    pattern nn::ReLU: d { kernel none; }
}

const KERNEL: &qconfig::Kernel =
    <b::Backend as qconfig::Dispatch<qconfig::operator::nn::ReLU, b::cfg::d>>::KERNEL;

fn main() {}
