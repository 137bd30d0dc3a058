qconfig::op_groups! {
    groups own;
    group conv { ranks 3..=1 { pattern nn::ConvNd; } }
}
fn main() {}
