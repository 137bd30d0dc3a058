//! From PyTorch and back: a dump becomes a spec, the spec is compiled, and its tables say what the dump said.
//!
//! The dumps are torch's own backend configs and invented ones (`tests/oracle/invented.py`); the specs in
//! `specs` are what `qconfig import` writes, byte for byte. With `QCONFIG_BLESS=1` the test writes them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "tests fail by panicking"
)]

use std::collections::BTreeMap;
use std::path::Path;

use qconfig::backends;
use qconfig::owned;
use qconfig_codegen::import::{Options, groups, import};
use qconfig_tests::golden;
use serde_json::Value;

mod ops;
mod specs;

/// Operators of the invented configs that qconfig does not know.
fn operators() -> BTreeMap<String, String> {
    let own = [
        ("invented.Swish", "crate::ops::Swish"),
        ("invented.swish", "crate::ops::swish"),
    ];
    own.map(|(path, own)| (path.to_owned(), own.to_owned()))
        .into()
}

#[test]
fn import_writes_the_committed_specs() {
    let groups = groups(backends::GROUPS).unwrap();
    for case in specs::CASES {
        let dump: owned::BackendConfig = serde_json::from_str(&golden::text(case.dump)).unwrap();
        let options = Options {
            ident: None,
            groups: &groups,
            operators: &operators(),
        };
        let spec = import(&dump, &options).unwrap_or_else(|problems| {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            panic!("{}:\n{}", case.name, problems.join("\n"))
        });
        if std::env::var_os("QCONFIG_BLESS").is_some() {
            let specs = Path::new(env!("CARGO_MANIFEST_DIR")).join("roundtrip/specs");
            std::fs::write(specs.join(format!("{}.rs", case.name)), &spec).unwrap();
            continue;
        }
        println!(
            "{:16} {:3} patterns in {:3} lines",
            case.name,
            dump.configs.len(),
            spec.lines().count()
        );
        assert_eq!(spec, case.spec, "{}", case.name);
    }
}

#[test]
fn compiled_specs_say_what_the_dumps_say() {
    for case in specs::CASES {
        let dump: Value = golden::json(case.dump);
        let found = serde_json::to_value(case.backend).unwrap();
        let (found_configs, configs) = (
            found["configs"].as_array().unwrap(),
            dump["configs"].as_array().unwrap(),
        );
        for (at, (found, expected)) in found_configs.iter().zip(configs).enumerate() {
            assert_eq!(found, expected, "{}: configs[{at}]", case.name);
        }
        assert_eq!(found, dump, "{}", case.name);
        println!("{:16} {:3} patterns equal", case.name, configs.len());
    }
}
