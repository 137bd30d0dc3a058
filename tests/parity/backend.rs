//! The static table as JSON, as an owned config, and through its index.

use std::collections::BTreeMap;

use qconfig_core::operator::{SPELLINGS, by_path};
use qconfig_core::owned;
use qconfig_tests::golden;
use serde_json::Value;

use crate::BACKENDS;

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
    for (name, backend, patterns, count) in BACKENDS {
        let found = serde_json::to_value(backend).unwrap();
        let expected = golden::json(&format!("backends/{name}.json.gz"));
        assert_eq!(difference(&found, &expected, name), None);
        let pairs: usize = expected["configs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|config| config["dtype_configs"].as_array().unwrap().len())
            .sum();
        assert_eq!((backend.configs.len(), pairs), (patterns, count), "{name}");
        println!("{name}: {patterns} entries and {pairs} pairs equal torch's, in order");
    }
    assert_eq!(qconfig_backends::ALL.len(), BACKENDS.len());
}

#[test]
fn owned_configs_come_back_as_they_went() {
    for (name, backend, ..) in BACKENDS {
        let from_static = owned::BackendConfig::from(backend);
        let text = serde_json::to_string_pretty(backend).unwrap();
        let from_json: owned::BackendConfig = serde_json::from_str(&text).unwrap();
        assert_eq!(from_json, from_static);
        let golden = golden::text(&format!("backends/{name}.json.gz"));
        let from_torch: owned::BackendConfig = serde_json::from_str(&golden).unwrap();
        assert_eq!(from_torch, from_static);
        assert_eq!(serde_json::to_string_pretty(&from_torch).unwrap(), text);
        assert_eq!(from_static.check(), Ok(()), "{name}");
    }
}

#[test]
fn what_has_no_kernel_is_counted() {
    for (name, backend, _, count) in BACKENDS {
        let (pairs, bound) = backend.coverage();
        assert_eq!(pairs, count);
        let mut none: BTreeMap<&str, usize> = BTreeMap::new();
        let mut counted = 0;
        for config in backend.configs {
            assert_eq!(config.kernels.len(), config.dtype_configs.len());
            for at in 0..config.dtype_configs.len() {
                match backend.kernel(config, at) {
                    Some(kernel) => {
                        counted += 1;
                        assert!(backend.kernel_named(kernel.name).is_some());
                    }
                    None => {
                        assert_eq!(config.kernels[at], None, "{}", config.pattern);
                        let head = config.head().unwrap();
                        *none.entry(head.operator.name).or_default() += 1;
                    }
                }
            }
        }
        assert_eq!(counted, bound);
        println!(
            "{name}: {} of {pairs} pairs are `kernel none`, by operator: {none:?}",
            pairs - bound
        );
    }
}

#[test]
fn the_index_finds_what_is_there_and_nothing_else() {
    for (name, backend, patterns, _) in BACKENDS {
        let chains: Vec<_> = backend
            .configs
            .iter()
            .map(|config| config.pattern.chain())
            .collect();
        for (config, chain) in backend.configs.iter().zip(&chains) {
            assert!(std::ptr::eq(
                backend.find_pattern(&config.pattern).unwrap(),
                config
            ));
            if chain.is_empty() {
                continue;
            }
            assert!(std::ptr::eq(backend.find(chain).unwrap(), config));
            let mut longer = chain.to_vec();
            longer.push(by_path("torch.nn.Dropout").unwrap());
            assert_eq!(backend.find(&longer), None, "{}", config.pattern);
        }
        assert_eq!(backend.find(&[]), None);
        // every chain of one and of two spellings: found exactly if it is a pattern
        let mut absent = 0;
        for first in SPELLINGS {
            for chain in [vec![*first]]
                .into_iter()
                .chain(SPELLINGS.iter().map(|second| vec![*first, *second]))
            {
                let there = chains.iter().any(|found| **found == *chain);
                assert_eq!(backend.find(&chain).is_some(), there, "{chain:?}");
                absent += usize::from(!there);
            }
        }
        println!("{name}: {patterns} patterns found, {absent} chains not");
    }
}
