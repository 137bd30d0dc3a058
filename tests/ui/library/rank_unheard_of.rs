qconfig::op_groups! {
    groups own;
    group conv { ranks 1..=4 { pattern nn::ConvNd; } }
}
fn main() {}
