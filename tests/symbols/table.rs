//! Looks kernels up in a table of its own, as a program does that loads a plan.

use std::hint::black_box;

use qconfig::kernels;

kernels! {
    static TABLE: qconfig::backends::qnnpack;

    linear @ weighted_quint8;
    torch::add @ default_quint8;
}

fn main() {
    let kernel = TABLE.named(black_box("q8_add"));
    println!("{:?}", black_box(kernel));
}
