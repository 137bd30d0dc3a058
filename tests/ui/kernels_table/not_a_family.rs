struct Mine;
qconfig::kernels! {
    static TABLE: qconfig::backends::qnnpack;
    kernel crate::Mine;
}
fn main() {}
