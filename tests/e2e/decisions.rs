//! Which nodes are quantized, by which rule, and what is said of the others.

use std::slice;

use qconfig_backends::QNNPACK;
use qconfig_core::operator::nn;
use qconfig_core::{DType, ObserverSpec, QConfig, QConfigMapping, QScheme, Rule, Spelled};
use qconfig_quantize::{
    BatchNorm, CalibrateError, Conv, ConvertError, Decision, FloatReason, Graph, GraphBuilder,
    LowerError, LowerOptions, Op, PrepareError, Prepared, Tensor, calibrate, convert, fuse, lower,
    lower_with, prepare,
};

/// Three linear layers: `body.a`, `body.b`, `head`.
fn layers() -> Graph {
    let mut graph = GraphBuilder::new();
    let mut x = graph.input("x", &[1, 4]).unwrap();
    for name in ["body.a", "body.b", "head"] {
        let mut weight = Tensor::zeros(&[4, 4]);
        weight
            .data_mut()
            .iter_mut()
            .enumerate()
            .for_each(|(at, w)| *w = at as f32 / 8.0 - 1.0);
        x = graph.linear(name, x, weight, None).unwrap();
    }
    graph.finish(&[x]).unwrap()
}

fn prepared(graph: &Graph, mapping: &QConfigMapping) -> Prepared {
    prepare(&fuse(graph, &QNNPACK), &QNNPACK, mapping).unwrap()
}

/// A qconfig that can be told from others by its smallest scale.
fn marked(eps: f64) -> Option<QConfig> {
    let activation = ObserverSpec::min_max(DType::quint8, QScheme::PerTensorAffine).eps(eps);
    Some(QConfig {
        activation,
        ..QConfig::QNNPACK
    })
}

/// The mark of each layer's qconfig.
fn marks(mapping: &QConfigMapping) -> Vec<Option<f64>> {
    let prepared = prepared(&layers(), mapping);
    let mark = |decision: &Decision| match decision {
        Decision::Quantized(quantized) => quantized.qconfig.activation.eps,
        Decision::WeightOnly(_) | Decision::Float(_) => None,
    };
    prepared.decisions().iter().map(mark).collect()
}

#[test]
fn rules_have_pytorchs_precedence() {
    let linear = nn::Linear::SPELLING.path;
    let global = QConfigMapping::new().global(marked(1.0));
    assert_eq!(marks(&global), [Some(1.0); 3]);
    let by_type = global.object_type(linear, marked(2.0));
    assert_eq!(marks(&by_type), [Some(2.0); 3]);
    // a regex matches from the beginning, as Python's `re.match`
    let by_regex = by_type
        .module_name_regex("bod", marked(3.0))
        .module_name_regex(".*b$", marked(9.0));
    assert_eq!(marks(&by_regex), [Some(3.0), Some(3.0), Some(2.0)]);
    // a module's name holds for all below it, the longest wins
    let by_name = by_regex
        .module_name("body", marked(4.0))
        .module_name("body.b", marked(5.0));
    assert_eq!(marks(&by_name), [Some(4.0), Some(5.0), Some(2.0)]);
    let by_order = by_name.module_name_object_type_order("body.a", linear, 0, None);
    assert_eq!(marks(&by_order), [None, Some(5.0), Some(2.0)]);
}

#[test]
fn a_regex_that_does_not_compile_is_named() {
    let mapping = QConfigMapping::new().module_name_regex("(", marked(1.0));
    let error = prepare(&layers(), &QNNPACK, &mapping).unwrap_err();
    assert!(
        matches!(&error, PrepareError::Regex { regex, .. } if regex == "("),
        "{error}"
    );
}

fn lowered_error(graph: &Graph, mapping: &QConfigMapping, input: &Tensor) -> LowerError {
    let calibrated =
        calibrate(&prepared(graph, mapping), [slice::from_ref(input)], |_| {}).unwrap();
    let model = convert(&calibrated).unwrap();
    lower_with(&model, LowerOptions::ALL_QUANTIZED).unwrap_err()
}

#[test]
fn a_node_that_stays_float_is_never_lowered_in_silence() {
    let mapping = QConfigMapping::new()
        .global(marked(1e-4))
        .module_name("head", None);
    let error = lowered_error(&layers(), &mapping, &Tensor::zeros(&[1, 4]));
    let LowerError::Float { node, reason, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!((node.as_str(), reason), ("head", &FloatReason::NoQConfig));
}

#[test]
fn a_bound_that_is_missed_is_named_with_its_line() {
    // the symmetric config wants scales from 2^-12 and weights without -128
    let qconfig = QConfig {
        weight: QConfig::QNNPACK.weight,
        ..QConfig::DEFAULT_SYMMETRIC_QNNPACK
    };
    let prepared = prepared(&layers(), &QConfigMapping::new().global(Some(qconfig)));
    let Decision::Float(FloatReason::NoDTypeConfig(reasons)) = &prepared.decisions()[0] else {
        panic!("{:?}", prepared.decisions()[0])
    };
    let first = &reasons[0];
    assert_eq!(first.dtype_config, "weighted_qint8");
    assert_eq!(
        first.rule,
        Rule::Range {
            found: (-128, 127),
            bound: (-127, 127)
        }
    );
    assert!(first.origin.file.ends_with("qnnpack.rs"), "{first}");
    let spec = include_str!("../../backends/qnnpack.rs");
    let line = spec.lines().nth(first.origin.line as usize - 1).unwrap();
    assert!(
        line.contains("-127..=127"),
        "line {}: {line}",
        first.origin.line
    );
}

qconfig::backend_config! {
    /// A backend that says what it can quantize and has no kernels yet.
    pub backend NO_KERNELS = "no_kernels";
    config plain { input: quint8, output: quint8 }
    group bn: plain { kernel none; }
}

#[test]
fn a_pair_without_a_kernel_is_named() {
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", &[1, 2, 3, 3]).unwrap();
    let bn = BatchNorm {
        weight: vec![1.0; 2],
        bias: vec![0.0; 2],
        running_mean: vec![0.0; 2],
        running_var: vec![1.0; 2],
        eps: 1e-5,
    };
    let y = graph.batch_norm("norm", x, bn).unwrap();
    let graph = graph.finish(&[y]).unwrap();
    let mapping = QConfigMapping::new().global(marked(1e-4));
    let prepared = prepare(&graph, &NO_KERNELS, &mapping).unwrap();
    let input = Tensor::zeros(&[1, 2, 3, 3]);
    let calibrated = calibrate(&prepared, [slice::from_ref(&input)], |_| {}).unwrap();
    let error = lower(&convert(&calibrated).unwrap()).unwrap_err();
    let LowerError::NoKernel {
        node,
        pattern,
        dtype_config,
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(
        (node.as_str(), pattern.as_str(), *dtype_config),
        ("norm", "nn::BatchNorm2d", "plain")
    );
    assert!(error.to_string().contains("kernel none"), "{error}");
}

#[test]
fn an_operator_that_the_backend_does_not_have_stays_float() {
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", &[1, 4]).unwrap();
    let y = graph
        .node("norm", nn::LayerNorm::SPELLING, Op::Identity, &[x])
        .unwrap();
    let graph = graph.finish(&[y]).unwrap();
    let prepared = prepared(&graph, &QConfigMapping::new().global(marked(1e-4)));
    assert!(matches!(
        prepared.decisions(),
        [Decision::Float(FloatReason::NoPattern)]
    ));
}

#[test]
fn a_scale_below_the_backends_is_an_error_at_convert() {
    // an observer may promise one smallest scale; a fixed one gives what it likes
    let mut qconfig = QConfig::DEFAULT_SYMMETRIC_QNNPACK;
    qconfig.activation = ObserverSpec {
        dtype: DType::qint8,
        eps: Some(1.0 / 4096.0),
        ..ObserverSpec::fixed(1e-6, 0).range(-128, 127)
    };
    let prepared = prepared(&layers(), &QConfigMapping::new().global(Some(qconfig)));
    let input = Tensor::zeros(&[1, 4]);
    let calibrated = calibrate(&prepared, [slice::from_ref(&input)], |_| {}).unwrap();
    let error = convert(&calibrated).unwrap_err();
    assert!(
        matches!(&error, ConvertError::Scale { what, .. } if what == "value `x`"),
        "{error}"
    );
}

#[test]
fn a_sample_that_fails_loses_nothing() {
    let prepared = prepared(&layers(), &QConfigMapping::new().global(marked(1e-4)));
    let good = Tensor::new(vec![1, 4], vec![1.0, -2.0, 3.0, 0.5]).unwrap();
    let bad = Tensor::new(vec![1, 4], vec![1.0, f32::NAN, 0.0, 0.0]).unwrap();
    let error = calibrate(
        &prepared,
        [slice::from_ref(&good), slice::from_ref(&bad)],
        |_| {},
    )
    .unwrap_err();
    assert!(
        matches!(error, CalibrateError::Input { sample: 1, .. }),
        "{error}"
    );
    // the prepared model is as it was
    let calibrated = calibrate(&prepared, [slice::from_ref(&good)], |_| {}).unwrap();
    assert_eq!(calibrated.samples(), 1);
    assert!(convert(&calibrated).is_ok());
}

#[test]
fn batch_normalization_is_folded_into_what_is_before_it() {
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", &[1, 2, 4, 4]).unwrap();
    let mut weight = Tensor::zeros(&[3, 2, 3, 3]);
    weight
        .data_mut()
        .iter_mut()
        .enumerate()
        .for_each(|(at, w)| *w = (at % 7) as f32 / 7.0 - 0.4);
    let y = graph.conv("conv", x, Conv::new(weight).padding(1)).unwrap();
    let bn = BatchNorm {
        weight: vec![0.5, 1.5, -1.0],
        bias: vec![0.1, -0.2, 0.3],
        running_mean: vec![0.2, -0.1, 0.4],
        running_var: vec![0.9, 1.4, 0.3],
        eps: 1e-5,
    };
    let y = graph.batch_norm("bn", y, bn).unwrap();
    let y = graph.relu("relu", y).unwrap();
    let graph = graph.finish(&[y]).unwrap();
    let fused = fuse(&graph, &QNNPACK);
    assert_eq!(fused.nodes().len(), 1);
    assert_eq!(fused.nodes()[0].spelling.dsl, "nni::ConvBnReLU2d");
    let mut input = Tensor::zeros(&[1, 2, 4, 4]);
    input
        .data_mut()
        .iter_mut()
        .enumerate()
        .for_each(|(at, x)| *x = (at as f32).sin());
    let (a, b) = (
        graph.run(slice::from_ref(&input)).unwrap(),
        fused.run(slice::from_ref(&input)).unwrap(),
    );
    for (x, y) in a[0].data().iter().zip(b[0].data()) {
        assert!((x - y).abs() < 1e-5, "{x} {y}");
    }
}
