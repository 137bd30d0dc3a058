qconfig::op_groups! {
    groups own;
    group conv { pattern nn::ConvNd + nn::ReLU; }
}
fn main() {}
