//! An ONNX file: read, imported, and made a plan where it is small.
#![no_main]

use libfuzzer_sys::fuzz_target;
use qconfig::QConfigMapping;
use qconfig::backends::QNNPACK;
use qconfig::onnx::{ImportOptions, import, read};
use qconfig::quantize::{Graph, Tensor, adopt, calibrate, convert, lower, prepare};

/// Most elements of a graph's values that are still made a plan: a convolution of a gigabyte is slow,
/// which is no fault.
const MOST: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let Ok(model) = read(bytes) else { return };
    let Ok(imported) = import(&model, &ImportOptions::default()) else {
        return;
    };
    let graph = &imported.graph;
    if elements(graph) > MOST {
        return;
    }
    if imported.is_quantized() {
        let model = adopt(graph, &QNNPACK, &imported.given);
        drop(lower(&model));
        return;
    }
    // all of it in float: kernels pack what they are given
    let Ok(prepared) = prepare(graph, &QNNPACK, &QConfigMapping::new()) else {
        return;
    };
    let none: [&[Tensor]; 0] = [];
    if let Ok(calibrated) = calibrate(&prepared, none, |_| {})
        && let Ok(model) = convert(&calibrated)
    {
        drop(lower(&model));
    }
});

fn elements(graph: &Graph) -> usize {
    let made = graph.nodes().iter().flat_map(|node| node.outputs());
    let sizes = made.chain(graph.inputs().iter().copied()).map(|id| {
        let shape = &graph.value(id).shape;
        shape.iter().fold(1usize, |a, b| a.saturating_mul(*b))
    });
    sizes.fold(0, usize::saturating_add)
}
