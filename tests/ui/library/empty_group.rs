qconfig::op_groups! {
    groups own;
    group nothing {}
}
fn main() {}
