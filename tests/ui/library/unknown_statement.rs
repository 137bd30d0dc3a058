qconfig::op_groups! {
    groups own;
    grup linear { pattern nn::Linear; }
    group conv { pattern nn::Conv2d; }
}
fn main() {}
