use qconfig_core::{QConfig, default_qconfig_mapping, qconfig_mapping_with};
use qconfig_tests::{golden, qconfigs};

#[test]
fn default_mapping_is_torchs() {
    let expected = golden::json("qnnpack_qconfig_mapping.json");
    let mapping = default_qconfig_mapping("qnnpack").expect("a known backend");
    assert_eq!(
        mapping.global_qconfig(),
        qconfigs::qconfig(&expected["global"]),
        "global"
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
        assert_eq!(found, expected, "object type {at}");
    }
    assert_eq!(found.len(), expected.len());
    println!("global and {} object types equal torch's", found.len());
}

/// The named qconfigs that the verdicts were made with are ours.
#[test]
fn named_qconfigs_are_torchs() {
    let verdicts = golden::json("verdicts.json.gz");
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
    assert!(equal >= QConfig::NAMED.len(), "{equal}");
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
