//! The static table as JSON, as an owned config, and through its index.

use std::collections::BTreeMap;

use qconfig_backends::QNNPACK;
use qconfig_core::operator::{SPELLINGS, by_path};
use qconfig_core::{Pattern, owned};
use qconfig_tests::golden;
use serde_json::Value;

/// The first difference of two JSON values, with its place.
fn difference(found: &Value, expected: &Value, place: &str) -> Option<String> {
    match (found, expected) {
        (Value::Object(a), Value::Object(b)) => {
            let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
            keys.into_iter()
                .find_map(|key| match (a.get(key), b.get(key)) {
                    (Some(a), Some(b)) => difference(a, b, &format!("{place}.{key}")),
                    (Some(a), None) => Some(format!("{place}.{key} is {a}, torch has none")),
                    (None, b) => Some(format!("{place}.{key} is missing, torch has {b:?}")),
                })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let pairs = a.iter().zip(b).enumerate();
            pairs
                .into_iter()
                .find_map(|(at, (a, b))| difference(a, b, &format!("{place}[{at}]")))
        }
        _ if found == expected => None,
        _ => Some(format!("{place} is {found}, torch has {expected}")),
    }
}

#[test]
fn json_is_torchs() {
    let found = serde_json::to_value(QNNPACK).unwrap();
    let expected = golden::json("qnnpack.json");
    let first = difference(&found, &expected, "qnnpack");
    assert_eq!(first, None);
    let pairs: usize = expected["configs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|config| config["dtype_configs"].as_array().unwrap().len())
        .sum();
    assert_eq!((QNNPACK.configs.len(), pairs), (190, 404));
}

#[test]
fn owned_configs_come_back_as_they_went() {
    let from_static = owned::BackendConfig::from(&QNNPACK);
    let text = serde_json::to_string_pretty(&QNNPACK).unwrap();
    let from_json: owned::BackendConfig = serde_json::from_str(&text).unwrap();
    assert_eq!(from_json, from_static);
    let from_torch: owned::BackendConfig =
        serde_json::from_str(&golden::text("qnnpack.json")).unwrap();
    assert_eq!(from_torch, from_static);
    assert_eq!(serde_json::to_string_pretty(&from_torch).unwrap(), text);
    assert_eq!(from_static.check(), Ok(()));
}

#[test]
fn what_has_no_kernel_is_counted() {
    let (pairs, bound) = QNNPACK.coverage();
    assert_eq!(pairs, 404);
    let mut none: BTreeMap<&str, usize> = BTreeMap::new();
    let mut counted = 0;
    for config in QNNPACK.configs {
        assert_eq!(config.kernels.len(), config.dtype_configs.len());
        for at in 0..config.dtype_configs.len() {
            match QNNPACK.kernel(config, at) {
                Some(kernel) => {
                    counted += 1;
                    assert!(QNNPACK.kernel_named(kernel.name).is_some());
                }
                None => {
                    assert_eq!(config.kernels[at], None, "{}", config.pattern);
                    let head = config.pattern.head().unwrap();
                    *none.entry(head.operator.name).or_default() += 1;
                }
            }
        }
    }
    assert_eq!(counted, bound);
    println!(
        "qnnpack: {} of {pairs} pairs are `kernel none`, by operator: {none:?}",
        pairs - bound
    );
}

#[test]
fn the_index_finds_what_is_there_and_nothing_else() {
    let chains: Vec<_> = QNNPACK
        .configs
        .iter()
        .map(|config| match config.pattern {
            Pattern::Chain(chain) => chain,
            Pattern::Tree(_) => panic!("qnnpack has no tree"),
        })
        .collect();
    for (config, chain) in QNNPACK.configs.iter().zip(&chains) {
        assert!(std::ptr::eq(QNNPACK.find(chain).unwrap(), config));
        assert!(std::ptr::eq(
            QNNPACK.find_pattern(&config.pattern).unwrap(),
            config
        ));
        let mut longer = chain.to_vec();
        longer.push(by_path("torch.nn.Dropout").unwrap());
        assert_eq!(QNNPACK.find(&longer), None, "{}", config.pattern);
    }
    assert_eq!(QNNPACK.find(&[]), None);
    // every chain of one and of two spellings: found exactly if it is a pattern
    let mut absent = 0;
    for first in SPELLINGS {
        for chain in [vec![*first]]
            .into_iter()
            .chain(SPELLINGS.iter().map(|second| vec![*first, *second]))
        {
            let there = chains.iter().any(|found| **found == *chain);
            assert_eq!(QNNPACK.find(&chain).is_some(), there, "{chain:?}");
            absent += usize::from(!there);
        }
    }
    println!("190 patterns found, {absent} chains not");
}
