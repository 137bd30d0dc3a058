//! Backend configs from outside: whatever is in them, an answer and never a panic.

use proptest::prelude::*;
use proptest::sample::Index;
use qconfig_core::operator::SPELLINGS;
use qconfig_core::owned::{
    BackendConfig, Chain, DTypeConfig, DTypeWithConstraints, Nested, PatternConfig, Problem,
    ProblemKind,
};
use qconfig_core::{BoundProblem, ConfigProblem, DType, Fuser, ObservationType, PatternProblem};
use qconfig_tests::golden;
use serde_json::{Value, json};

fn qnnpack() -> Value {
    golden::json("backends/qnnpack.json.gz")
}

fn read(value: Value) -> BackendConfig {
    serde_json::from_value(value).expect("has the shape of a backend config")
}

fn problems(value: Value) -> Vec<Problem> {
    read(value).check().expect_err("must be refused")
}

#[test]
fn an_unknown_dtype_is_named_with_its_line() {
    let text = golden::text("backends/qnnpack.json.gz").replacen("\"quint8\"", "\"quint9\"", 1);
    let line = 1 + text
        .lines()
        .position(|line| line.contains("quint9"))
        .unwrap();
    let error = serde_json::from_str::<BackendConfig>(&text).unwrap_err();
    assert!(error.is_data());
    assert_eq!(error.line(), line);
    let message = error.to_string();
    assert!(message.contains("`quint9`"), "{message}");
    assert!(message.contains("`quint8`"), "{message}");
}

#[test]
fn an_unknown_field_is_named() {
    let mut json = qnnpack();
    json["configs"][0]["dtype_configs"][0]["input_dtype"]["scale_minimum"] = json!(0.1);
    let error = serde_json::from_value::<BackendConfig>(json).unwrap_err();
    assert!(error.to_string().contains("`scale_minimum`"), "{error}");
}

#[test]
fn truncated_json_is_an_error_at_its_end() {
    let text = golden::text("backends/qnnpack.json.gz");
    let text = text.trim_end();
    for part in [0, 1, text.len() / 3, text.len() / 2, text.len() - 1] {
        let error = serde_json::from_str::<BackendConfig>(&text[..part]).unwrap_err();
        assert!(error.is_eof(), "{part}: {error}");
    }
}

#[test]
fn contradictory_bounds_are_named_with_their_place() {
    let mut json = qnnpack();
    let weight = &mut json["configs"][0]["dtype_configs"][0]["weight_dtype"];
    weight["quant_min_lower_bound"] = json!(100);
    weight["quant_max_upper_bound"] = json!(-100);
    weight["scale_min_lower_bound"] = json!(0.5);
    weight["scale_max_upper_bound"] = json!(0.25);
    let found = problems(json);
    let place = "configs[0] (torch.nn.Conv1d): dtype_configs[0].weight_dtype";
    assert!(
        found.iter().all(|problem| problem.place == place),
        "{found:?}"
    );
    let kinds: Vec<_> = found.into_iter().map(|problem| problem.kind).collect();
    let (min, max) = (0.5, 0.25);
    assert_eq!(
        kinds,
        [
            ProblemKind::Bound(BoundProblem::EmptyQuant {
                min: 100,
                max: -100
            }),
            ProblemKind::Bound(BoundProblem::ScaleContradiction { min, max }),
        ]
    );
}

#[test]
fn a_duplicate_pattern_is_named_with_the_first() {
    let mut json = qnnpack();
    let configs = json["configs"].as_array_mut().unwrap();
    let again = configs[7].clone();
    let title = again["pattern"].clone();
    configs.push(again);
    let found = problems(json);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].kind, ProblemKind::Duplicate { first: 7 });
    let title = match title {
        Value::String(one) => one,
        Value::Array(parts) => {
            let parts: Vec<&str> = parts.iter().map(|part| part.as_str().unwrap()).collect();
            parts.join(" + ")
        }
        other => panic!("{other}"),
    };
    assert_eq!(found[0].place, format!("configs[190] ({title})"));
}

#[test]
fn other_mistakes_are_named() {
    let dtypes =
        json!([{ "input_dtype": { "dtype": "quint8" }, "output_dtype": { "dtype": "quint8" } }]);
    let config = |config: Value| json!({ "name": "mine", "configs": [config] });
    let one = |value: Value| {
        let found = problems(config(value));
        assert_eq!(found.len(), 1, "{found:?}");
        (found[0].place.clone(), found[0].kind.clone())
    };
    assert_eq!(
        one(json!({ "pattern": "torch.nn.Conv9d", "dtype_configs": dtypes })),
        (
            "configs[0] (torch.nn.Conv9d)".into(),
            ProblemKind::UnknownOperator("torch.nn.Conv9d".into())
        )
    );
    assert_eq!(
        one(json!({ "pattern": ["torch.nn.ReLU", "torch.nn.Conv2d"], "dtype_configs": dtypes })).1,
        ProblemKind::Pattern(PatternProblem::CannotBegin { operator: "relu" })
    );
    assert_eq!(
        one(json!({ "pattern": "torch.nn.ReLU", "dtype_configs": [] })).1,
        ProblemKind::NoDTypeConfig
    );
    assert_eq!(
        one(json!({ "dtype_configs": dtypes })).1,
        ProblemKind::PatternForm
    );
    assert_eq!(
        one(json!({ "pattern": "torch.nn.ReLU", "dtype_configs": [{}] })).1,
        ProblemKind::Config(ConfigProblem::Missing { field: "input" })
    );
    let dynamic = json!([{ "input_dtype": { "dtype": "quint8" }, "output_dtype": { "dtype": "quint8" }, "is_dynamic": true }]);
    assert_eq!(
        one(json!({ "pattern": "torch.nn.Linear", "dtype_configs": dynamic })).1,
        ProblemKind::Config(ConfigProblem::DynamicOutput {
            output: DType::quint8
        })
    );
    let shared =
        json!([{ "input_dtype": { "dtype": "quint8" }, "output_dtype": { "dtype": "qint8" } }]);
    assert!(matches!(
        one(json!({ "pattern": "torch.flatten", "dtype_configs": shared,
                    "observation_type": "OUTPUT_SHARE_OBSERVER_WITH_INPUT" })),
        (place, ProblemKind::SharedObserver { at: 0, .. })
            if place == "configs[0] (torch.flatten): dtype_configs[0]"
    ));
}

#[test]
fn hostile_nesting_is_an_error() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let text = format!(
        r#"{{ "name": "", "configs": [ {{ "pattern_complex_format": {deep}, "dtype_configs": [] }} ] }}"#
    );
    assert!(serde_json::from_str::<BackendConfig>(&text).is_err());
}

/// Every place of a JSON value, as a pointer.
fn places(value: &Value, here: String, all: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                places(item, format!("{here}/{at}"), all);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                places(field, format!("{here}/{name}"), all);
            }
        }
        _ => {}
    }
    all.push(here);
}

/// What a mutation puts somewhere.
fn anything() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "quint8",
        "qint8",
        "qint32",
        "float16",
        "float32",
        "torch.nn.Conv2d",
        "torch.nn.ReLU",
        "operator.add",
        "MatchAllNode",
        "OUTPUT_SHARE_OBSERVER_WITH_INPUT",
        "",
        "\u{0}",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(json!(u64::MAX)),
        word.prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z_]{1,12}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A config that was read is either accepted or refused with places, and reads back as it was.
fn holds(config: &BackendConfig) -> Result<(), TestCaseError> {
    if let Err(found) = config.check() {
        prop_assert!(!found.is_empty());
        for problem in found {
            prop_assert!(problem.place.starts_with("configs["), "{}", problem);
            prop_assert!(!problem.to_string().is_empty());
        }
    }
    let text = serde_json::to_string(config).unwrap();
    let again: BackendConfig = serde_json::from_str(&text).unwrap();
    prop_assert_eq!(&again, config);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_values_never_panic(changes in prop::collection::vec((any::<Index>(), anything(), any::<bool>()), 1..6)) {
        let mut json = qnnpack();
        // a part of the backend keeps this quick
        json["configs"].as_array_mut().unwrap().truncate(12);
        for (at, new, remove) in changes {
            let mut all = Vec::new();
            places(&json, String::new(), &mut all);
            let place = at.get(&all);
            let parent = place.rsplit_once('/').map(|(parent, name)| (parent.to_owned(), name.to_owned()));
            match (remove, parent) {
                (true, Some((parent, name))) => match json.pointer_mut(&parent) {
                    Some(Value::Object(fields)) => { fields.remove(&name); }
                    Some(Value::Array(items)) => { items.remove(name.parse().unwrap()); }
                    _ => {}
                },
                _ => *json.pointer_mut(place).unwrap() = new,
            }
        }
        if let Ok(config) = serde_json::from_value::<BackendConfig>(json) {
            holds(&config)?;
        }
    }

    #[test]
    fn mutated_text_never_panics(changes in prop::collection::vec((any::<Index>(), any::<u8>(), 0..3u8), 1..8)) {
        let text = golden::text("backends/qnnpack.json.gz");
        let mut bytes = text.into_bytes();
        for (at, byte, kind) in changes {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => { bytes.remove(at); }
                _ => bytes.insert(at, byte),
            }
        }
        match serde_json::from_slice::<BackendConfig>(&bytes) {
            Ok(config) => holds(&config)?,
            Err(error) => prop_assert!(error.line() > 0),
        }
    }
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::sample::select(SPELLINGS).prop_map(|spelling| spelling.path.to_owned()),
        1 => ".{0,12}",
    ]
}

fn chain() -> impl Strategy<Value = Chain> {
    prop_oneof![
        path().prop_map(Chain::One),
        prop::collection::vec(path(), 0..5).prop_map(Chain::Many),
    ]
}

fn nested() -> impl Strategy<Value = Nested> {
    let leaf = prop_oneof![path(), Just("MatchAllNode".to_owned())].prop_map(Nested::Leaf);
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop::collection::vec(inner, 0..4).prop_map(Nested::Node)
    })
}

fn dtype() -> impl Strategy<Value = DType> {
    prop::sample::select(DType::ALL)
}

fn finite() -> impl Strategy<Value = f64> {
    any::<f64>().prop_map(|x| if x.is_finite() { x } else { 0.5 })
}

fn constraints() -> impl Strategy<Value = DTypeWithConstraints> {
    use prop::option::of;
    (
        dtype(),
        (of(any::<i64>()), of(any::<i64>())),
        (of(finite()), of(finite()), of(finite())),
        of(any::<i64>()),
    )
        .prop_map(|(dtype, quant, scale, zero_point)| DTypeWithConstraints {
            dtype,
            quant_min_lower_bound: quant.0,
            quant_max_upper_bound: quant.1,
            scale_min_lower_bound: scale.0,
            scale_max_upper_bound: scale.1,
            scale_exact_match: scale.2,
            zero_point_exact_match: zero_point,
        })
}

fn dtype_config() -> impl Strategy<Value = DTypeConfig> {
    use prop::option::of;
    (
        of(constraints()),
        of(constraints()),
        of(constraints()),
        of(dtype()),
        any::<bool>(),
    )
        .prop_map(|(input, output, weight, bias, is_dynamic)| DTypeConfig {
            input_dtype: input,
            output_dtype: output,
            weight_dtype: weight,
            bias_dtype: bias,
            is_dynamic,
        })
}

fn observation() -> impl Strategy<Value = ObservationType> {
    prop::sample::select(vec![
        ObservationType::OutputUseDifferentObserverAsInput,
        ObservationType::OutputShareObserverWithInput,
        ObservationType::InputOutputNotObserved,
    ])
}

fn pattern_config() -> impl Strategy<Value = PatternConfig> {
    use prop::collection::{btree_map, vec};
    use prop::option::of;
    (
        (of(chain()), of(nested())),
        observation(),
        vec(dtype_config(), 0..3),
        (of(path()), of(path()), of(path()), of(path())),
        (
            of(prop::sample::select(Fuser::ALL.to_vec())),
            of(vec(any::<u8>(), 0..4)),
            vec(vec(any::<u8>(), 0..4), 0..3),
        ),
        btree_map(any::<u8>(), observation(), 0..3),
        btree_map("[a-z]{1,6}", any::<u8>(), 0..3),
    )
        .prop_map(
            |(pattern, observation_type, dtype_configs, modules, fusion, by_args, args)| {
                PatternConfig {
                    pattern: pattern.0,
                    pattern_complex_format: pattern.1,
                    observation_type,
                    dtype_configs,
                    root_module: modules.0,
                    qat_module: modules.1,
                    reference_quantized_module_for_root: modules.2,
                    fused_module: modules.3,
                    fuser_method: fusion.0,
                    root_node: fusion.1,
                    extra_inputs: fusion.2,
                    num_tensor_args_to_observation_type: by_args,
                    input_type_to_index: args,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_config_reads_back_as_it_was(name in ".{0,8}", configs in prop::collection::vec(pattern_config(), 0..4)) {
        holds(&BackendConfig { name, configs })?;
    }
}
