//! A backend config as JSON: read, checked, written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use qconfig_core::owned::BackendConfig;

fuzz_target!(|bytes: &[u8]| {
    let Ok(config) = serde_json::from_slice::<BackendConfig>(bytes) else {
        return;
    };
    if let Err(problems) = config.check() {
        for problem in problems {
            assert!(!problem.to_string().is_empty());
        }
    }
    let text = serde_json::to_string(&config).expect("a config can be written");
    let again: BackendConfig = serde_json::from_str(&text).expect("what was written can be read");
    assert_eq!(again, config);
});
