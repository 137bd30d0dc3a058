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
    let golden = include_bytes!("../../tests/golden/backends/qnnpack.json.gz");
    let golden = flate2::read::GzDecoder::new(golden.as_slice());
    let golden: Value = serde_json::from_reader(golden).unwrap();
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
    let configs = [" weighted_q", " default_q", " dynamic_", " weight_only_q"];
    let is_pair = |line: &&str| configs.iter().any(|config| line.contains(config));
    assert_eq!(out.lines().filter(is_pair).count(), 404);
    assert!(out.contains("qint8, -127..=127, scale >= 2^-12"));
}

#[test]
fn an_unknown_backend_is_named_with_those_there_are() {
    let (success, out, err) = qconfig(&["show", "qnpack"]);
    assert!(!success && out.is_empty());
    assert_eq!(
        err,
        "error: no backend is called `qnpack`; there are: qnnpack, fbgemm, x86, onednn, executorch, tensorrt, native, \
         _native_and_fp16, qnnpack_pytorch_2.0_export\n"
    );
}

/// The digits example's plan.
const PLAN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/data/digits.plan");

#[test]
fn profile_shows_where_the_time_goes() {
    let (success, out, err) = qconfig(&["profile", PLAN, "--runs", "3", "--threads", "2"]);
    assert!(success, "{err}");
    assert!(
        out.contains("medians of 3 runs") && out.contains("2 threads"),
        "{out}"
    );
    for kernel in ["q8_conv", "q8_max_pool", "q8_linear", "quantize"] {
        assert!(out.contains(kernel), "{kernel}: {out}");
    }
    assert!(
        out.lines()
            .any(|line| line.contains("total") && line.contains("100.0 %")),
        "{out}"
    );
}

#[test]
fn profile_as_json_counts_operations() {
    let (success, out, err) = qconfig(&["profile", PLAN, "--runs", "3", "--json"]);
    assert!(success, "{err}");
    let found: Value = serde_json::from_str(&out).unwrap();
    let steps = found["steps"].as_array().unwrap();
    let shares: f64 = steps
        .iter()
        .map(|step| step["share"].as_f64().unwrap())
        .sum();
    assert!((shares - 1.0).abs() < 1e-6, "{shares}");
    for step in steps {
        let dims = |key: &str| -> Vec<u64> {
            let dims = step[key].as_array().unwrap().iter();
            dims.map(|dim| dim.as_u64().unwrap()).collect()
        };
        let (input, output) = (dims("input"), dims("output"));
        let channels = input.last().unwrap();
        let expected = match step["kernel"].as_str().unwrap() {
            // 3x3 windows
            "q8_conv" => 9 * channels * output.iter().product::<u64>(),
            "q8_linear" => channels * output.iter().product::<u64>(),
            _ => 0,
        };
        assert_eq!(step["multiply_adds"], expected, "{step}");
        assert_eq!(
            step["operations_per_second"].is_null(),
            expected == 0,
            "{step}"
        );
    }
}

#[test]
fn profile_says_what_is_wrong_with_a_plan() {
    let (success, out, err) = qconfig(&["profile", "no/such.plan"]);
    assert!(!success && out.is_empty());
    assert!(
        err.starts_with("error: no/such.plan: the file could not be read"),
        "{err}"
    );
    let (success, _, err) = qconfig(&["profile", file!()]);
    assert!(!success && err.starts_with("error: "), "{err}");
    let (success, _, err) = qconfig(&["profile", PLAN, "--threads", "0"]);
    assert!(!success && err.contains("--threads"), "{err}");
}

#[test]
fn help_shows_examples() {
    let (success, out, _) = qconfig(&["--help"]);
    assert!(
        success && out.contains("qconfig show qnnpack --format html"),
        "{out}"
    );
}
