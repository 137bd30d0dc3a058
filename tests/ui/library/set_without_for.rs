qconfig::op_groups! {
    groups own;
    kernels mine { kernel => qconfig::kernels::Q8Linear; }
}
fn main() {}
