//! The static tables against PyTorch's `BackendConfig.to_dict()`, entry by entry and in order.

use qconfig_core::{
    BackendConfig, BackendPatternConfig, DTypeConfig, DTypeWithConstraints, Fuser, Spelling,
};
use serde_json::{Map, Value, json};

fn names(chain: &[&Spelling]) -> Value {
    match chain {
        [one] => json!(one.path),
        chain => chain.iter().map(|spelling| json!(spelling.path)).collect(),
    }
}

fn dtype(dtype: &DTypeWithConstraints) -> Value {
    let mut map = Map::new();
    map.insert("dtype".into(), json!(dtype.dtype.name()));
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            map.insert(name.into(), value);
        }
    };
    put(
        "quant_min_lower_bound",
        dtype.quant_min_lower_bound.map(Value::from),
    );
    put(
        "quant_max_upper_bound",
        dtype.quant_max_upper_bound.map(Value::from),
    );
    put(
        "scale_min_lower_bound",
        dtype.scale_min_lower_bound.map(Value::from),
    );
    put(
        "scale_max_upper_bound",
        dtype.scale_max_upper_bound.map(Value::from),
    );
    put(
        "scale_exact_match",
        dtype.scale_exact_match.map(Value::from),
    );
    put(
        "zero_point_exact_match",
        dtype.zero_point_exact_match.map(Value::from),
    );
    Value::Object(map)
}

fn config(config: &DTypeConfig) -> Value {
    let mut map = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            map.insert(name.into(), value);
        }
    };
    put("input_dtype", config.input.as_ref().map(dtype));
    put("output_dtype", config.output.as_ref().map(dtype));
    put("weight_dtype", config.weight.as_ref().map(dtype));
    put("bias_dtype", config.bias.map(|bias| json!(bias.name())));
    put("is_dynamic", config.is_dynamic.then_some(Value::Bool(true)));
    Value::Object(map)
}

fn entry(found: &BackendPatternConfig) -> Value {
    let mut map = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            map.insert(name.into(), value);
        }
    };
    let spelling = |spelling: Option<&Spelling>| spelling.map(|spelling| json!(spelling.path));
    put("pattern", Some(names(found.pattern.chain())));
    put(
        "observation_type",
        Some(json!(found.observation_type.name())),
    );
    put(
        "dtype_configs",
        Some(found.dtype_configs.iter().map(config).collect()),
    );
    put("root_module", spelling(found.root_module));
    put("qat_module", spelling(found.qat_module));
    put(
        "reference_quantized_module_for_root",
        spelling(found.reference_quantized_module),
    );
    put("fused_module", spelling(found.fused_module));
    let cases = found.num_tensor_args_to_observation_type;
    let cases: Map<String, Value> = cases
        .iter()
        .map(|(count, kind)| (count.to_string(), json!(kind.name())))
        .collect();
    put(
        "num_tensor_args_to_observation_type",
        (!cases.is_empty()).then_some(Value::Object(cases)),
    );
    let args: Map<String, Value> = found
        .input_type_to_index
        .iter()
        .map(|(name, index)| ((*name).to_owned(), json!(index)))
        .collect();
    put(
        "input_type_to_index",
        (!args.is_empty()).then_some(Value::Object(args)),
    );
    Value::Object(map)
}

fn fuser(method: &str) -> Fuser {
    match method.rsplit("fuser_method_mappings.").next().unwrap() {
        "_sequential_wrapper2.<locals>.fuser_method" => Fuser::Sequential,
        "fuse_conv_bn" => Fuser::ConvBn,
        "fuse_conv_bn_relu" => Fuser::ConvBnRelu,
        "fuse_convtranspose_bn" => Fuser::ConvTransposeBn,
        "fuse_linear_bn" => Fuser::LinearBn,
        other => panic!("unknown fuser {other}"),
    }
}

fn equal(backend: &BackendConfig, golden: &str, extra: &str) {
    let golden: Value = serde_json::from_str(golden).unwrap();
    let extra: Value = serde_json::from_str(extra).unwrap();
    assert_eq!(backend.name, golden["name"]);
    let entries = golden["configs"].as_array().unwrap();
    for (i, (found, expected)) in backend.configs.iter().zip(entries).enumerate() {
        assert_eq!(&entry(found), expected, "entry {i}: {}", found.pattern);
        let expected = extra["functions"][i.to_string()]["fuser_method"].as_str();
        assert_eq!(
            found.fuser,
            expected.map(fuser),
            "entry {i}: {}",
            found.pattern
        );
    }
    assert_eq!(backend.configs.len(), entries.len());
}

#[test]
fn qnnpack_equals_torch() {
    let backend = &qconfig_backends::QNNPACK;
    equal(
        backend,
        include_str!("../golden/qnnpack.json"),
        include_str!("../golden/qnnpack_extra.json"),
    );
    let (pairs, bound) = backend.coverage();
    assert_eq!((backend.configs.len(), pairs), (190, 404));
    println!(
        "qnnpack: {bound} of {pairs} pairs have a kernel, {} have none",
        pairs - bound
    );
}

#[test]
fn every_pattern_is_found_by_its_index() {
    let backend = &qconfig_backends::QNNPACK;
    for config in backend.configs {
        let found = backend.find(config.pattern.chain()).unwrap();
        assert!(core::ptr::eq(found, config), "{}", config.pattern);
    }
}
