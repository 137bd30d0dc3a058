//! Which network is compiled in. Without the variables it is the one of digits that the repository holds.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let digits = here.join("../data/digits.plan");
    for name in ["PLAN", "CLASSES", "MEAN", "STD", "CROP"] {
        println!("cargo::rerun-if-env-changed=QCONFIG_{name}");
    }
    let given = |name: &str| env::var(format!("QCONFIG_{name}")).ok();
    let file = |path: &Path| -> Result<String, Box<dyn Error>> {
        let path =
            fs::canonicalize(path).map_err(|error| format!("{}: {error}", path.display()))?;
        println!("cargo::rerun-if-changed={}", path.display());
        Ok(path.display().to_string())
    };
    let (plan, classes) = match given("PLAN") {
        Some(plan) => (file(Path::new(&plan))?, given("CLASSES")),
        None => (file(&digits)?, None),
    };
    let classes = match classes {
        Some(classes) => file(Path::new(&classes))?,
        None => {
            let numbers = out.join("classes.txt");
            let lines: Vec<String> = (0..1000).map(|class| class.to_string()).collect();
            fs::write(&numbers, lines.join("\n"))?;
            numbers.display().to_string()
        }
    };
    println!("cargo::rustc-env=PHOTO_PLAN={plan}");
    println!("cargo::rustc-env=PHOTO_CLASSES={classes}");
    // of digits: (x / 255 - 0.1307) / 0.3081
    let mut numbers = String::new();
    for (name, digits) in [("MEAN", "33.3285"), ("STD", "78.5655"), ("CROP", "1")] {
        let value = given(name).unwrap_or_else(|| digits.into());
        let number = value
            .parse::<f32>()
            .map_err(|_| format!("QCONFIG_{name} is `{value}`, which is no number"))?;
        numbers += &format!("pub(super) const {name}: f32 = {number:?};\n");
    }
    let file = out.join("numbers.rs");
    fs::write(&file, numbers)?;
    println!("cargo::rustc-env=PHOTO_NUMBERS={}", file.display());
    Ok(())
}
