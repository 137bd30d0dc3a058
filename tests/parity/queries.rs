//! What `torch.ao.quantization.backend_config.utils` answers.

use qconfig_core::owned::{DTypeConfig, Nested};
use qconfig_core::{Pattern, Spelling};
use qconfig_tests::golden;
use serde_json::{Map, Value, json};

use crate::BACKENDS;

fn nested(pattern: Pattern) -> Value {
    serde_json::to_value(Nested::from(&pattern)).unwrap()
}

fn sorted<'a>(classes: impl Iterator<Item = &'a Spelling>) -> Value {
    let mut paths: Vec<&str> = classes.map(|class| class.path).collect();
    paths.sort_unstable();
    json!(paths)
}

fn pairs<T>(found: impl Iterator<Item = (Pattern, T)>, value: impl Fn(T) -> Value) -> Value {
    found
        .map(|(pattern, answer)| json!([nested(pattern), value(answer)]))
        .collect()
}

#[test]
fn answers_are_torchs() {
    let golden = golden::json("backends/queries.json.gz");
    for (name, backend, ..) in BACKENDS {
        let answers = [
            (
                "pattern_to_dtype_configs",
                pairs(backend.pattern_to_dtype_configs(), |configs| {
                    let configs = configs.iter().map(DTypeConfig::from);
                    serde_json::to_value(configs.collect::<Vec<_>>()).unwrap()
                }),
            ),
            ("qat_module_classes", sorted(backend.qat_module_classes())),
            (
                "fused_module_classes",
                sorted(backend.fused_module_classes()),
            ),
            (
                "pattern_to_input_type_to_index",
                pairs(backend.pattern_to_input_type_to_index(), |args| {
                    let args = args
                        .iter()
                        .map(|(name, at)| ((*name).to_owned(), json!(at)));
                    Value::Object(args.collect::<Map<_, _>>())
                }),
            ),
            (
                "root_module_to_quantized_reference_module",
                backend
                    .root_module_to_quantized_reference_module()
                    .map(|(root, reference)| json!([root.path, reference.path]))
                    .collect(),
            ),
            (
                "fuser_method_mapping",
                backend
                    .fuser_method_mapping()
                    .map(|(pattern, _)| nested(pattern))
                    .collect(),
            ),
            (
                "module_to_qat_module",
                pairs(backend.module_to_qat_module(), |module| json!(module.path)),
            ),
            (
                "fusion_pattern_to_root_node_getter",
                pairs(backend.fusion_pattern_to_root_node_getter(), |path| {
                    json!(path)
                }),
            ),
            (
                "fusion_pattern_to_extra_inputs_getter",
                pairs(backend.fusion_pattern_to_extra_inputs_getter(), |paths| {
                    json!(paths)
                }),
            ),
        ];
        let expected = golden[name].as_object().unwrap();
        assert_eq!(answers.len(), expected.len());
        for (question, answer) in answers {
            assert_eq!(answer, expected[question], "{name}: {question}");
        }
        println!("{name}: 9 questions answered as torch does");
    }
}

/// Every entry can be printed for a reader, with all that it says.
#[test]
fn entries_are_readable() {
    let text = qconfig_backends::ONEDNN.configs[57].to_string();
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        [
            "torch::add(nn::BatchNorm2d(nn::Conv2d), _)",
            "  input quint8; output quint8; weight qint8; bias float32",
            "  observation: OUTPUT_USE_DIFFERENT_OBSERVER_AS_INPUT",
            "  fused: torch.ao.nn.intrinsic.ConvAdd2d",
            "  fuser: conv_bn_add",
            "  root node: [0, 0]",
            "  extra inputs: [[1]]",
            text.lines().last().unwrap(),
        ]
    );
    assert!(text.contains("declared at backends/onednn.rs:"), "{text}");
}
