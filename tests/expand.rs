//! What `backend_config!` expands to, beside each spec: `tests/expand/*.expanded.rs`.
//!
//! `BLESS=1 cargo test -p qconfig-tests --test expand` writes them anew.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::fs;
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use quote::quote;

/// What stands in the braces of the macro call that a file consists of.
fn braces(file: &str) -> TokenStream {
    let tokens: TokenStream = file.parse().unwrap();
    match tokens.into_iter().last() {
        Some(TokenTree::Group(group)) => group.stream(),
        other => panic!("the file ends in {other:?}"),
    }
}

/// Without a compiler a span has a number for a file name.
fn with_file_names(mut text: String) -> String {
    while let Some(start) = text.find("<parsed string") {
        let end = start + text[start..].find('>').unwrap();
        text.replace_range(start..=end, "spec.rs");
    }
    // the hash in the name of the hidden macro is that of the file name
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for line in &mut lines {
        if let Some(start) = line.find("__qconfig_spec_") {
            let name = &line[start..];
            let end = name
                .find(|c: char| !(c.is_alphanumeric() || c == '_'))
                .unwrap_or(name.len());
            line.replace_range(start..start + end, "__qconfig_spec");
        }
    }
    lines.join("\n") + "\n"
}

fn expand(spec: &str) -> String {
    let groups = braces(include_str!("../backends/groups.rs"));
    let spec = braces(spec);
    let input =
        quote! { [qconfig::__private::backend_config] [qconfig::__private] { #spec } { #groups } };
    let file = syn::parse2(qconfig_codegen::backend_config(input)).expect("items");
    with_file_names(prettyplease::unparse(&file))
}

#[test]
fn expansions_are_as_committed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("expand");
    let mut cases = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.ends_with(".rs") || name.ends_with(".expanded.rs") {
            continue;
        }
        cases += 1;
        let found = expand(&fs::read_to_string(&path).unwrap());
        let golden = path.with_extension("expanded.rs");
        if std::env::var_os("BLESS").is_some() {
            fs::write(&golden, &found).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        for (n, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
            assert_eq!(found, expected, "{name}, line {}", n + 1);
        }
        assert_eq!(found.lines().count(), expected.lines().count(), "{name}");
    }
    assert_eq!(cases, 5);
}
