//! Names one pair of pattern and dtype config by its types, and nothing else of the backend.

use std::hint::black_box;

use qconfig_backends::qnnpack::{Backend, cfg};
use qconfig_core::operator::nn;
use qconfig_core::{Dispatch, Kernel};

static KERNEL: &Kernel = <Backend as Dispatch<nn::Linear, cfg::weighted_quint8>>::KERNEL;

fn main() {
    let kernel = black_box(KERNEL);
    println!("{}", kernel.name);
}
