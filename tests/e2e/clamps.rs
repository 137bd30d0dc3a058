//! Clamps that the step before them computes, and observers that watch only what is behind a clamp.

use std::slice;

use qconfig_backends::QNNPACK;
use qconfig_core::kernel::Unary;
use qconfig_core::operator::{F, nn};
use qconfig_core::{DType, ObserverSpec, QConfig, QConfigMapping, QScheme, Spelled};
use qconfig_kernels::glue;
use qconfig_quantize::{
    Conv, ConvTranspose, Graph, GraphBuilder, Lowered, Op, Pool, Tensor, ValueId, calibrate,
    convert, fuse, lower, prepare, report, sqnr_db,
};
use qconfig_runtime::{Plan, Session, SessionOptions};

use crate::flow::{answers, batch_norm, flow, mappings, noise};

const SHAPE: [usize; 4] = [2, 8, 6, 5];

type Maker = fn(&mut GraphBuilder, ValueId) -> ValueId;

/// What makes a value that is clamped; each has a kernel that takes an activation.
const MAKERS: [(&str, Maker); 11] = [
    ("conv", |g, x| {
        let conv = Conv::new(noise(&[6, 8, 3, 3], 1)).bias(noise(&[6], 2));
        g.conv("made", x, conv.padding(1)).unwrap()
    }),
    ("conv + relu", |g, x| {
        let conv = Conv::new(noise(&[6, 8, 1, 1], 1));
        let x = g.conv("conv", x, conv).unwrap();
        g.relu("made", x).unwrap()
    }),
    ("depthwise", |g, x| {
        let conv = Conv::new(noise(&[8, 1, 3, 3], 1)).groups(8);
        g.conv("made", x, conv).unwrap()
    }),
    ("conv_transpose", |g, x| {
        let conv = ConvTranspose::new(noise(&[8, 4, 3, 3], 1)).stride(2);
        g.conv_transpose("made", x, conv).unwrap()
    }),
    ("linear", |g, x| {
        let x = g.flatten("flat", x).unwrap();
        g.linear("made", x, noise(&[7, 240], 1), None).unwrap()
    }),
    ("add", |g, x| g.add("made", x, x).unwrap()),
    ("mul", |g, x| g.mul("made", x, x).unwrap()),
    ("table", |g, x| {
        g.unary("made", x, Unary::Hardswish).unwrap()
    }),
    ("batch norm", |g, x| {
        g.batch_norm("made", x, batch_norm(8, 1)).unwrap()
    }),
    ("prelu", |g, x| {
        g.prelu("made", x, noise(&[8], 1).data()).unwrap()
    }),
    ("pool", |g, x| {
        g.max_pool("made", x, Pool::square(2)).unwrap()
    }),
];

fn clamp(g: &mut GraphBuilder, name: &str, x: ValueId, [low, high]: [f32; 2]) -> ValueId {
    let op = Op::Clamp { low, high };
    g.node(name, nn::Hardtanh::SPELLING, op, &[x]).unwrap()
}

/// The network up to clamps in a row, with the values in front of them as outputs or not.
fn network(make: Maker, bounds: &[[f32; 2]], with_all: bool) -> Graph {
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", &SHAPE).unwrap();
    // so that what is clamped is quantized before it is made
    let x = graph.unary("first", x, Unary::Tanh).unwrap();
    let mut y = make(&mut graph, x);
    let mut outputs = vec![];
    for (at, bounds) in bounds.iter().enumerate() {
        outputs.push(y);
        y = clamp(&mut graph, &format!("clamp{at}"), y, *bounds);
    }
    outputs.retain(|_| with_all);
    outputs.insert(0, y);
    graph.finish(&outputs).unwrap()
}

fn count(lowered: &Lowered, kernel: &str) -> usize {
    let steps = lowered.plan.steps().iter();
    steps.filter(|step| step.kernel().name == kernel).count()
}

/// A value that is an output is made by a step of its own: the clamp behind it too.
#[test]
fn a_clamp_in_the_step_before_it_gives_the_same_bits() {
    let samples = [noise(&SHAPE, 3), noise(&SHAPE, 4)];
    for (name, make) in MAKERS {
        for bounds in [
            &[[0.0, 0.4]][..],
            &[[-0.3, 0.2]],
            &[[-0.3, 0.2], [-0.1, 0.5]],
            &[[0.1, 0.2], [0.3, 0.5]],
            &[[f32::NEG_INFINITY, 0.3], [-0.2, f32::INFINITY]],
        ] {
            let one = network(make, bounds, false);
            let each = network(make, bounds, true);
            for mapping in mappings() {
                let (_, fused) = flow(&one, &mapping, &samples);
                let (_, apart) = flow(&each, &mapping, &samples);
                let place = format!("{name}, {bounds:?}");
                assert_eq!(count(&fused, "q8_clamp"), 0, "{place}");
                assert_eq!(count(&apart, "q8_clamp"), bounds.len(), "{place}");
                let made = fused.plan.steps().iter();
                let made: Vec<&str> = made
                    .filter(|step| step.name() == "made" || step.name() == "conv")
                    .map(|step| step.pattern())
                    .collect();
                let clamps = " + nn::Hardtanh".repeat(bounds.len());
                assert!(
                    made.iter().any(|pattern| pattern.ends_with(&clamps)),
                    "{place}: {made:?}"
                );
                for sample in &samples {
                    let lengths = each.outputs().iter();
                    let lengths: Vec<usize> = lengths
                        .map(|id| each.value(*id).shape.iter().product())
                        .collect();
                    let inputs = slice::from_ref(sample);
                    let expected = answers(&apart, inputs, &lengths).remove(0);
                    let found = answers(&fused, inputs, &lengths[..1]).remove(0);
                    assert_eq!(found, expected, "{place}");
                }
            }
        }
    }
}

#[test]
fn a_clamp_stays_where_something_else_reads_its_input() {
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", &SHAPE).unwrap();
    let conv = Conv::new(noise(&[8, 8, 1, 1], 1));
    let made = graph.conv("conv", x, conv).unwrap();
    let y = clamp(&mut graph, "clamp", made, [-0.1, 0.3]);
    let y = graph.add("add", made, y).unwrap();
    let graph = graph.finish(&[y]).unwrap();
    for mapping in mappings() {
        let (_, lowered) = flow(&graph, &mapping, &[noise(&SHAPE, 3)]);
        assert_eq!(count(&lowered, "q8_clamp"), 1);
    }
}

/// A concatenation takes no activation: the clamp is a step of its own.
#[test]
fn a_kernel_that_refuses_leaves_the_clamp_alone() {
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", &SHAPE).unwrap();
    let y = graph.cat("cat", &[x, x], 1).unwrap();
    let y = clamp(&mut graph, "clamp", y, [-0.1, 0.3]);
    let graph = graph.finish(&[y]).unwrap();
    for mapping in mappings() {
        let (_, lowered) = flow(&graph, &mapping, &[noise(&SHAPE, 3)]);
        assert_eq!(count(&lowered, "q8_clamp"), 1);
    }
}

/// Convolutions with a ReLU6 behind each, as a MobileNet has them; values reach far beyond 6.
fn mobile() -> Graph {
    let mut graph = GraphBuilder::new();
    let mut x = graph.input("x", &SHAPE).unwrap();
    for (at, (weight, groups)) in [
        (noise(&[24, 8, 1, 1], 1), 1),
        (noise(&[24, 1, 3, 3], 2), 24),
        (noise(&[12, 24, 1, 1], 3), 1),
    ]
    .into_iter()
    .enumerate()
    {
        let mut weight = weight;
        weight.data_mut().iter_mut().for_each(|w| *w *= 4.0);
        let conv = Conv::new(weight).padding(usize::from(groups > 1));
        x = graph
            .conv(&format!("conv{at}"), x, conv.groups(groups))
            .unwrap();
        let op = Op::Clamp {
            low: 0.0,
            high: 6.0,
        };
        let name = format!("relu{at}");
        x = graph.node(&name, F::relu6::SPELLING, op, &[x]).unwrap();
    }
    graph.finish(&[x]).unwrap()
}

/// The plan's signal to noise ratio against float.
fn ratio(behind: bool, mapping: &QConfigMapping) -> f64 {
    let graph = mobile();
    let samples: Vec<Tensor> = (0..4).map(|n| noise(&SHAPE, 10 + n)).collect();
    let mut prepared = prepare(&fuse(&graph, &QNNPACK), &QNNPACK, mapping).unwrap();
    if behind {
        prepared = prepared.observe_behind_clamps();
    }
    let calibrated = calibrate(&prepared, samples.iter().map(slice::from_ref), |_| {}).unwrap();
    let model = convert(&calibrated).unwrap();
    let scale = model
        .qparams(graph.outputs()[0], DType::quint8)
        .unwrap()
        .scale;
    // 256 steps for 0 to 6, or for all that the convolution gives
    assert_eq!((scale - 6.0 / 255.0).abs() < 1e-6, behind, "{scale}");
    let lowered = lower(&model).unwrap();
    let (mut signal, mut noise_) = (0.0, 0.0);
    for sample in &samples {
        let inputs = slice::from_ref(sample);
        let float = &graph.run(inputs).unwrap()[0];
        let found = answers(&lowered, inputs, &[float.data().len()]).remove(0);
        for (x, y) in float.data().iter().zip(&found) {
            signal += f64::from(*x).powi(2);
            noise_ += (f64::from(*x) - f64::from(*y)).powi(2);
        }
    }
    sqnr_db(signal, noise_)
}

#[test]
fn observers_behind_clamps_waste_no_range() {
    let qconfig = QConfig {
        activation: ObserverSpec::min_max(DType::quint8, QScheme::PerTensorAffine),
        ..QConfig::DEFAULT_PER_CHANNEL
    };
    let mapping = QConfigMapping::new().global(Some(qconfig));
    let (both, behind) = (ratio(false, &mapping), ratio(true, &mapping));
    println!("watching both {both:.1} dB, only behind {behind:.1} dB");
    assert!(behind > both + 6.0, "{both:.1} dB, {behind:.1} dB");
}

/// What is read by others too is watched as torch does.
#[test]
fn observers_watch_what_others_read() {
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", &SHAPE).unwrap();
    let conv = Conv::new(noise(&[8, 8, 1, 1], 1));
    let made = graph.conv("conv", x, conv).unwrap();
    let y = clamp(&mut graph, "clamp", made, [-0.1, 0.3]);
    let y = graph.add("add", made, y).unwrap();
    let graph = graph.finish(&[y]).unwrap();
    let sample = noise(&SHAPE, 3);
    for mapping in mappings() {
        let prepared = prepare(&fuse(&graph, &QNNPACK), &QNNPACK, &mapping).unwrap();
        let scales = [prepared.clone(), prepared.observe_behind_clamps()].map(|prepared| {
            let samples = [slice::from_ref(&sample)];
            let model = convert(&calibrate(&prepared, samples, |_| {}).unwrap()).unwrap();
            [DType::quint8, DType::qint8].map(|dtype| model.qparams(made, dtype))
        });
        assert_eq!(scales[0], scales[1]);
    }
}

#[test]
fn a_report_says_which_step_computes_a_clamp() {
    let graph = mobile();
    let sample = noise(&SHAPE, 3);
    for mapping in mappings() {
        let (model, lowered) = flow(&graph, &mapping, slice::from_ref(&sample));
        let options = SessionOptions {
            keep_all: true,
            ..SessionOptions::new().unwrap()
        };
        let mut session = Session::new(&lowered.plan, options).unwrap();
        let samples = [slice::from_ref(&sample)];
        let rows = report(&model, &lowered, &mut session, samples).unwrap();
        for (at, pair) in rows.chunks(2).enumerate() {
            assert!(pair[0].sqnr_db.is_nan(), "the plan does not hold it");
            assert!(pair[1].sqnr_db > 10.0, "{}", pair[1].sqnr_db);
            assert_eq!(pair[1].kernel, format!("with conv{at}"));
        }
        // what a plan says of itself is saved with it
        let bytes = lowered.plan.to_bytes();
        let saved = Plan::from_bytes(&bytes, |name| {
            QNNPACK.kernel_named(name).or_else(|| glue(name))
        })
        .unwrap();
        assert_eq!(
            saved.steps()[1].pattern(),
            lowered.plan.steps()[1].pattern()
        );
    }
}
