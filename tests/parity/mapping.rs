use qconfig_core::{
    QConfig, QConfigMapping, default_qat_qconfig_mapping, default_qconfig_mapping,
    qconfig_mapping_with,
};
use qconfig_tests::{golden, qconfigs};
use serde_json::Value;

use crate::BACKENDS;

fn equal(mapping: &QConfigMapping, expected: &Value, name: &str) {
    assert_eq!(
        mapping.global_qconfig(),
        qconfigs::qconfig(&expected["global"]),
        "{name}: global"
    );
    let expected: Vec<_> = expected["object_types"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            let path = entry["object_type"].as_str().unwrap();
            (path, qconfigs::qconfig(entry))
        })
        .collect();
    let found: Vec<_> = mapping.object_type_qconfigs().collect();
    for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(found, expected, "{name}: object type {at}");
    }
    assert_eq!(found.len(), expected.len());
    println!(
        "{name}: global and {} object types equal torch's",
        found.len()
    );
}

#[test]
fn default_mappings_are_torchs() {
    let expected = golden::json("qconfig_mappings.json.gz");
    let mut engines = 0;
    for (name, ..) in BACKENDS {
        let (default, qat) = (
            default_qconfig_mapping(name),
            default_qat_qconfig_mapping(name),
        );
        let expected = &expected[name];
        if expected.is_null() {
            // torch raises: it has mappings for engines only
            assert!(default.is_none() && qat.is_none(), "{name}");
            continue;
        }
        engines += 1;
        equal(&default.unwrap(), &expected["default"], name);
        equal(&qat.unwrap(), &expected["qat"], &format!("{name}, QAT"));
    }
    assert_eq!(engines, 4);
}

/// The named qconfigs that the verdicts were made with are ours.
#[test]
fn named_qconfigs_are_torchs() {
    let verdicts = golden::json("verdicts/qnnpack.json.gz");
    let mut equal = 0;
    for described in verdicts["qconfigs"].as_array().unwrap() {
        let name = described["name"].as_str().unwrap();
        let named = name
            .strip_prefix("get_default_qconfig(\"")
            .and_then(|rest| rest.strip_suffix("\")"))
            .unwrap_or(name);
        if let Some(ours) = QConfig::named(named) {
            assert_eq!(Some(ours), qconfigs::qconfig(described), "{name}");
            equal += 1;
        }
    }
    println!("{equal} named qconfigs equal torch's");
    // those for training are in the mappings
    let trained = QConfig::NAMED
        .iter()
        .filter(|(name, _)| name.ends_with("_qat"));
    assert_eq!(equal + trained.count(), QConfig::NAMED.len());
}

#[test]
fn another_qconfig_leaves_fixed_parameters() {
    let symmetric = QConfig::DEFAULT_SYMMETRIC_QNNPACK;
    let mapping = qconfig_mapping_with("qnnpack", symmetric).expect("a known backend");
    assert_eq!(mapping.global_qconfig(), Some(symmetric));
    let default = default_qconfig_mapping("qnnpack").unwrap();
    let fixed = |path: &str| {
        path.to_lowercase().contains("sigmoid") || path.contains("anh") || path.contains("Softmax")
    };
    for ((path, ours), (_, before)) in mapping
        .object_type_qconfigs()
        .zip(default.object_type_qconfigs())
    {
        let expected = if fixed(path) { before } else { Some(symmetric) };
        assert_eq!(ours, expected, "{path}");
    }
}
