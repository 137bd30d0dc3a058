//! Recurrent layers and cells. The gates are torch's to the bit; `tanh` and `sigmoid` are not (torch's own
//! differ between a vector and the elements behind the last one), so outputs agree within 1e-6. The int8
//! cases are those where no hidden value lies so near a tie between two steps that this could decide it.

use qconfig_core::kernel::{
    Kernel, NodeOp, NodeSpec, RecurrentCell, TensorSpec, WeightData, WeightSpec,
};
use qconfig_core::{DType, KernelFamily};
use qconfig_kernels::{F16Recurrent, Q8Recurrent};
use qconfig_tests::golden::Case;
use qconfig_tests::harness::{self, bytes, floats};

use crate::node::{Visit, float};

const TOLERANCE: f32 = 1e-6;

/// A recurrent layer.
pub fn node(case: &Case<'_>, half: bool, reduce_range: bool, visit: Visit<'_>) {
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
        reduce_range,
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
    visit(&node, &all, &bytes(&out.data));
}

/// Where values are further from torch's than [`TOLERANCE`]; the furthest is kept in `worst`.
pub fn far(got: &[u8], torch: &[u8], worst: &std::cell::Cell<f32>) -> Vec<String> {
    let pairs = floats(got).into_iter().zip(floats(torch)).enumerate();
    pairs
        .filter_map(|(at, (got, expected))| {
            let far = (got - expected).abs();
            worst.set(worst.get().max(far));
            (far.is_nan() || far > TOLERANCE)
                .then(|| format!("element {at} is {got:?}, torch's is {expected:?}"))
        })
        .collect()
}

fn family(name: &str, least: usize, kernel: &Kernel, half: bool) {
    let worst = std::cell::Cell::new(0.0);
    harness::family(name, least, |case, tally| {
        node(case, half, false, &mut |node, inputs, y| {
            tally.check_with(case, kernel, node, inputs, |got| far(got, y, &worst));
        });
    });
    println!("at most {:e} from torch", worst.get());
}

#[test]
fn eight_bits() {
    family("recurrent_dynamic", 160, Q8Recurrent::KERNEL, false);
}

#[test]
fn half_precision() {
    family("recurrent_fp16", 60, F16Recurrent::KERNEL, true);
}
