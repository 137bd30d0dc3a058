//! Bad input to a model on its way to a plan, to a plan and to a session: each a typed error that
//! names the place.

use proptest::prelude::*;
use proptest::sample::Index;
use qconfig_backends::QNNPACK;
use qconfig_core::{
    BackendConfig, DType, Isa, Kernel, KernelFamily, QConfigMapping, default_qconfig_mapping,
};
use qconfig_kernels::{Dequantize, Quantize, Requantize, ToChannelsFirst, ToChannelsLast};
use qconfig_quantize::observer::ObserveError;
use qconfig_quantize::{
    CalibrateError, Conv, Graph, GraphBuilder, GraphProblem, InputError, Lowered, Pool, Prepared,
    Tensor, Weights, WeightsError, calibrate, convert, fuse, lower, prepare,
};
use qconfig_runtime::{BufferError, Place, Plan, PlanError, Session, SessionError, SessionOptions};

/// `[1, 2, 6, 6]` through a convolution, a relu, a pool and a linear layer.
fn graph() -> Graph {
    let ramp = |shape: &[usize], scale: f32| {
        let len = shape.iter().product::<usize>();
        let data = (0..len).map(|i| scale * ((i * 37 % 29) as f32 - 14.0));
        Tensor::new(shape.to_vec(), data.collect()).unwrap()
    };
    let mut graph = GraphBuilder::new();
    let x = graph.input("image", &[1, 2, 6, 6]).unwrap();
    let conv = Conv::new(ramp(&[4, 2, 3, 3], 0.01))
        .bias(ramp(&[4], 0.1))
        .padding(1);
    let x = graph.conv("conv", x, conv).unwrap();
    let x = graph.relu("relu", x).unwrap();
    let x = graph.max_pool("pool", x, Pool::square(2)).unwrap();
    let x = graph.flatten("flatten", x).unwrap();
    let x = graph
        .linear("fc", x, ramp(&[5, 36], 0.02), Some(ramp(&[5], 0.3)))
        .unwrap();
    graph.finish(&[x]).unwrap()
}

fn mapping() -> QConfigMapping {
    default_qconfig_mapping("qnnpack").unwrap()
}

fn prepared() -> Prepared {
    prepare(&fuse(&graph(), &QNNPACK), &QNNPACK, &mapping()).unwrap()
}

fn sample(seed: usize) -> Vec<Tensor> {
    let data = (0..72).map(|i| ((i * 31 + seed * 17) % 101) as f32 / 50.0 - 1.0);
    vec![Tensor::new(vec![1, 2, 6, 6], data.collect()).unwrap()]
}

fn calibrated(samples: &[Vec<Tensor>]) -> Result<(), CalibrateError> {
    let samples = samples.iter().map(Vec::as_slice);
    calibrate(&prepared(), samples, |_| {}).map(|_| ())
}

fn lowered() -> Lowered {
    let samples: Vec<_> = (0..4).map(sample).collect();
    let samples = samples.iter().map(Vec::as_slice);
    let calibrated = calibrate(&prepared(), samples, |_| {}).unwrap();
    lower(&convert(&calibrated).unwrap()).unwrap()
}

fn kernel(name: &str) -> Option<&'static Kernel> {
    const GLUE: [&Kernel; 5] = [
        Quantize::KERNEL,
        Dequantize::KERNEL,
        Requantize::KERNEL,
        ToChannelsFirst::KERNEL,
        ToChannelsLast::KERNEL,
    ];
    let backend: &BackendConfig = &QNNPACK;
    let glue = || GLUE.into_iter().find(|kernel| kernel.name == name);
    backend.kernel_named(name).or_else(glue)
}

#[test]
fn the_flow_takes_good_input() {
    let lowered = lowered();
    let bytes = lowered.plan.to_bytes();
    let plan = Plan::from_bytes(&bytes, kernel).unwrap();
    let run = |plan: &Plan<'_>| {
        let options = SessionOptions::with_isa(Isa::detect());
        let mut session = Session::new(plan, options).unwrap();
        session.set_input_f32(0, sample(9)[0].data()).unwrap();
        session.run().unwrap();
        session.output(0).unwrap().to_vec()
    };
    assert_eq!(run(&lowered.plan), run(&plan));
}

#[test]
fn a_wrong_shape_in_a_graph_names_the_node() {
    let mut graph = GraphBuilder::new();
    let x = graph.input("image", &[1, 3, 6, 6]).unwrap();
    let conv = Conv::new(Tensor::zeros(&[4, 2, 3, 3]));
    let error = graph.conv("features.0", x, conv).unwrap_err();
    assert_eq!(error.node, "features.0");
    assert!(
        matches!(error.problem, GraphProblem::Shape { .. }),
        "{error}"
    );
    let error = graph
        .linear("head", x, Tensor::zeros(&[5, 7]), None)
        .unwrap_err();
    assert_eq!(error.node, "head");
    let error = graph.input("image", &[1]).unwrap_err();
    assert_eq!(
        (error.node.as_str(), error.problem),
        ("image", GraphProblem::Name)
    );
}

#[test]
fn calibration_data_of_a_wrong_shape_is_named() {
    let mut wrong = sample(1);
    wrong[0] = wrong[0].reshaped(&[1, 2, 4, 9]).unwrap();
    let error = calibrated(&[sample(0), wrong]).unwrap_err();
    let expected = CalibrateError::Input {
        sample: 1,
        error: InputError::Shape {
            name: "image".into(),
            expected: vec![1, 2, 6, 6],
            found: vec![1, 2, 4, 9],
        },
    };
    assert_eq!(error, expected);
    let error = calibrated(&[vec![]]).unwrap_err();
    let expected = CalibrateError::Input {
        sample: 0,
        error: InputError::Count {
            expected: 1,
            found: 0,
        },
    };
    assert_eq!(error, expected);
}

#[test]
fn calibration_data_that_is_not_finite_is_named() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut wrong = sample(1);
        wrong[0].data_mut()[40] = bad;
        let error = calibrated(&[sample(0), sample(1), wrong]).unwrap_err();
        let CalibrateError::Input {
            sample: 2,
            error: InputError::NotFinite { name, at: 40, .. },
        } = &error
        else {
            panic!("{error}")
        };
        assert_eq!(name, "image");
    }
}

/// Finite samples whose values overflow inside the model.
#[test]
fn values_that_overflow_inside_the_model_are_named() {
    let mut graph = GraphBuilder::new();
    let x = graph.input("features", &[1, 2]).unwrap();
    let weight = Tensor::new(vec![1, 2], vec![1e30, 1.0]).unwrap();
    let x = graph.linear("head", x, weight, None).unwrap();
    let graph = graph.finish(&[x]).unwrap();
    let prepared = prepare(&fuse(&graph, &QNNPACK), &QNNPACK, &mapping()).unwrap();
    let samples = [[1.0, 1.0], [1e30, 0.0]]
        .map(|values| vec![Tensor::new(vec![1, 2], values.to_vec()).unwrap()]);
    let error = calibrate(&prepared, samples.iter().map(Vec::as_slice), |_| {}).unwrap_err();
    let expected = CalibrateError::Value {
        sample: 1,
        value: "head".into(),
        error: ObserveError::NotFinite,
    };
    assert_eq!(error, expected);
}

#[test]
fn an_empty_calibration_set_is_an_error() {
    assert_eq!(calibrated(&[]), Err(CalibrateError::Empty));
}

#[test]
fn weights_that_are_no_weights_are_errors() {
    assert!(matches!(
        Weights::from_bytes(b"not a safetensors file"),
        Err(WeightsError::File(_))
    ));
    let header = br#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend(1.0f32.to_le_bytes());
    let weights = Weights::from_bytes(&file).unwrap();
    assert_eq!(weights.get("w").unwrap().data(), [1.0]);
    let error = weights.get("conv.weight").unwrap_err();
    assert!(
        matches!(&error, WeightsError::Missing { name, present } if name == "conv.weight" && present == &["w"]),
        "{error}"
    );
}

#[test]
fn a_session_names_what_does_not_fit() {
    let lowered = lowered();
    let options = SessionOptions::with_isa(Isa::SCALAR);
    let mut session = Session::new(&lowered.plan, options).unwrap();
    let error = session.set_input_f32(0, &[0.0; 71]).unwrap_err();
    assert!(
        matches!(
            error,
            BufferError::Length {
                expected: 72,
                found: 71,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("image"), "{error}");
    let error = session.set_input_f32(3, &[0.0; 72]).unwrap_err();
    assert_eq!(
        error,
        BufferError::Unknown {
            place: Place::Input(3),
            count: 1
        }
    );
    let error = session.output_f32(0, &mut [0.0; 4]).unwrap_err();
    assert!(
        matches!(error, BufferError::Length { expected: 5, .. }),
        "{error}"
    );
    let quantized = lowered.plan.tensors();
    let at = quantized
        .iter()
        .position(|tensor| tensor.dtype() == DType::quint8)
        .unwrap();
    let id = lowered.plan.tensor_named(quantized[at].name()).unwrap();
    let error = session.tensor_bytes(id).unwrap_err();
    assert!(matches!(error, BufferError::NotKept(_)), "{error}");
    let none = SessionOptions {
        threads: 0,
        ..options
    };
    assert!(matches!(
        Session::new(&lowered.plan, none),
        Err(SessionError::Threads(0))
    ));
}

fn refused(bytes: &[u8]) -> PlanError {
    Plan::from_bytes(bytes, kernel).expect_err("a damaged plan must be refused")
}

#[test]
fn a_truncated_plan_is_an_error_wherever_it_ends() {
    let bytes = lowered().plan.to_bytes();
    for len in 0..bytes.len() {
        match refused(&bytes[..len]) {
            PlanError::Length { found, .. } => assert_eq!(found, len),
            PlanError::Magic | PlanError::Field { .. } if len < 64 => {}
            other => panic!("{len} bytes: {other}"),
        }
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(matches!(refused(&longer), PlanError::Length { .. }));
}

#[test]
fn a_plan_with_any_byte_changed_is_an_error() {
    let mut bytes = lowered().plan.to_bytes();
    for at in 0..bytes.len() {
        bytes[at] ^= 1 << (at % 8);
        let error = refused(&bytes);
        if at >= 24 {
            assert!(
                matches!(error, PlanError::Checksum { .. }),
                "byte {at}: {error}"
            );
        }
        bytes[at] ^= 1 << (at % 8);
    }
    Plan::from_bytes(&bytes, kernel).unwrap();
}

#[test]
fn a_plan_of_another_version_or_backend_says_so() {
    let mut bytes = lowered().plan.to_bytes();
    let none = |_: &str| None;
    let error = Plan::from_bytes(&bytes, none).expect_err("no kernels");
    assert!(
        matches!(
            &error,
            PlanError::Kernel {
                place: Place::Step(..),
                ..
            }
        ),
        "{error}"
    );
    bytes[8] = 99;
    assert_eq!(refused(&bytes), PlanError::Version { found: 99 });
    bytes[0] = b'X';
    assert_eq!(refused(&bytes), PlanError::Magic);
    let missing = Plan::from_file("no/such/plan", kernel).expect_err("no such file");
    assert!(matches!(missing, PlanError::Read(_)), "{missing}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// Several bytes changed, inserted or removed: a typed error, or (where nothing changed) the plan.
    #[test]
    fn damaged_plans_never_panic(changes in prop::collection::vec((any::<Index>(), any::<u8>(), 0..3u8), 1..20)) {
        let good = PLAN.with(Clone::clone);
        let mut bytes = good.clone();
        for (at, byte, kind) in changes {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => { bytes.remove(at); }
                _ => bytes.insert(at, byte),
            }
        }
        match Plan::from_bytes(&bytes, kernel) {
            Ok(plan) => prop_assert_eq!(plan.to_bytes(), good),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}

thread_local! {
    static PLAN: Vec<u8> = lowered().plan.to_bytes();
}
