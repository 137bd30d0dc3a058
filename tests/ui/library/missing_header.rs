qconfig::op_groups! {
    group linear { pattern nn::Linear; }
}
fn main() {}
