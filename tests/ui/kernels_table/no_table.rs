qconfig::kernels! {
    nn::Linear @ weighted_quint8;
}
fn main() {}
