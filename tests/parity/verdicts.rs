use std::collections::BTreeMap;

use qconfig_backends::QNNPACK;
use qconfig_core::{
    BackendConfig, BackendPatternConfig, DTypeWithConstraints, ObserverSpec, QConfig, Rule,
    satisfies,
};
use qconfig_tests::{golden, qconfigs};
use serde_json::Value;

use crate::BACKENDS;

/// The oracle's word for a rule.
fn code(rule: &Rule) -> &'static str {
    match rule {
        Rule::NoRange { .. } => "range_missing",
        Rule::Range { .. } => "range",
        Rule::NoScaleMin { .. } => "scale_min_missing",
        Rule::ScaleMin { .. } => "scale_min",
        Rule::NotFixed { .. } => "not_fixed",
        Rule::FixedQParams { .. } => "fixed",
        other => panic!("{other} is not about bounds"),
    }
}

/// Compares one pattern with one qconfig; counts decisions.
struct Comparison {
    backend: &'static BackendConfig,
    decisions: usize,
    reasons: BTreeMap<String, usize>,
    wrong: Vec<String>,
}

impl Comparison {
    fn equal<T: PartialEq + std::fmt::Debug>(
        &mut self,
        what: impl Fn() -> String,
        found: T,
        expected: T,
    ) {
        self.decisions += 1;
        if found != expected {
            self.wrong
                .push(format!("{}: {found:?}, torch's is {expected:?}", what()));
        }
    }

    fn bounds(
        &mut self,
        what: impl Fn() -> String,
        qconfig: &QConfig,
        observer: &ObserverSpec,
        constraint: Option<&DTypeWithConstraints>,
        expected: (&Value, &Value),
    ) {
        let found = constraint.map_or(Ok(()), |constraint| {
            satisfies(qconfig, observer, constraint)
        });
        let why = expected.1.as_str();
        if let Some(why) = why {
            *self.reasons.entry(why.into()).or_default() += 1;
        }
        self.equal(&what, Some(found.is_ok()), expected.0.as_bool());
        self.equal(&what, found.err().as_ref().map(code), why);
    }

    fn compare(
        &mut self,
        config: &BackendPatternConfig,
        qconfig: &QConfig,
        name: &str,
        expected: &Value,
    ) {
        let position = |at: &Value| at.as_u64().map(|at| at as usize);
        let pattern = config.pattern;
        let verdict = self.backend.verdict(config, qconfig);
        let here = |what: &str| format!("{pattern} with {name}: {what}");
        self.equal(
            || here("supported"),
            Some(verdict.is_supported()),
            expected["supported"].as_bool(),
        );
        self.equal(
            || here("first"),
            verdict.dtype_config,
            position(&expected["first"]),
        );
        let tried = verdict.dtype_config.unwrap_or(config.dtype_configs.len());
        self.equal(|| here("number of reasons"), verdict.reasons.len(), tried);
        let strict = config.strict_verdict(qconfig);
        self.equal(
            || here("strict"),
            Some(strict.is_supported()),
            expected["strict"].as_bool(),
        );
        self.equal(
            || here("strict_first"),
            strict.dtype_config,
            position(&expected["strict_first"]),
        );

        let expected = expected["configs"].as_array().unwrap();
        assert_eq!(config.dtype_configs.len(), expected.len());
        for (at, (dtypes, expected)) in config.dtype_configs.iter().zip(expected).enumerate() {
            let why = &expected["why"];
            for (place, observer, constraint) in [
                ("input", &qconfig.activation, &dtypes.input),
                ("output", &qconfig.activation, &dtypes.output),
                ("weight", &qconfig.weight, &dtypes.weight),
            ] {
                self.bounds(
                    || here(&format!("dtype config {at}, {place}")),
                    qconfig,
                    observer,
                    constraint.as_ref(),
                    (&expected[place], &why[place]),
                );
            }
            let alone = BackendPatternConfig {
                dtype_configs: &config.dtype_configs[at..=at],
                ..*config
            };
            let (usual, strict) = (
                self.backend.verdict(&alone, qconfig),
                alone.strict_verdict(qconfig),
            );
            self.equal(
                || here(&format!("dtype config {at} alone")),
                Some(usual.is_supported()),
                expected["supported"].as_bool(),
            );
            self.equal(
                || here(&format!("dtype config {at} alone, strict")),
                Some(strict.is_supported()),
                expected["strict"].as_bool(),
            );
        }
    }
}

#[test]
fn every_verdict_is_torchs() {
    for (name, backend, patterns, _) in BACKENDS {
        compare_all(name, backend, patterns);
    }
}

fn compare_all(name: &str, backend: &'static BackendConfig, count: usize) {
    let golden = golden::json(&format!("verdicts/{name}.json.gz"));
    let patterns = golden["patterns"].as_array().unwrap();
    let described = golden["qconfigs"].as_array().unwrap();
    assert_eq!((patterns.len(), described.len()), (count, 79));
    assert_eq!(backend.configs.len(), count);

    let mut comparison = Comparison {
        backend,
        decisions: 0,
        reasons: BTreeMap::new(),
        wrong: Vec::new(),
    };
    let (mut verdicts, mut skipped, mut raised) = (0, 0, 0);
    for (at, config) in backend.configs.iter().enumerate() {
        for (with, described) in described.iter().enumerate() {
            let expected = &golden["verdicts"][at][with];
            let name = described["name"].as_str().unwrap();
            // torch raises where an observer is `None` or `Identity`
            let Some(qconfig) = qconfigs::qconfig(described) else {
                assert!(expected["supported"].is_null(), "{name}");
                skipped += 1;
                continue;
            };
            // nor can it judge nested patterns whose root lies deeper than one operand
            if expected["supported"].is_null() {
                assert!(
                    config.root_node.is_some_and(|path| path.len() > 1),
                    "{name}"
                );
                raised += 1;
                continue;
            }
            comparison.compare(config, &qconfig, name, expected);
            verdicts += 1;
        }
    }
    println!(
        "{name}: {verdicts} verdicts ({} decisions) compared, {} skipped where torch raises; bounds broken: {:?}",
        comparison.decisions,
        skipped + raised,
        comparison.reasons
    );
    let wrong = &comparison.wrong;
    let shown = &wrong[..wrong.len().min(20)];
    assert!(
        wrong.is_empty(),
        "{} differ from torch:\n{}",
        wrong.len(),
        shown.join("\n")
    );
    assert_eq!(verdicts + skipped + raised, count * 79);
}

/// A module's weight is no argument of its node, so torch does not look at it; the strict verdict does.
#[test]
fn strict_holds_a_modules_weight() {
    let backend = &QNNPACK;
    let linear = [qconfig_core::operator::by_path("torch.nn.Linear").unwrap()];
    let config = backend.find(&linear).expect("qnnpack has linear");
    let mut qconfig = QConfig::DEFAULT_SYMMETRIC_QNNPACK;
    assert!(backend.verdict(config, &qconfig).is_supported());
    assert!(config.strict_verdict(&qconfig).is_supported());
    qconfig.weight = qconfig.weight.range(-128, 127);
    assert!(backend.verdict(config, &qconfig).is_supported());
    let strict = config.strict_verdict(&qconfig);
    assert!(!strict.is_supported());
    assert_eq!(strict.reasons.len(), config.dtype_configs.len());
    assert!(
        strict.reasons.iter().any(|reason| matches!(
            reason.rule,
            Rule::Range {
                found: (-128, 127),
                bound: (-127, 127)
            }
        )),
        "{:?}",
        strict.reasons
    );
}
