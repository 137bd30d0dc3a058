//! Single layers: what is measured computes what the float layer does.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use qconfig::Isa;
use qconfig::backends::QNNPACK;
use qconfig::kernels::glue;
use qconfig::quantize::{Weights, sqnr_db};
use qconfig::runtime::{Plan, Session, SessionOptions};
use qconfig_benches::layers;
use serde_json::Value;

fn check(name: &str, least_db: f64) {
    let folder = std::env::temp_dir().join(format!("qconfig-layers-{}", std::process::id()));
    layers::save(name, &folder).unwrap();
    let read = |kind: &str| std::fs::read(folder.join(format!("{name}.{kind}"))).unwrap();
    let bytes = read("plan");
    let plan = Plan::from_bytes(&bytes, |name| {
        QNNPACK.kernel_named(name).or_else(|| glue(name))
    })
    .unwrap();
    let mut session = Session::new(&plan, SessionOptions::with_isa(Isa::detect())).unwrap();
    let input = read("input");
    let mut rest = &input[..];
    for index in 0..plan.inputs().len() {
        let target = session.input_mut(index).unwrap();
        let (mine, more) = rest.split_at(target.len());
        target.copy_from_slice(mine);
        rest = more;
    }
    // a table has many lists of rows, of which this is the first
    let is_table = name.starts_with("embedding");
    assert_eq!(rest.is_empty(), !is_table, "{name}");
    session.run().unwrap();

    let description: Value = serde_json::from_slice(&read("json")).unwrap();
    let output = session.output(0).unwrap();
    let found: Vec<f64> = match description["qparams"].as_array().unwrap().last() {
        Some(q) => {
            let (scale, zero) = (
                q["scale"].as_f64().unwrap(),
                q["zero_point"].as_f64().unwrap(),
            );
            output
                .iter()
                .map(|q| scale * (f64::from(*q) - zero))
                .collect()
        }
        None => {
            let words = output.as_chunks().0.iter();
            words
                .map(|word| f64::from(f32::from_ne_bytes(*word)))
                .collect()
        }
    };
    let bytes = read("safetensors");
    let expected = Weights::from_bytes(&bytes).unwrap().get("output").unwrap();
    assert_eq!(expected.data().len(), found.len());
    let pairs = || expected.data().iter().map(|x| f64::from(*x)).zip(&found);
    let sqnr = sqnr_db(
        pairs().map(|(x, _)| x * x).sum(),
        pairs().map(|(x, y)| (x - y) * (x - y)).sum(),
    );
    assert!(sqnr > least_db, "{name}: {sqnr:.1} dB");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn every_kind_is_near_to_its_float_layer() {
    for (name, least_db) in [
        ("linear-5x24x40", 35.0),
        ("dynamic-5x24x40", 35.0),
        ("fp16-5x24x40", 65.0),
        ("add-6x5x8", 40.0),
        ("sigmoid-6x5x8", 45.0),
        ("hardswish-6x5x8", 45.0),
        ("lstm-6x20x24", 30.0),
        ("embedding8-100x6x9x16", 35.0),
        ("embedding4-100x6x9x16", 12.0),
    ] {
        check(name, least_db);
    }
}

#[test]
fn an_unknown_layer_is_named_with_those_there_are() {
    for name in ["conv-3x3", "linear-3x3", "linear", "linear-axbxc"] {
        let error = layers::save(name, &std::env::temp_dir())
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            format!("no layer is called `{name}`; there are: {}", layers::KINDS)
        );
    }
}
