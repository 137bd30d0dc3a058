qconfig::op_groups! {
    groups own;
    group linear { include linear; }
}
fn main() {}
