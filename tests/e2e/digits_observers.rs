//! The digits network in float, watched by observers as torch's were: they answer the same.

use std::collections::BTreeMap;
use std::path::PathBuf;

use qconfig_backends::QNNPACK;
use qconfig_core::QConfig;
use qconfig_quantize::observer::Observer;
use qconfig_quantize::{Conv, Graph, GraphBuilder, Pool, Tensor, Weights, fuse};
use qconfig_tests::golden;
use serde_json::Value;

/// Torch calibrated in batches of this size; histograms depend on it.
const BATCH: usize = 100;

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../examples/data")
        .join(name)
}

fn graph(batch: usize) -> Graph {
    let file = std::fs::read(data("mnist_cnn.safetensors")).unwrap();
    let weights = Weights::from_bytes(&file).unwrap();
    let get = |name: String| weights.get(&name).unwrap();
    let mut graph = GraphBuilder::new();
    let mut x = graph.input("x", &[batch, 1, 28, 28]).unwrap();
    for layer in [0, 3, 6] {
        let name = |at: usize| format!("conv_layers.{at}");
        let weight = get(format!("conv_layers.{layer}.weight"));
        let bias = get(format!("conv_layers.{layer}.bias"));
        let conv = Conv::new(weight).bias(bias).padding(1);
        x = graph.conv(&name(layer), x, conv).unwrap();
        x = graph.relu(&name(layer + 1), x).unwrap();
        x = graph
            .max_pool(&name(layer + 2), x, Pool::square(2))
            .unwrap();
    }
    x = graph.flatten("flatten", x).unwrap();
    for layer in [0, 2] {
        let name = format!("fc_layers.{layer}");
        let (weight, bias) = (get(format!("{name}.weight")), get(format!("{name}.bias")));
        x = graph.linear(&name, x, weight, Some(bias)).unwrap();
        if layer == 0 {
            x = graph.relu("fc_layers.1", x).unwrap();
        }
    }
    graph.finish(&[x]).unwrap()
}

/// Images normalised as torch does.
fn images(pixels: &[u8]) -> Tensor {
    let normal = |x: &u8| (f32::from(*x) / 255.0 - 0.1307) / 0.3081;
    let shape = vec![pixels.len() / 784, 1, 28, 28];
    Tensor::new(shape, pixels.iter().map(normal).collect()).unwrap()
}

/// Whose observer watches a value: pools and reshapes share that of what they read.
fn owner(name: &str) -> &str {
    match name {
        "conv_layers_2" => "conv_layers_0",
        "conv_layers_5" => "conv_layers_3",
        "conv_layers_8" | "flatten" => "conv_layers_6",
        other => other,
    }
}

#[test]
fn observers_answer_as_torchs() {
    let arrays = golden::arrays(&data("digits.npz"));
    let torch: Value = serde_json::from_slice(&std::fs::read(data("torch.json")).unwrap()).unwrap();
    let qconfigs = [
        ("default", QConfig::QNNPACK),
        (
            "symmetric_per_channel",
            QConfig::DEFAULT_PER_CHANNEL_SYMMETRIC_QNNPACK,
        ),
    ];
    let mut observers: BTreeMap<(&str, String), Observer> = BTreeMap::new();
    let mut names = Vec::new();
    for pixels in arrays["calib_images"].u8().chunks(BATCH * 784) {
        let images = images(pixels);
        let graph = fuse(&graph(images.shape()[0]), &QNNPACK);
        let values = graph.run_all(&[images]).unwrap();
        let mut watched = vec![("x".to_owned(), graph.inputs()[0])];
        // torch names a fused layer after its first operator
        let layers = graph.nodes().iter();
        watched.extend(layers.map(|node| (node.name.replace('.', "_"), node.output)));
        for (name, id) in &watched {
            for (qconfig, QConfig { activation, .. }) in qconfigs {
                observers
                    .entry((qconfig, owner(name).to_owned()))
                    .or_insert_with(|| Observer::new(activation))
                    .observe(values.get(*id))
                    .unwrap();
            }
        }
        names = watched;
    }

    let (mut compared, mut equal) = (0, 0);
    for (qconfig, _) in qconfigs {
        let observed = torch["quantized"][qconfig]["observers"]
            .as_object()
            .unwrap();
        assert_eq!(observed.len(), names.len());
        for (name, _) in &names {
            let found = observers[&(qconfig, owner(name).to_owned())]
                .qparams()
                .unwrap();
            let (scale, zero_point) = (&observed[name]["scale"], &observed[name]["zero_point"]);
            let off = f64::from(found.scale) / scale.as_f64().unwrap() - 1.0;
            // the float layers add in another order than torch's: their last bits differ
            let bound = if name == "x" { 0.0 } else { 2e-7 };
            assert!(
                off.abs() <= bound,
                "{qconfig}, {name}: scale {} is off by {off:e} from torch's {scale}",
                found.scale
            );
            assert_eq!(
                Some(i64::from(found.zero_point)),
                zero_point.as_i64(),
                "{qconfig}, {name}"
            );
            compared += 1;
            equal += usize::from(off == 0.0);
        }
    }
    println!(
        "{compared} observers: zero points equal, {equal} scales equal to the bit, the others within one unit of the last place"
    );
}
