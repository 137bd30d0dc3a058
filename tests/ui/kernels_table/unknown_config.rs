qconfig::kernels! {
    static TABLE: qconfig::backends::qnnpack;
    nn::Linear @ weighted_quin8;
}
fn main() {}
