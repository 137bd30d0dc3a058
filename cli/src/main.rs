//! qconfig-cli
fn main() {}
