//! Recurrent layers and cells. The gates are torch's to the bit; `tanh` and `sigmoid` are not (torch's own
//! differ between a vector and the elements behind the last one), so outputs agree within 1e-6. The int8
//! cases are those where no hidden value lies so near a tie between two steps that this could decide it.

use qconfig_core::kernel::{NodeOp, NodeSpec, RecurrentCell, TensorSpec, WeightData, WeightSpec};
use qconfig_core::{DType, KernelFamily};
use qconfig_kernels::{F16Recurrent, Q8Recurrent};
use qconfig_tests::golden::Case;
use qconfig_tests::harness::{self, Tally, bytes, floats};

use crate::node::float;

const TOLERANCE: f32 = 1e-6;

fn check(case: &Case<'_>, tally: &mut Tally, half: bool, worst: &mut f32) {
    let cell = match case.word("kind") {
        "lstm" => RecurrentCell::Lstm,
        "gru" => RecurrentCell::Gru,
        "rnn_tanh" => RecurrentCell::Tanh,
        _ => RecurrentCell::Relu,
    };
    let (layers, directions, hidden) = (
        case.count("layers"),
        case.count("directions"),
        case.count("hidden"),
    );
    let (x, out) = (case.f32("x"), case.f32("out"));
    let rows = cell.gates() * hidden;
    let features = x.shape[x.shape.len() - 1];
    let floats_of = |name| case.f32_if_any(name).map_or(Vec::new(), |all| all.data);
    let (biases, scales) = (floats_of("bias"), floats_of("w_scales"));
    let (halves, integers, zero_points) = if half {
        (floats_of("w"), Vec::new(), Vec::new())
    } else {
        (Vec::new(), case.i8("w").data, case.i32("w_zero_points"))
    };
    let shapes: Vec<[usize; 2]> = (0..2 * layers * directions)
        .map(|at| match (at % 2, at / 2) {
            (0, layer) if layer < directions => [rows, features],
            (0, _) => [rows, directions * hidden],
            _ => [rows, hidden],
        })
        .collect();
    let each = scales.len() / shapes.len();
    let (mut parameters, mut from) = (Vec::new(), 0);
    for (at, shape) in shapes.iter().enumerate() {
        let range = from..from + shape[0] * shape[1];
        from = range.end;
        parameters.push(WeightSpec {
            dtype: if half { DType::float16 } else { DType::qint8 },
            shape,
            data: if half {
                WeightData::F32(&halves[range])
            } else {
                WeightData::I8(&integers[range])
            },
            scales: &scales[at * each..][..each],
            zero_points: if half {
                &[]
            } else {
                &zero_points[at * each..][..each]
            },
        });
        if at % 2 == 1 && !biases.is_empty() {
            let pair = biases[(at - 1) * rows..][..2 * rows].chunks(rows);
            parameters.extend(pair.map(WeightSpec::float));
        }
    }
    let states = ["h0", "c0"].map(|name| case.f32_if_any(name));
    let states: Vec<_> = states.iter().flatten().collect();
    let mut inputs: Vec<TensorSpec<'_>> = vec![float(&x.shape)];
    inputs.extend(states.iter().map(|state| float(&state.shape)));
    let node = NodeSpec {
        parameters: &parameters,
        ..NodeSpec::new(
            NodeOp::Recurrent {
                cell,
                layers,
                bidirectional: directions == 2,
                batch_first: case.flag("batch_first"),
            },
            &inputs,
            float(&out.shape),
        )
    };
    let all: Vec<Vec<u8>> = [&x].iter().chain(&states).map(|t| bytes(&t.data)).collect();
    let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    let kernel = if half {
        F16Recurrent::KERNEL
    } else {
        Q8Recurrent::KERNEL
    };
    let most = std::cell::Cell::new(*worst);
    tally.check_with(case, kernel, &node, &all, |got| {
        let pairs = floats(got).into_iter().zip(&out.data).enumerate();
        pairs
            .filter_map(|(at, (got, expected))| {
                let far = (got - expected).abs();
                most.set(most.get().max(far));
                (far.is_nan() || far > TOLERANCE)
                    .then(|| format!("element {at} is {got:?}, torch's is {expected:?}"))
            })
            .collect()
    });
    *worst = most.get();
}

#[test]
fn eight_bits() {
    let mut worst = 0.0;
    harness::family("recurrent_dynamic", 160, |case, tally| {
        check(case, tally, false, &mut worst);
    });
    println!("at most {worst:e} from torch");
}

#[test]
fn half_precision() {
    let mut worst = 0.0;
    harness::family("recurrent_fp16", 60, |case, tally| {
        check(case, tally, true, &mut worst);
    });
    println!("at most {worst:e} from torch");
}
