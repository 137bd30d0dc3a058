//! What the spec says, and a network through it.

use downstream::operator::SquaredRelu;
use downstream::{CHIP, NETWORK, chip};
use qconfig::backends::QNNPACK;
use qconfig::operator::nn;
use qconfig::quantize::{GraphBuilder, Op, Own, Tensor, calibrate, convert, fuse, lower, prepare};
use qconfig::runtime::{Plan, Session, SessionOptions};
use qconfig::{DType, Dispatch, ObserverSpec, QConfig, QConfigMapping, QScheme, Spelled};

fn weight(seed: u32) -> Tensor {
    let value = |i: u32| ((i * 37 + seed * 101) % 41) as f32 / 100.0 - 0.2;
    Tensor::new(vec![16, 16], (0..256).map(value).collect()).unwrap()
}

fn sample(n: usize) -> Tensor {
    let value = |i: usize| ((n * 7 + i * 3) % 29) as f32 / 14.0 - 1.0;
    Tensor::new(vec![1, 16], (0..16).map(value).collect()).unwrap()
}

#[test]
fn the_spec_is_the_parents_with_three_differences() {
    let removed = [<nn::Hardswish as Spelled>::SPELLING];
    assert!(QNNPACK.find(&removed).is_some() && CHIP.find(&removed).is_none());
    let added = [<SquaredRelu as Spelled>::SPELLING];
    assert!(QNNPACK.find(&added).is_none());
    assert_eq!(CHIP.find(&added).unwrap().origin.file, "src/lib.rs");
    assert_eq!(CHIP.configs.len(), QNNPACK.configs.len());

    // the config that is replaced is another one wherever the parent lists it
    let of = |backend: &qconfig::BackendConfig, module: &'static qconfig::Spelling| {
        let configs = backend.find(&[module]).unwrap().dtype_configs;
        configs
            .iter()
            .find(|config| config.name == "default_quint8")
            .unwrap()
            .input
    };
    let relu = <nn::ReLU as Spelled>::SPELLING;
    assert_eq!(of(&QNNPACK, relu).unwrap().quant_max_upper_bound, None);
    assert_eq!(of(&CHIP, relu).unwrap().quant_max_upper_bound, Some(127));

    let kernel = <chip::Backend as Dispatch<SquaredRelu, chip::cfg::default_quint8>>::KERNEL;
    assert_eq!(kernel.name, "chip_squared_relu");
}

#[test]
fn a_network_runs_through_it() {
    // y = W2 max(W1 x, 0)^2
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", &[1, 16]).unwrap();
    let hidden = graph.linear("fc1", x, weight(1), None).unwrap();
    let own = Op::Own(Own::new(SquaredRelu));
    let hidden = graph
        .node("square", SquaredRelu::SPELLING, own, &[hidden])
        .unwrap();
    let y = graph.linear("fc2", hidden, weight(2), None).unwrap();
    let graph = graph.finish(&[y]).unwrap();

    let seven_bits = QConfig {
        activation: ObserverSpec::min_max(DType::quint8, QScheme::PerTensorAffine).range(0, 127),
        weight: ObserverSpec::min_max(DType::qint8, QScheme::PerTensorSymmetric),
    };
    let mapping = QConfigMapping::new().global(Some(seven_bits));
    let prepared = prepare(&fuse(&graph, &CHIP), &CHIP, &mapping).unwrap();
    let samples: Vec<Tensor> = (0..64).map(sample).collect();
    let samples = samples.iter().map(std::slice::from_ref);
    let model = convert(&calibrate(&prepared, samples.clone(), |_| {}).unwrap()).unwrap();
    let lowered = lower(&model).unwrap();

    // the plan is loaded as a program does that links no other kernel
    let bytes = lowered.plan.to_bytes();
    let plan = Plan::from_bytes(&bytes, |name| NETWORK.named(name)).unwrap();
    let mut session = Session::new(&plan, SessionOptions::new().unwrap()).unwrap();
    let (mut signal, mut noise) = (0.0, 0.0);
    for sample in samples {
        let float = graph.run(sample).unwrap();
        session.set_input_f32(0, sample[0].data()).unwrap();
        session.run().unwrap();
        let mut found = [0.0; 16];
        session.output_f32(0, &mut found).unwrap();
        for (found, float) in found.iter().zip(float[0].data()) {
            signal += float * float;
            noise += (found - float) * (found - float);
        }
    }
    let sqnr = 10.0 * (signal / noise).log10();
    println!("{} steps, {sqnr:.1} dB", plan.steps().len());
    assert!(sqnr > 25.0, "{sqnr} dB");

    // eight bits are more than the chip adds: the node says so, and where it is written
    let eight_bits = QConfig::QNNPACK;
    let square = CHIP.find(&[SquaredRelu::SPELLING]).unwrap();
    let verdict = CHIP.verdict(square, &eight_bits);
    assert!(!verdict.is_supported());
    assert!(
        verdict.reasons[0].to_string().contains("src/lib.rs:"),
        "{}",
        verdict.reasons[0]
    );
}
