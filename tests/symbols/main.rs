//! The type-level form links the kernel it names and no other.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use object::{Object, ObjectSymbol};

/// The modules of `qconfig-kernels` of which the binary has code.
fn modules(binary: &[u8]) -> Vec<String> {
    let file = object::File::parse(binary).unwrap();
    let mut found: Vec<String> = file
        .symbols()
        .filter_map(|symbol| {
            // mangled, a path is a row of names with their lengths in front
            let (_, path) = symbol.name().ok()?.split_once("15qconfig_kernels")?;
            let digits = path.find(|c: char| !c.is_ascii_digit())?;
            let length: usize = path[..digits].parse().ok()?;
            Some(path.get(digits..digits + length)?.to_owned())
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn links(binary: &str, wanted: &[&str]) {
    let modules = modules(&std::fs::read(binary).unwrap());
    println!("linked: {}", modules.join(", "));
    let has = |name: &str| modules.iter().any(|module| module == name);
    for name in wanted {
        assert!(has(name), "{name}: {modules:?}");
    }
    for other in [
        "q8_linear",
        "q8_conv",
        "depthwise",
        "q8_linear_dynamic",
        "f16_linear_dynamic",
        "add",
        "pool",
        "clamp",
        "reshape",
    ] {
        assert!(
            !has(other) || wanted.contains(&other),
            "`{other}` is linked, but nothing names it"
        );
    }
}

#[test]
fn only_the_kernel_that_is_named_is_linked() {
    links(env!("CARGO_BIN_EXE_one_kernel"), &["q8_linear"]);
}

#[test]
fn a_table_links_its_rows_and_no_more() {
    links(env!("CARGO_BIN_EXE_table"), &["q8_linear", "add"]);
}
