//! Trained networks through the command, where `examples/models/models.py` has put them below `target/models`, or
//! where `QCONFIG_MODELS` says; without them there is nothing to see here, and the tests say so.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use npyz::WriterBuilder as _;
use serde_json::Value;

/// A model's folder.
fn models(name: &str) -> Option<PathBuf> {
    let all = std::env::var_os("QCONFIG_MODELS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/models"),
        PathBuf::from,
    );
    let folder = all.join(name);
    let found = folder.is_dir();
    if !found {
        eprintln!(
            "not tested: there is no {}; examples/models/README.md says how to fetch it",
            folder.display()
        );
    }
    found.then_some(folder)
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn json(args: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_qconfig"))
        .args(args)
        .arg("--json")
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Silero VAD over a minute of sound: 1,875 decisions. The nearest is 0.004 from the threshold, and dynamic int8 moves
/// probabilities by up to 0.03 (of PyTorch's too, examples/models/README.md), so that some decisions are luck; the
/// plan that `sensitivity` suggests has all as in float.
#[test]
fn speech_decisions_are_those_of_float() {
    let Some(silero) = models("silero") else {
        return;
    };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("silero");
    fs::create_dir_all(&folder).unwrap();
    // the first states of so many samples
    let zeros = |samples: u64| {
        let path = folder.join(format!("zeros_{samples}.npy"));
        let mut writer = npyz::WriteOptions::new()
            .default_dtype()
            .shape(&[samples, 1, 128])
            .writer(File::create(&path).unwrap())
            .begin_nd()
            .unwrap();
        writer.extend((0..128 * samples).map(|_| 0.0f32)).unwrap();
        writer.finish().unwrap();
        ["h", "c"].map(|state| format!("{state}={}", path.display()))
    };
    let model = text(&silero.join("float.onnx"));
    let frames = format!("input={}", silero.join("frames.npy").display());
    let [h, c] = zeros(1);
    let data = ["--data", &frames, "--data", &h, "--data", &c];
    let dynamic = ["--mode", "dynamic", "--dim", "sequence_length=1875"];
    let plan = text(&folder.join("silero.plan"));
    let decisions = |options: &[&str]| {
        json(
            &[
                &["quantize", &model, "-o", &plan],
                &dynamic[..],
                &data,
                options,
            ]
            .concat(),
        );
        let against = ["compare", &model, &plan, "--threshold", "0.5"];
        let found = json(&[&against[..], &dynamic[2..], &data].concat());
        assert_eq!(found["decisions"], 1875, "{found}");
        found
    };
    let int8 = decisions(&[]);
    let same = int8["same_decisions"].as_u64().unwrap();
    assert!((1870..=1875).contains(&same), "{int8}");

    // a fifth of the minute tells which layer it is
    let [h, c] = zeros(5);
    let suggested = json(&[
        "sensitivity",
        &model,
        "--mode",
        "dynamic",
        "--dim",
        "sequence_length=375",
        "--data",
        &frames,
        "--data",
        &h,
        "--data",
        &c,
        "--measure",
        "1",
        "--target-sqnr",
        "60",
    ]);
    assert_eq!(
        (&suggested["leave_float"], &suggested["leave_fp16"]),
        (
            &Value::Array(vec![]),
            &serde_json::json!(["/recurrent/LSTM"])
        ),
        "{suggested}"
    );
    assert!(
        suggested["mixed_sqnr_db"].as_f64() > Some(60.0),
        "{suggested}"
    );

    let mixed = decisions(&["--fp16", "^/recurrent/LSTM$"]);
    assert_eq!(mixed["same_decisions"], 1875, "{mixed}");
    assert!(mixed["sqnr_db"].as_f64() > Some(70.0), "{mixed}");

    let inspected = json(&["inspect", &plan]);
    let names: Vec<&str> = inspected["outputs"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|line| line.as_str()?.split(' ').next())
        .collect();
    assert_eq!(names, ["speech_probs", "hn", "cn"]);
}
