qconfig::op_groups! {
    groups own;
    template conv_nd { pattern nn::ConvNd; }
    group conv { ranks 1..=3 { include conv_md; } }
}
fn main() {}
