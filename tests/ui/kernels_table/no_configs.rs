qconfig::kernels! {
    static TABLE: qconfig::backends::qnnpack;
    nn::Linear @ [];
}
fn main() {}
