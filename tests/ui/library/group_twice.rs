qconfig::op_groups! {
    groups own;
    group linear { pattern nn::Linear; }
    group linear { pattern F::linear; }
}
fn main() {}
