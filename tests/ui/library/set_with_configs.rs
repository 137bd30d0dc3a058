qconfig::op_groups! {
    groups own;
    kernels mine { kernel weighted for linear => qconfig::kernels::Q8Linear; }
}
fn main() {}
