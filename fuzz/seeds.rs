//! Fills the corpora from the models, plans, configs and arrays that the tests and examples have, and from pieces of
//! the trained models that `examples/models/models.py` has put below `target/models` (`QCONFIG_MODELS` says where else).

mod pieces;

use std::fs::{self, File};
use std::io::{Cursor, Read, Seek};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use qconfig::backends::QNNPACK;
use qconfig::onnx::{ImportOptions, Imported, import, read, read_file, write};
use qconfig::quantize::{Graph, Lowered, Tensor, adopt, calibrate, convert, fuse, lower, prepare};
use qconfig::{DType, QConfigMapping, default_qconfig_mapping};

/// Longer inputs are slow to mutate, and hold the same structures more often.
const LONGEST: usize = 64 << 10;

fn main() -> anyhow::Result<()> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = fuzz.parent().context("the package is in the project")?;
    let seed = |target: &str, name: &str, bytes: &[u8]| -> anyhow::Result<()> {
        let folder = fuzz.join("corpus").join(target);
        fs::create_dir_all(&folder)?;
        Ok(fs::write(folder.join(name), bytes)?)
    };

    for path in files(&root.join("tests/golden/onnx"), ".onnx.gz")? {
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(File::open(&path)?).read_to_end(&mut bytes)?;
        let name = stem(&path, ".onnx.gz");
        if bytes.len() <= LONGEST {
            seed("onnx", &name, &bytes)?;
        }
        let model = read(&bytes).with_context(|| name.clone())?;
        let Ok(imported) = import(&model, &ImportOptions::default()) else {
            continue; // its shapes are the test's
        };
        for (kind, lowered) in plans(&imported) {
            let plan = lowered.plan.to_bytes();
            if plan.len() <= LONGEST {
                seed("plan", &format!("{name}_{kind}"), &plan)?;
            }
        }
    }
    let digits = fs::read(root.join("examples/data/digits.plan"))?;
    seed("plan", "digits", &digits)?;

    let models = std::env::var_os("QCONFIG_MODELS");
    let models = models.map_or_else(|| root.join("target/models"), PathBuf::from);
    for path in trained(&models)? {
        let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
        let name = format!("{}_{}", folder.to_string_lossy(), stem(&path, ".onnx"));
        let model = read_file(&path)?;
        let Ok(imported) = import(&model, &ImportOptions::default()) else {
            println!("{name}: not imported, no pieces");
            continue;
        };
        let mut kept = [0; 2];
        for (at, piece) in pieces::pieces(&model, &imported).iter().enumerate() {
            let bytes = write(piece)?;
            if bytes.len() > LONGEST {
                continue;
            }
            seed("onnx", &format!("{name}_{at}"), &bytes)?;
            kept[0] += 1;
            let Ok(imported) = import(&read(&bytes)?, &ImportOptions::default()) else {
                continue; // integers on its edges, which a graph has not
            };
            kept[1] += 1;
            for (kind, lowered) in plans(&imported) {
                let plan = lowered.plan.to_bytes();
                if plan.len() <= LONGEST {
                    seed("plan", &format!("{name}_{at}_{kind}"), &plan)?;
                }
            }
        }
        println!("{name}: {} pieces, {} of them graphs", kept[0], kept[1]);
    }

    for path in files(&root.join("tests/golden/backends"), ".json.gz")? {
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(File::open(&path)?).read_to_end(&mut bytes)?;
        if bytes.len() <= LONGEST {
            seed("config", &stem(&path, ".json.gz"), &bytes)?;
        }
        // one pattern each: short inputs show more a second
        let json: serde_json::Value = serde_json::from_slice(&bytes)?;
        let patterns = json["configs"].as_array().into_iter().flatten();
        for (at, pattern) in patterns.enumerate().step_by(8) {
            let one = serde_json::json!({ "name": "one", "configs": [pattern] });
            let name = format!("{}_{at}", stem(&path, ".json.gz"));
            seed("config", &name, one.to_string().as_bytes())?;
        }
    }

    for name in ["tests/golden/onnx/small.npz", "tests/golden/sharing.npz"] {
        let bytes = fs::read(root.join(name))?;
        if bytes.len() <= LONGEST {
            seed("npy", &stem(Path::new(name), ".npz"), &bytes)?;
        }
        entries(Cursor::new(bytes), |name, array| {
            if array.len() <= 4 << 10 {
                seed("npy", name, array)?;
            }
            Ok(())
        })?;
    }
    for (name, shape) in [("small_floats", vec![2u64, 2, 3]), ("small_scalar", vec![])] {
        seed("npy", name, &array::<f32>(&shape, |at| at as f32)?)?;
    }
    let wide = array::<i64>(&[3, 2], |at| at as i64)?;
    seed("npy", "small_integers", &wide)?;
    seed("npy", "small_labels", &array::<i32>(&[9], |at| at as i32)?)?;
    seed(
        "npy",
        "small_bytes",
        &array::<u8>(&[4, 2, 3], |at| at as u8)?,
    )?;
    seed("npy", "small_archive", &archive(&wide)?)?;
    Ok(())
}

/// The trained models there are: none where nobody fetched them.
fn trained(models: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if models.is_dir() {
        for entry in fs::read_dir(models)? {
            let folder = entry?.path();
            if folder.is_dir() {
                found.extend(files(&folder, ".onnx")?);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn files(folder: &Path, ending: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn stem(path: &Path, ending: &str) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.trim_end_matches(ending).into()
}

/// The model in float, as it was quantized before, and quantized here.
fn plans(imported: &Imported) -> Vec<(&'static str, Lowered)> {
    let graph = &imported.graph;
    if imported.is_quantized() {
        let plan = lower(&adopt(graph, &QNNPACK, &imported.given));
        return plan.into_iter().map(|plan| ("given", plan)).collect();
    }
    let float = QConfigMapping::new();
    let quantized = default_qconfig_mapping("qnnpack");
    let both = [("float", Some(float)), ("quantized", quantized)];
    both.into_iter()
        .filter_map(|(kind, mapping)| Some((kind, plan(graph, &mapping?)?)))
        .collect()
}

fn plan(graph: &Graph, mapping: &QConfigMapping) -> Option<Lowered> {
    let prepared = prepare(&fuse(graph, &QNNPACK), &QNNPACK, mapping).ok()?;
    let sample: Option<Vec<Tensor>> = graph
        .inputs()
        .iter()
        .map(|id| {
            let value = graph.value(*id);
            let count = value.shape.iter().product::<usize>();
            let shape = value.shape.clone();
            if value.dtype == DType::float32 {
                Tensor::new(
                    shape,
                    (0..count)
                        .map(|at| (at * 37 % 101) as f32 / 50.0 - 1.0)
                        .collect(),
                )
                .ok()
            } else {
                Tensor::indices(shape, (0..count).map(|at| at as i64 % 7).collect()).ok()
            }
        })
        .collect();
    let calibrated = calibrate(&prepared, [sample?], |_| {}).ok()?;
    lower(&convert(&calibrated).ok()?).ok()
}

fn entries(
    archive: impl Read + Seek,
    mut each: impl FnMut(&str, &[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut archive = zip::ZipArchive::new(archive)?;
    for at in 0..archive.len() {
        let mut bytes = Vec::new();
        archive.by_index(at)?.read_to_end(&mut bytes)?;
        each(&format!("entry_{at}_{}", bytes.len()), &bytes)?;
    }
    Ok(())
}

fn array<T: npyz::AutoSerialize>(
    shape: &[u64],
    value: impl Fn(u64) -> T,
) -> anyhow::Result<Vec<u8>> {
    use npyz::WriterBuilder as _;
    let mut bytes = Vec::new();
    let options = npyz::WriteOptions::new().default_dtype().shape(shape);
    let mut writer = options.writer(&mut bytes).begin_nd()?;
    writer.extend((0..shape.iter().product()).map(value))?;
    writer.finish()?;
    Ok(bytes)
}

/// An archive with one array, named as the target asks for it.
fn archive(array: &[u8]) -> anyhow::Result<Vec<u8>> {
    use std::io::Write as _;
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    archive.start_file("x.npy", zip::write::SimpleFileOptions::default())?;
    archive.write_all(array)?;
    Ok(archive.finish()?.into_inner())
}
