qconfig::kernels! {
    static TABLE: qconfig::backends::qnnpack;
    nn::Lniear @ weighted_quint8;
}
fn main() {}
