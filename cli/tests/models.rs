//! Models through the command: quantized, run, compared, explained; and what bad ones get.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests fail by panicking"
)]

mod files;

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use files::{array, single};
use flate2::read::GzDecoder;
use npyz::NpyFile;
use serde_json::Value;

/// A folder of the test's own.
fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/golden/onnx")
        .join(name)
}

/// The trained network of digits, and 40 digits as it takes them.
fn digits(folder: &Path) -> (String, String) {
    let mut bytes = Vec::new();
    let file = File::open(golden("digits_float.onnx.gz")).unwrap();
    GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    let model = folder.join("digits.onnx");
    fs::write(&model, bytes).unwrap();
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/data/digits.npz");
    let mut archive = zip::ZipArchive::new(BufReader::new(File::open(archive).unwrap())).unwrap();
    let npy = NpyFile::new(archive.by_name("eval_images.npy").unwrap()).unwrap();
    let pixels = npy.data::<u8>().unwrap().take(40 * 784);
    let values: Vec<f32> = pixels
        .map(|pixel| (f32::from(pixel.unwrap()) / 255.0 - 0.1307) / 0.3081)
        .collect();
    let data = folder.join("digits.npy");
    array(&data, &[40, 1, 28, 28], &values);
    (text(&model), text(&data))
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

fn qconfig(args: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_qconfig"))
        .args(args)
        .output()
        .unwrap();
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn json(args: &[&str]) -> Value {
    let ran = qconfig(args);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

#[test]
fn a_model_is_quantized_run_and_compared() {
    let folder = folder("quantized");
    let (model, data) = digits(&folder);
    let plan = text(&folder.join("digits.plan"));
    let made = json(&["quantize", &model, "--data", &data, "-o", &plan, "--json"]);
    assert_eq!(made["float_nodes"], 0, "{made}");
    assert_eq!(made["output_bytes"], fs::metadata(&plan).unwrap().len());

    let found = json(&["compare", &model, &plan, "--data", &data, "--json"]);
    assert_eq!(
        (&found["samples"], &found["agreement"]),
        (&40.into(), &1.0.into()),
        "{found}"
    );
    assert!(found["sqnr_db"].as_f64().unwrap() > 30.0, "{found}");

    let output = text(&folder.join("logits.npy"));
    let ran = qconfig(&["run", &plan, "--data", &data, "--output", &output]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let bytes = fs::read(&output).unwrap();
    assert_eq!(NpyFile::new(&bytes[..]).unwrap().shape(), [40, 10]);

    let archive = text(&folder.join("logits.npz"));
    let ran = qconfig(&["run", &plan, "--data", &data, "--output", &archive]);
    assert_eq!(ran.out, format!("{archive}: logits [40, 10]\n"));
    let mut archive = zip::ZipArchive::new(File::open(&archive).unwrap()).unwrap();
    let mut inside = Vec::new();
    let mut entry = archive.by_name("logits.npy").unwrap();
    entry.read_to_end(&mut inside).unwrap();
    assert_eq!(inside, bytes, "by the name that the model gives");

    let printed = qconfig(&[
        "run",
        &plan,
        "--data",
        &data,
        "--samples",
        "1",
        "--top",
        "2",
    ]);
    assert_eq!(printed.out.lines().count(), 3, "{}", printed.out);

    let inspected = json(&["inspect", &plan, "--json"]);
    assert_eq!(inspected["steps"], made["steps"]);
    assert_eq!(inspected["outputs"][0], "logits float32 [1, 10]");
    let bench = json(&["bench", &plan, "--runs", "3", "--json"]);
    assert_eq!(bench["steps"].as_array().unwrap().len(), made["steps"]);
}

#[test]
fn weights_alone_are_rounded_without_samples() {
    let folder = folder("weights");
    let (model, data) = digits(&folder);
    let plan = text(&folder.join("digits.plan"));
    for (mode, least_db) in [("weight8", 40.0), ("weight4", 15.0)] {
        let args = ["--mode", mode, "--block", "16", "--zero-points"];
        let args = [&["quantize", &model, "-o", &plan, "--json"][..], &args].concat();
        let made = json(&args);
        let rounded = made["nodes"].as_u64().unwrap() - made["float_nodes"].as_u64().unwrap();
        assert!(rounded > 0, "{made}");
        let inspected = json(&["inspect", &plan, "--json"]);
        let kernel = format!("{rounded:>4} weight_only_linear");
        let kernels = inspected["kernels"].as_array().unwrap();
        assert!(kernels.contains(&kernel.into()), "{inspected}");
        let found = json(&["compare", &model, &plan, "--data", &data, "--json"]);
        let db = found["sqnr_db"].as_f64().unwrap();
        assert!(db > least_db, "{mode}: {found}");
    }
    let ran = qconfig(&["check", &model, "--mode", "weight4"]);
    let verdict = "weight only, 4 bits in blocks of 32: weight_only_linear";
    assert!(ran.out.contains(verdict), "{}", ran.out);
    let sensitive = ["sensitivity", &model, "--data", &data, "--mode", "weight8"];
    let ran = qconfig(&sensitive);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    for (args, said) in [
        (["--mode", "weight4", "--block", "24"], "blocks are of 16"),
        (
            ["--mode", "dynamic", "--block", "32"],
            "go with --mode weight8",
        ),
        (["--mode", "weight4", "--qconfig", "x86"], "do not go with"),
    ] {
        let ran = qconfig(&[&["quantize", &model, "-o", &plan][..], &args].concat());
        assert_ne!(ran.code, Some(0));
        assert!(ran.err.contains(said), "{}", ran.err);
    }
}

#[test]
fn every_backend_and_observer_quantizes() {
    let folder = folder("backends");
    let (model, data) = digits(&folder);
    let plan = text(&folder.join("digits.plan"));
    let cases = [
        ("qnnpack", "histogram"),
        ("executorch", "min-max"),
        ("x86", "histogram"),
        ("fbgemm", "percentile=99.99"),
        ("onednn", "moving-average"),
        ("native", "percentile=99.9"),
    ];
    for (backend, observer) in cases {
        let args = [
            "--data",
            &data,
            "--backend",
            backend,
            "--observer",
            observer,
        ];
        let quantized = json(&[&["quantize", &model, "-o", &plan, "--json"], &args[..]].concat());
        // PyTorch's ExecuTorch config knows `F.relu` alone, and no ReLU behind a linear layer
        let float = u64::from(backend == "executorch");
        assert_eq!(quantized["float_nodes"], float, "{backend}: {quantized}");
        let compared = json(&["compare", &model, &plan, "--data", &data, "--json"]);
        assert_eq!(
            compared["agreement"], 1.0,
            "{backend}, {observer}: {compared}"
        );
    }
    refused(
        &[
            "quantize",
            &model,
            "-o",
            &plan,
            "--data",
            &data,
            "--observer",
            "percentile=101",
        ],
        &["`101` is no percentage above 0 and up to 100"],
    );
}

#[test]
fn every_node_has_a_verdict_and_strict_fails_where_one_stays_float() {
    let folder = folder("checked");
    let (model, _) = digits(&folder);
    let found = json(&["check", &model, "--json"]);
    assert_eq!(
        (&found["quantized"], &found["float"]),
        (&9.into(), &0.into()),
        "{found}"
    );
    for node in found["nodes"].as_array().unwrap() {
        let written = node["written_at"].as_str().unwrap();
        assert!(written.starts_with("backends/"), "{node}");
    }
    let ran = qconfig(&["check", &model, "--strict", "--float", "conv_layers.3"]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.out.contains("the qconfig mapping leaves it float"),
        "{}",
        ran.out
    );
    assert_eq!(qconfig(&["check", &model, "--strict"]).code, Some(0));
}

#[test]
fn what_each_layer_costs_is_told_and_drawn() {
    let folder = folder("sensitivity");
    let (model, data) = digits(&folder);
    let page = text(&folder.join("page.html"));
    let args = [
        "sensitivity",
        &model,
        "--data",
        &data,
        "--measure",
        "2",
        "--html",
        &page,
    ];
    let found = json(&[&args[..], &["--target-sqnr", "60", "--json"]].concat());
    assert_eq!(found["layers"].as_array().unwrap().len(), 9, "{found}");
    assert!(
        !found["leave_float"].as_array().unwrap().is_empty(),
        "{found}"
    );
    let mixed = found["mixed_sqnr_db"].as_f64();
    let all = found["sqnr_db"].as_f64().unwrap();
    assert!(mixed.is_none_or(|mixed| mixed > all), "{found}");
    let html = fs::read_to_string(&page).unwrap();
    assert_eq!(html.matches("<tr").count(), 10);
    assert!(
        html.contains("<svg") && !html.contains("http://localhost"),
        "plots inside the page"
    );
}

/// A command that fails, with all that its message must say.
fn refused(args: &[&str], says: &[&str]) {
    let ran = qconfig(args);
    assert!(ran.code.is_some_and(|code| code != 0), "{args:?} succeeded");
    assert!(ran.out.is_empty(), "{args:?} printed {}", ran.out);
    for text in says {
        assert!(
            ran.err.contains(text),
            "{args:?} says {} and not {text}",
            ran.err
        );
    }
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
}

#[test]
fn mistakes_are_named_with_file_node_and_remedy() {
    let folder = folder("refused");
    let (model, data) = digits(&folder);
    let plan = text(&folder.join("never.plan"));
    let missing = text(&folder.join("missing.onnx"));
    refused(&["check", &missing], &["missing.onnx", "No such file"]);
    let junk = folder.join("junk.onnx");
    fs::write(&junk, b"this is no model").unwrap();
    refused(
        &["inspect", &text(&junk)],
        &["junk.onnx", "not an ONNX file"],
    );
    refused(
        &["check", &model, "--backend", "qnpack"],
        &["qnpack", "there are: qnnpack"],
    );
    refused(
        &["quantize", &model, "-o", &plan],
        &["needs samples", "--data"],
    );
    let wrong = folder.join("wrong.npy");
    array(&wrong, &[2, 1, 27, 28], &[0.0; 2 * 27 * 28]);
    refused(
        &["quantize", &model, "--data", &text(&wrong), "-o", &plan],
        &["wrong.npy", "[2, 1, 27, 28]", "[1, 1, 28, 28]"],
    );
    let odd = folder.join("odd.onnx");
    fs::write(&odd, single("only", "NonMaxSuppression")).unwrap();
    let unsupported = text(&odd);
    refused(
        &["check", &unsupported],
        &[
            "odd.onnx",
            "node `only`",
            "NonMaxSuppression",
            "not supported",
        ],
    );
    refused(
        &[
            "quantize",
            &model,
            "--data",
            &data,
            "--qconfig",
            "best",
            "-o",
            &plan,
        ],
        &["no qconfig is called `best`", "qnnpack"],
    );
    refused(
        &[
            "quantize",
            &model,
            "--data",
            &data,
            "--shape",
            "picture=1,1,28,28",
            "-o",
            &plan,
        ],
        &["no input `picture`", "there is `"],
    );
    refused(
        &["run", &text(&wrong), "--data", &data],
        &["models are .onnx or .plan files"],
    );
    refused(
        &["run", &model, "--data", &data, "--preprocess", "blur=3"],
        &["there is no step `blur`"],
    );
    assert!(!Path::new(&plan).exists(), "nothing is left behind");
}
