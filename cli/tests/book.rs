//! The book's page of commands: every command on it is run, and must print what stands there.
//!
//! `BLESS=1 cargo test --release -p qconfig-cli --test book` writes down what they print now.
#![cfg(unix)] // commands with pipes are given to `sh`
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod files;

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use files::{array, single};
use flate2::read::GzDecoder;
use npyz::NpyFile;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What the page's reader has: the network of digits, 40 digits with labels, files that do not fit, a config that
/// PyTorch dumped, and a spec.
fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("book");
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    fs::create_dir_all(&folder).unwrap();
    let unpacked = |path: &str| {
        let mut bytes = Vec::new();
        let file = File::open(root().join("tests/golden").join(path)).unwrap();
        GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
        bytes
    };
    let put = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    put("digits.onnx", &unpacked("onnx/digits_float.onnx.gz"));
    put("dump.json", &unpacked("backends/qnnpack_pt2e.json.gz"));
    put("odd.onnx", &single("/head/NonZero", "NonZero"));
    let archive = File::open(root().join("examples/data/digits.npz")).unwrap();
    let mut archive = zip::ZipArchive::new(BufReader::new(archive)).unwrap();
    let npy = NpyFile::new(archive.by_name("eval_images.npy").unwrap()).unwrap();
    let pixels = npy.data::<u8>().unwrap().take(40 * 784);
    let pixels: Vec<f32> = pixels
        .map(|pixel| (f32::from(pixel.unwrap()) / 255.0 - 0.1307) / 0.3081)
        .collect();
    array(&folder.join("digits.npy"), &[40, 1, 28, 28], &pixels);
    array(&folder.join("wide.npy"), &[40, 1, 14, 56], &pixels);
    let npy = NpyFile::new(archive.by_name("eval_labels.npy").unwrap()).unwrap();
    let labels = npy.into_vec::<u8>().unwrap_or_default();
    let labels: Vec<i64> = labels.into_iter().take(40).map(i64::from).collect();
    assert_eq!(labels.len(), 40);
    array(&folder.join("labels.npy"), &[40], &labels);
    put(
        "tiny.rs",
        b"qconfig::backend_config! {\n    pub backend TINY = \"tiny\";\n      dtype act = quint8 { quant in 0..=127 };\n    \
          config plain { input: act, output: act }\n    pattern torch::add: plain { kernel => qconfig::kernels::Q8Add; }\n}\n",
    );
    folder
}

/// What a command prints, on either stream, and how it ends where that is no success.
fn printed(command: &str, folder: &Path) -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_qconfig")).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("sh")
        .args(["-c", &format!("{{ {command}\n}} 2>&1")])
        .env("PATH", format!("{}:{path}", binary.display()))
        .env_remove("QCONFIG_ISA")
        .current_dir(folder)
        .output()
        .unwrap();
    let mut text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("panicked"), "{command}: {text}");
    match output.status.code() {
        Some(0) => {}
        Some(code) => text += &format!("[exit code {code}]\n"),
        None => panic!("{command} was killed"),
    }
    text
}

/// Words that are the same on every machine: times, rates, shares and what kernels need are not, nor instruction sets and
/// the variants of kernels, and the frames of tables are as wide as those.
fn stable(text: &str, is_varying: bool) -> String {
    if !is_varying {
        return text.into();
    }
    let is_kept = |word: &&str| {
        let is_frame = word.chars().all(|c| "─═┌┬┐╞╪╡└┴┘│┆".contains(c));
        let is_number = word.trim_end_matches(',').parse::<f64>().is_ok() || *word == "%";
        let sets = ["scalar", "avx", "neon"];
        let is_variant = word.contains("__") || sets.iter().any(|set| word.starts_with(set));
        !is_frame && !is_number && !is_variant
    };
    let lines = text.lines().map(|line| {
        let words = line.split_whitespace().filter(is_kept);
        words.collect::<Vec<_>>().join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_command_prints_what_the_page_says() {
    let path = root().join("docs/commands.md");
    let page = fs::read_to_string(&path).unwrap();
    let folder = folder();
    let mut found = String::new();
    let mut differences = Vec::new();
    let (mut commands, is_blessed) = (0, std::env::var_os("BLESS").is_some());
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        found += line;
        found += "\n";
        if !matches!(line, "```console" | "```console,varying") {
            continue;
        }
        let is_varying = line.ends_with("varying");
        while let Some(line) = lines.next_if(|line| *line != "```") {
            let Some(first) = line.strip_prefix("$ ") else {
                panic!("a block begins with `{line}`, and not with a command");
            };
            let mut command = first.to_owned();
            found += &format!("{line}\n");
            while command.ends_with('\\') {
                let more = lines.next().unwrap();
                command = format!("{command}\n{more}");
                found += &format!("{more}\n");
            }
            let mut expected = String::new();
            while let Some(line) = lines.next_if(|line| *line != "```" && !line.starts_with("$ ")) {
                expected += &format!("{line}\n");
            }
            let says = printed(&command, &folder);
            commands += 1;
            if stable(&says, is_varying) != stable(&expected, is_varying) {
                differences.push(format!("$ {command}\n{says}"));
            }
            found += &says;
        }
    }
    if is_blessed {
        fs::write(&path, &found).unwrap();
        return;
    }
    assert!(
        differences.is_empty(),
        "docs/commands.md says something else of\n{}",
        differences.join("\n")
    );
    assert!(commands > 30, "{commands} commands");
}

/// Every command of the program stands on the page.
#[test]
fn no_command_is_missing() {
    let page = fs::read_to_string(root().join("docs/commands.md")).unwrap();
    let help = printed("qconfig --help", &root());
    let mut names = Vec::new();
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    for line in commands.take_while(|line| !line.is_empty()) {
        names.extend(line.split_whitespace().next());
    }
    assert!(names.len() > 12, "{names:?}");
    for name in names {
        let is_shown = page.contains(&format!("$ qconfig {name}"));
        assert!(is_shown, "`qconfig {name}` is not on the page");
    }
}
