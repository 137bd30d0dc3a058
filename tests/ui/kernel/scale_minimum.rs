use qconfig::kernel::{Kernel, KernelFamily, Signature};
use qconfig::kernels::Q8Linear;

pub struct Strict;

impl KernelFamily for Strict {
    const KERNEL: &'static Kernel = {
        const SIGNATURE: Signature = Signature {
            scale_min: Some(1.0 / 4096.0),
            ..Q8Linear::KERNEL.signature
        };
        &Kernel { signature: SIGNATURE, ..*Q8Linear::KERNEL }
    };
}

qconfig::backend_config! {
    pub backend B = "b";
    config w { input: quint8, output: quint8, weight: qint8, bias: f32 }
    pattern nn::Linear: w { kernel => crate::Strict; }
}

fn main() {}
