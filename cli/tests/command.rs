//! The command as a user runs it.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use assert_cmd::Command;
use serde_json::Value;

fn qconfig(args: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_qconfig"))
        .args(args)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.success(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn list_counts_patterns_and_pairs() {
    let (success, out, _) = qconfig(&["list"]);
    assert!(success);
    let row = out.lines().find(|line| line.contains("qnnpack")).unwrap();
    assert!(row.contains("190") && row.contains("404"), "{row}");
}

#[test]
fn show_json_equals_pytorchs_config() {
    let (success, out, _) = qconfig(&["show", "qnnpack", "--format", "json"]);
    assert!(success);
    let found: Value = serde_json::from_str(&out).unwrap();
    let golden: Value =
        serde_json::from_str(include_str!("../../tests/golden/qnnpack.json")).unwrap();
    let configs = |value: &Value| value["configs"].as_array().unwrap().clone();
    assert_eq!(configs(&found).len(), 190);
    for (at, (found, golden)) in configs(&found).iter().zip(&configs(&golden)).enumerate() {
        assert_eq!(found, golden, "entry {at}");
    }
    assert_eq!(found, golden);
}

#[test]
fn show_prints_a_row_for_each_pair() {
    let (success, out, _) = qconfig(&["show", "qnnpack"]);
    assert!(success);
    let rows = out
        .lines()
        .filter(|line| line.contains("q8_") || line.contains("none") || line.contains("f16_"));
    let other = out.lines().filter(|line| line.contains(" reshape "));
    assert_eq!(rows.count() + other.count(), 404);
    assert!(out.contains("qint8, -127..=127, scale >= 2^-12"));
}

#[test]
fn an_unknown_backend_is_named_with_those_there_are() {
    let (success, out, err) = qconfig(&["show", "qnpack"]);
    assert!(!success && out.is_empty());
    assert_eq!(
        err,
        "error: no backend is called `qnpack`; there are: qnnpack\n"
    );
}

#[test]
fn help_shows_examples() {
    let (success, out, _) = qconfig(&["--help"]);
    assert!(
        success && out.contains("qconfig show qnnpack --format json"),
        "{out}"
    );
}
