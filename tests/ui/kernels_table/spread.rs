qconfig::kernels! {
    static TABLE: qconfig::backends::qnnpack;
    nn::Linear @ [weighted..];
    nn::Conv2d @ weighted_quint8;
}
fn main() {}
