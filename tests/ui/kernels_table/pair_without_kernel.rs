qconfig::kernels! {
    static TABLE: qconfig::backends::qnnpack;
    nn::Linear @ weight_only_quint8;
}
fn main() {}
