qconfig::op_groups! {
    groups own;
    kernels mine {
        kernel for linear => qconfig::kernels::Q8Linear;
        observe: shared;
    }
}
fn main() {}
