qconfig::kernels! {
    static TABLE: qconfig::backends::qnnpak;
    nn::Linear @ weighted_quint8;
}
fn main() {}
