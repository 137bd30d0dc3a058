//! What an import says of a config that is no spec; what it writes of others is in the round trip's tests.
#![cfg(feature = "tools")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::collections::BTreeMap;

use qconfig_codegen::import::{Options, groups, import};
use qconfig_core::owned::BackendConfig;

fn problems(json: &str) -> Vec<String> {
    let config: BackendConfig = serde_json::from_str(json).unwrap();
    let options = Options {
        ident: None,
        groups: &groups(include_str!("../../../backends/groups.rs")).unwrap(),
        operators: &BTreeMap::new(),
    };
    let problems = import(&config, &options).unwrap_err();
    problems.iter().map(ToString::to_string).collect()
}

const CONFIG: &str =
    r#"{ "input_dtype": { "dtype": "quint8" }, "output_dtype": { "dtype": "quint8" } }"#;

#[test]
fn an_unknown_operator_is_named_with_what_to_do() {
    let json = format!(
        r#"{{ "name": "x", "configs": [ {{ "pattern": "mine.Swish", "dtype_configs": [{CONFIG}] }} ] }}"#
    );
    assert_eq!(
        problems(&json),
        [
            "configs[0] (mine.Swish): `mine.Swish` is not an operator that qconfig knows; implement `Spelled` for a \
             type of yours and say which: `mine.Swish=crate::Swish`"
        ]
    );
}

#[test]
fn a_dtype_config_without_effect_is_refused() {
    let json = format!(
        r#"{{ "name": "x", "configs": [ {{ "pattern": "torch.nn.ReLU", "dtype_configs": [{CONFIG}, {CONFIG}] }} ] }}"#
    );
    let said = problems(&json);
    assert_eq!(said.len(), 1);
    assert!(said[0].contains("the second has no effect"), "{said:?}");
}

#[test]
fn a_pattern_that_is_a_number_is_none() {
    let json = format!(
        r#"{{ "name": "x", "configs": [ {{ "pattern_complex_format": 3, "dtype_configs": [{CONFIG}] }} ] }}"#
    );
    assert_eq!(problems(&json), ["configs[0]: the pattern is the number 3"]);
}
