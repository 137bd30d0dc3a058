//! Recurrent layers and cells through the whole flow.

use qconfig_backends::QNNPACK;
use qconfig_core::kernel::RecurrentCell;
use qconfig_core::{QConfig, QConfigMapping};
use qconfig_quantize::{
    Gates, Graph, GraphBuilder, Lowered, Recurrent, Tensor, calibrate, convert, fuse, lower,
    prepare,
};

use crate::flow::{answers, noise};

/// How far from float, and how far from the reference model, which rounds activations and weights as the kernels do:
/// there only a value on the edge of a step makes a difference.
const QCONFIGS: [(QConfig, &str, [f32; 2]); 3] = [
    (
        QConfig::DEFAULT_DYNAMIC,
        "q8_recurrent_dynamic",
        [0.03, 1e-3],
    ),
    (
        QConfig::PER_CHANNEL_DYNAMIC,
        "q8_recurrent_dynamic",
        [0.03, 1e-3],
    ),
    (
        QConfig::FLOAT16_DYNAMIC,
        "f16_recurrent_dynamic",
        [2e-3, 1e-5],
    ),
];

fn gates(cell: RecurrentCell, hidden: usize, k: usize, bias: bool, seed: u64) -> Gates {
    let rows = cell.gates() * hidden;
    let scaled = |shape: &[usize], seed| {
        let mut tensor = noise(shape, seed);
        tensor.data_mut().iter_mut().for_each(|w| *w *= 0.4);
        tensor
    };
    let gates = Gates::new(scaled(&[rows, k], seed), scaled(&[rows, hidden], seed + 1));
    if bias {
        gates.bias(scaled(&[rows], seed + 2), scaled(&[rows], seed + 3))
    } else {
        gates
    }
}

fn flow(graph: &Graph, qconfig: QConfig, inputs: &[Tensor]) -> (Vec<Tensor>, Lowered) {
    let mapping = QConfigMapping::new().global(Some(qconfig));
    let prepared = prepare(&fuse(graph, &QNNPACK), &QNNPACK, &mapping).unwrap();
    let calibrated = calibrate(&prepared, [inputs], |_| {}).unwrap();
    let model = convert(&calibrated).unwrap();
    (model.run(inputs).unwrap(), lower(&model).unwrap())
}

fn check(graph: &Graph, inputs: &[Tensor]) {
    let float = graph.run(inputs).unwrap();
    for (qconfig, kernel, [float_far, reference_far]) in QCONFIGS {
        let (reference, lowered) = flow(graph, qconfig, inputs);
        assert_eq!(lowered.plan.steps()[0].kernel().name, kernel);
        let lengths: Vec<usize> = float.iter().map(|output| output.data().len()).collect();
        let found = answers(&lowered, inputs, &lengths);
        for (at, (float, found)) in float.iter().zip(&found).enumerate() {
            for ((x, r), y) in float.data().iter().zip(reference[at].data()).zip(found) {
                assert!(
                    (x - y).abs() <= float_far && (r - y).abs() <= reference_far,
                    "{kernel}, output {at}: float {x}, reference {r}, plan {y}"
                );
            }
        }
    }
}

#[test]
fn layers_of_every_form() {
    for (seed, cell) in [(10, RecurrentCell::Lstm), (20, RecurrentCell::Gru)] {
        for form in 0..16u64 {
            let [bidirectional, batch_first, bias, initial] =
                [1, 2, 4, 8].map(|bit| form & bit != 0);
            let (steps, batch, features, hidden) = (4, 2, 6, 9);
            let directions = if bidirectional { 2 } else { 1 };
            let parameters = (0..2 * directions)
                .map(|at| {
                    let k = if at < directions {
                        features
                    } else {
                        directions * hidden
                    };
                    gates(cell, hidden, k, bias, seed + 100 * form + 10 * at as u64)
                })
                .collect();
            let mut layer = Recurrent::new(cell, parameters);
            layer.bidirectional = bidirectional;
            layer.batch_first = batch_first;
            let shape = if batch_first {
                [batch, steps, features]
            } else {
                [steps, batch, features]
            };
            let mut graph = GraphBuilder::new();
            let x = graph.input("x", &shape).unwrap();
            let mut inputs = vec![noise(&shape, seed + form)];
            let mut states = Vec::new();
            if initial {
                let state = [2 * directions, batch, hidden];
                for at in 0..cell.states() {
                    states.push(graph.input(&format!("state{at}"), &state).unwrap());
                    inputs.push(noise(&state, seed + 7 + at as u64));
                }
            }
            let outputs = graph.recurrent("rnn", x, &states, layer).unwrap();
            assert_eq!(outputs.len(), 1 + cell.states());
            check(&graph.finish(&outputs).unwrap(), &inputs);
        }
    }
}

#[test]
fn what_goes_out_is_read_by_others() {
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", &[5, 1, 8]).unwrap();
    let below = Recurrent::new(
        RecurrentCell::Lstm,
        vec![gates(RecurrentCell::Lstm, 12, 8, true, 1)],
    );
    let lstm = graph.recurrent("lstm", x, &[], below).unwrap();
    let above = Recurrent::new(
        RecurrentCell::Gru,
        vec![gates(RecurrentCell::Gru, 12, 12, true, 5)],
    );
    // begins with the state that the layer below ended with
    let gru = graph.recurrent("gru", lstm[0], &[lstm[1]], above).unwrap();
    let mut weight = noise(&[4, 12], 9);
    weight.data_mut().iter_mut().for_each(|w| *w *= 0.2);
    let y = graph.linear("fc", gru[1], weight, None).unwrap();
    assert_eq!(
        graph.finish(&[y]).map(|graph| {
            check(&graph, &[noise(&[5, 1, 8], 3)]);
            graph.value(y).shape.clone()
        }),
        Ok(vec![1, 1, 4])
    );
}

#[test]
fn cells() {
    for (seed, cell) in [
        (1, RecurrentCell::Lstm),
        (2, RecurrentCell::Gru),
        (3, RecurrentCell::Tanh),
        (4, RecurrentCell::Relu),
    ] {
        for (bias, initial) in [(false, false), (true, true)] {
            let mut graph = GraphBuilder::new();
            let x = graph.input("x", &[3, 7]).unwrap();
            let mut inputs = vec![noise(&[3, 7], seed)];
            let mut states = Vec::new();
            if initial {
                for at in 0..cell.states() {
                    states.push(graph.input(&format!("state{at}"), &[3, 10]).unwrap());
                    inputs.push(noise(&[3, 10], seed + 7 + at as u64));
                }
            }
            let layer = Recurrent::new(cell, vec![gates(cell, 10, 7, bias, seed)]);
            let outputs = graph.recurrent("cell", x, &states, layer).unwrap();
            assert_eq!(outputs.len(), cell.states());
            check(&graph.finish(&outputs).unwrap(), &inputs);
        }
    }
}

#[test]
fn layers_that_do_not_fit_are_named() {
    let cell = RecurrentCell::Gru;
    let error = |layer: Recurrent, shape: &[usize]| {
        let mut graph = GraphBuilder::new();
        let x = graph.input("x", shape).unwrap();
        graph
            .recurrent("gru", x, &[], layer)
            .unwrap_err()
            .to_string()
    };
    let one = || Recurrent::new(cell, vec![gates(cell, 4, 5, true, 1)]);
    assert_eq!(
        error(one(), &[2, 3, 6]),
        "node `gru`: weight_ih 0 is [12, 5], [12, 6] fits"
    );
    assert_eq!(
        error(one(), &[6]),
        "node `gru`: a recurrent layer takes [T, B, I] or, batch first, [B, T, I]; a cell [B, I]; the input is [6]"
    );
    assert_eq!(
        error(one().bidirectional(), &[2, 3, 5]),
        "node `gru`: a recurrent layer has gates for each layer and direction"
    );
    let mixed = vec![gates(cell, 4, 5, true, 1), gates(cell, 4, 4, false, 1)];
    assert_eq!(
        error(Recurrent::new(cell, mixed), &[2, 3, 5]),
        "node `gru`: either all layers have biases or none"
    );
}
