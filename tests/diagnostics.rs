//! The book's index of diagnostics is made of the compile-fail cases: what is written, and what the compiler says.
//!
//! `BLESS=1 cargo test -p qconfig-tests --test diagnostics` writes it anew.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const HEAD: &str = "# Every diagnostic, with its cause

Each mistake is an error on the word that is wrong: what is wrong, facts that explain it (`note`), and what to do
(`help`). This page is made of the compile-fail tests in `tests/ui`, one case each; what the compiler says is held
against them by the tests.
";

/// What the folders of cases are about.
const TOPICS: [(&str, &str); 11] = [
    ("syntax", "Statements that cannot be read"),
    ("names", "Names"),
    ("dtype", "Dtypes"),
    ("constraint", "Bounds"),
    ("config", "Dtype configs"),
    ("pattern", "Patterns"),
    ("tree", "Trees"),
    ("kernel", "Kernels"),
    ("inherit", "Inheritance"),
    ("library", "Libraries of groups"),
    ("kernels_table", "Tables of kernels"),
];

fn cases(folder: &Path) -> Vec<PathBuf> {
    let mut cases: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
        .collect();
    cases.sort();
    cases
}

fn page() -> (String, usize) {
    let ui = Path::new(env!("CARGO_MANIFEST_DIR")).join("ui");
    let mut page = HEAD.to_owned();
    let mut count = 0;
    let mut folders: Vec<String> = fs::read_dir(&ui)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    for (folder, title) in TOPICS {
        folders.retain(|found| found.as_str() != folder);
        writeln!(page, "\n## {title}").unwrap();
        for case in cases(&ui.join(folder)) {
            let source = fs::read_to_string(&case).unwrap();
            let said = fs::read_to_string(case.with_extension("stderr")).unwrap();
            let name = case
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .replace('_', " ");
            let fence = if source.contains("```") {
                "````"
            } else {
                "```"
            };
            write!(
                page,
                "\n### {name}\n\n{fence}text\n{}\n{fence}\n\n{fence}text\n{}\n{fence}\n",
                source.trim_end(),
                said.trim_end()
            )
            .unwrap();
            count += 1;
        }
    }
    assert!(folders.is_empty(), "topics without a title: {folders:?}");
    (page, count)
}

#[test]
fn the_index_is_made_of_the_cases() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/diagnostics.md");
    let (page, count) = page();
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap();
    let first = committed
        .lines()
        .zip(page.lines())
        .position(|(a, b)| a != b);
    assert_eq!(
        first, None,
        "docs/diagnostics.md differs from the cases; line from 0"
    );
    assert_eq!(committed.len(), page.len());
    println!("{count} diagnostics");
}
