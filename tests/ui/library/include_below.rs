qconfig::op_groups! {
    groups own;
    group linear { include linear_alone; }
    group linear_alone { pattern nn::Linear; }
}
fn main() {}
