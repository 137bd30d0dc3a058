qconfig::kernels! {
    static TABLE: qconfig::backends::qnnpack;
}
fn main() {}
