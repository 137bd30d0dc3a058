//! The commands about specs: import, fmt, expand, show, diff, explain.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;

struct Output {
    success: bool,
    out: String,
    err: String,
}

fn qconfig(args: &[&str]) -> Output {
    let output = Command::cargo_bin("qconfig")
        .unwrap()
        .args(args)
        .output()
        .unwrap();
    Output {
        success: output.status.success(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A folder of a test's own.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn what_show_dumps_is_imported_laid_out_and_expanded() {
    let folder = folder("specs_round");
    let (dump, spec) = (folder.join("x86.json"), folder.join("x86.rs"));
    fs::write(&dump, qconfig(&["show", "x86", "--format", "json"]).out).unwrap();
    let imported = qconfig(&["import", text(&dump), "-o", text(&spec)]);
    assert!(imported.success, "{}", imported.err);
    assert!(
        imported.out.contains("192 patterns, 225 pairs"),
        "{}",
        imported.out
    );
    let written = fs::read_to_string(&spec).unwrap();
    assert!(
        written.contains("group conv: weighted_quint8 { kernel none; }"),
        "{written}"
    );

    // it is laid out already; undone, it comes back
    assert!(qconfig(&["fmt", text(&spec), "--check"]).success);
    fs::write(
        &spec,
        written
            .replace("    group", "group")
            .replace("{ kernel", "{kernel"),
    )
    .unwrap();
    let check = qconfig(&["fmt", text(&spec), "--check"]);
    assert!(
        !check.success && check.out.contains("would change"),
        "{}",
        check.out
    );
    assert!(qconfig(&["fmt", text(&spec)]).success);
    assert_eq!(fs::read_to_string(&spec).unwrap(), written);

    let expanded = qconfig(&["expand", text(&spec)]);
    assert!(expanded.success, "{}", expanded.err);
    assert!(expanded.out.contains("pub static X86"), "{}", expanded.out);
    assert!(!expanded.out.contains("compile_error"));

    // a file that is there is not written over
    let again = qconfig(&["import", text(&dump), "-o", text(&spec)]);
    assert!(
        !again.success && again.err.contains("--force"),
        "{}",
        again.err
    );
}

#[test]
fn what_is_no_dump_and_no_spec_is_left_alone() {
    let folder = folder("specs_bad");
    let (dump, spec) = (folder.join("bad.json"), folder.join("bad.rs"));
    fs::write(&dump, "{ \"name\": 3 }").unwrap();
    let imported = qconfig(&["import", text(&dump)]);
    assert!(
        !imported.success && imported.err.contains("bad.json"),
        "{}",
        imported.err
    );

    let broken = "qconfig::backend_config! {\n  pub backend B = \"b\"\n  dtyp x;\n}\n";
    fs::write(&spec, broken).unwrap();
    let fmt = qconfig(&["fmt", text(&spec)]);
    assert!(
        !fmt.success && fmt.out.contains("bad.rs:2:19: error: missing `;`"),
        "{}",
        fmt.out
    );
    assert_eq!(fs::read_to_string(&spec).unwrap(), broken);
    let expanded = qconfig(&["expand", text(&spec)]);
    assert!(
        expanded.success && expanded.out.contains("compile_error"),
        "{}",
        expanded.out
    );

    let missing = qconfig(&["expand", "nowhere.rs"]);
    assert!(
        !missing.success && missing.err.contains("nowhere.rs"),
        "{}",
        missing.err
    );
}

#[test]
fn backends_are_compared() {
    let same = qconfig(&["diff", "fbgemm", "fbgemm", "--exit-code"]);
    assert!(
        same.success && same.out.contains("say the same of 192 patterns"),
        "{}",
        same.out
    );
    let differ = qconfig(&["diff", "fbgemm", "x86", "--exit-code"]);
    assert!(!differ.success);
    // 17 binary patterns and 13 with fixed parameters list a weight in x86
    assert!(differ.out.contains("30 patterns differ"), "{}", differ.out);
    let json = qconfig(&["diff", "fbgemm", "x86", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["differences"].as_array().unwrap().len(), 30);
}

#[test]
fn a_verdict_has_its_reasons() {
    let found = qconfig(&["explain", "qnnpack", "conv2d + relu", "--qconfig", "x86"]);
    assert!(found.success, "{}", found.err);
    assert!(
        found
            .out
            .starts_with("qnnpack on nn::Conv2d + nn::ReLU under x86: quantized\n")
    );
    assert!(
        found.out.contains("no   weighted_qint8: input: the qconfig gives quint8, the backend takes qint8 (backends/qnnpack.rs:"),
        "{}",
        found.out
    );
    assert!(found.out.contains("yes  weighted_quint8:"), "{}", found.out);

    let none = qconfig(&[
        "explain",
        "onednn",
        "torch::add(nn::Conv2d, _)",
        "--qconfig",
        "onednn",
    ]);
    assert!(
        none.out.contains("supported, but no kernel computes it"),
        "{}",
        none.out
    );
    let float = qconfig(&[
        "explain",
        "x86",
        "torch.nn.Conv2d",
        "--qconfig",
        "float16_static_qconfig",
    ]);
    assert!(float.out.contains("stays float"), "{}", float.out);

    let unknown = qconfig(&["explain", "x86", "nn::Conv9d", "--qconfig", "x86"]);
    assert!(
        !unknown.success && unknown.err.contains("`nn::Conv9d` is no operator"),
        "{}",
        unknown.err
    );
    let absent = qconfig(&[
        "explain",
        "x86",
        "nn::Conv2d + nn::GELU",
        "--qconfig",
        "x86",
    ]);
    assert!(
        absent.err.contains("it has: nn::Conv2d, "),
        "{}",
        absent.err
    );
}

#[test]
fn a_backend_is_shown_as_a_document() {
    let markdown = qconfig(&["show", "tensorrt", "--format", "markdown"]);
    assert_eq!(
        markdown
            .out
            .lines()
            .filter(|line| line.starts_with('|'))
            .count(),
        2 + 149
    );
    let page = qconfig(&["show", "tensorrt", "--format", "html"]);
    assert!(page.out.starts_with("<!doctype html>"));
    let script = qconfig(&["import", "--script"]);
    assert!(script.out.contains("import torch"));
    let completions = qconfig(&["completions", "bash"]);
    assert!(completions.success && completions.out.contains("complete "));
}
