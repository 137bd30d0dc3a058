qconfig::op_groups! {
    groups own;
    group linear { pattern nn::Linear { kernel => qconfig::kernels::Q8Linear; } }
}
fn main() {}
